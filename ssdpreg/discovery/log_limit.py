"""How much of what strangers do is worth a line in the log. Pure: time is an argument, in seconds."""

from __future__ import annotations

from collections import OrderedDict

_PAUSE = 60.0
_MOST_SENDERS = 1024


class LogGate:
    """Lets a line through once for each sender and reason, and not more than once a minute for each sender."""

    def __init__(self) -> None:
        self._senders: OrderedDict[str, tuple[float, frozenset[str]]] = OrderedDict()

    def opens(self, sender: str, reason: str, now: float) -> bool:
        """
        Say whether a line may be logged, which is then taken to be done.

        :param reason: One of a few constant phrases.
        """
        opened_at, reasons = self._senders.get(sender, (-_PAUSE, frozenset()))
        if reason in reasons or now - opened_at < _PAUSE:
            return False
        self._senders[sender] = now, reasons | {reason}
        self._senders.move_to_end(sender)
        # Forgetting the one that was silent longest bounds the memory; at worst it is logged once more.
        if len(self._senders) > _MOST_SENDERS:
            self._senders.popitem(last=False)
        return True
