"""Rate limits for log lines that unsolicited datagrams cause. Pure: time is an argument, in seconds."""

from __future__ import annotations

from collections import OrderedDict

from ssdpreg.discovery.rates import TokenBucket

#: Seconds between two lines about one sender.
_PAUSE = 60.0
#: Largest number of senders in the table.
_MAX_SENDERS = 1024
#: Lines of all kinds: no more than 60 in any minute.
_RATE = 0.5
_BURST = 30.0
#: Part of the burst that lines about rejected announcements leave for lines about changes.
_RESERVE = 15.0


class LogBudget:
    """
    Budget of all log lines that unsolicited datagrams cause: at most 60 in any minute.

    Lines about changes come first: rejected announcements leave them half of the burst, and the whole rate.
    """

    def __init__(self) -> None:
        self._lines = TokenBucket(_RATE, _BURST)

    def take_for_change(self, now: float) -> bool:
        """Return whether a line about a change may be logged now, and count it as logged."""
        return self._lines.take(now)

    def take_for_rejection(self, now: float) -> bool:
        """Return whether a line about a rejected announcement may be logged now, and count it as logged."""
        return self._lines.take(now, _RESERVE)


class LogLimit:
    """
    Limit of lines about rejected announcements: one for each sender and reason, one a minute for each sender, and those
    that the budget permits.

    :param budget: Budget of all lines that unsolicited datagrams cause.
    :ivar suppressed: Number of lines that were not logged because of the budget.
    """

    def __init__(self, budget: LogBudget) -> None:
        self.suppressed = 0
        self._budget = budget
        self._senders: OrderedDict[str, tuple[float, frozenset[str]]] = OrderedDict()

    def allows(self, sender: str, reason: str, now: float) -> bool:
        """
        Return whether a line may be logged now, and count it as logged.

        :param reason: One of a few constant phrases.
        """
        logged_at, reasons = self._senders.get(sender, (-_PAUSE, frozenset()))
        if reason in reasons or now - logged_at < _PAUSE:
            return False
        if not self._budget.take_for_rejection(now):
            self.suppressed += 1
            return False
        self._senders[sender] = now, reasons | {reason}
        self._senders.move_to_end(sender)
        # The entry that was used least recently goes first. The cost is at most one more line about that sender.
        if len(self._senders) > _MAX_SENDERS:
            self._senders.popitem(last=False)
        return True
