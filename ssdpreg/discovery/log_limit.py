"""Rate limit for log lines caused by unsolicited datagrams. Pure: time is an argument, in seconds."""

from __future__ import annotations

from collections import OrderedDict

from ssdpreg.discovery.rates import TokenBucket

#: Seconds between two lines about one sender.
_PAUSE = 60.0
#: Senders that are remembered.
_MAX_SENDERS = 1024
#: Lines about all senders: no more than 60 in any minute.
_RATE = 0.5
_BURST = 30


class LogLimit:
    """
    Limit of one line for each sender and reason, of one line a minute for each sender, and of 60 lines a minute in all.

    :ivar suppressed: Number of lines that were not logged because of the limit for all senders.
    """

    def __init__(self) -> None:
        self.suppressed = 0
        self._all = TokenBucket(_RATE, _BURST)
        self._senders: OrderedDict[str, tuple[float, frozenset[str]]] = OrderedDict()

    def allows(self, sender: str, reason: str, now: float) -> bool:
        """
        Return whether a line may be logged now, and count it as logged.

        :param reason: One of a few constant phrases.
        """
        logged_at, reasons = self._senders.get(sender, (-_PAUSE, frozenset()))
        if reason in reasons or now - logged_at < _PAUSE:
            return False
        if not self._all.take(now):
            self.suppressed += 1
            return False
        self._senders[sender] = now, reasons | {reason}
        self._senders.move_to_end(sender)
        # The entry that was used least recently goes first. The cost is at most one more line about that sender.
        if len(self._senders) > _MAX_SENDERS:
            self._senders.popitem(last=False)
        return True
