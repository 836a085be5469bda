"""
Contests between the claims about one service, and the evidence that their search rounds collect. Pure.

- *Contest*: the time in which the claims about one service are compared. It ends with a decision for one of them: see
  :mod:`ssdpreg.discovery.decision`.
- *Round*: a part of a contest: one search for the service, and the seconds in which replies count. A contest has two,
  because UDP may lose the datagrams of one.
"""

from __future__ import annotations

#: Seconds of a search round.
ROUND = 3.0
#: Longest time, in seconds, that a round waits for its search, because searches have a budget.
_SEARCH_WAIT = 60.0


class Contest:
    """
    Contest between the claims about a service, and the evidence that its search rounds collect.

    A round begins when its search has been sent. A contest whose search is not sent in time ends without a decision.

    :ivar began_at: Time of the message that began it, which may have been received before a pause.
    :ivar rounds: Number of rounds after the current one.
    :ivar ends_at: End of the current round, or of the wait for its search.
    :ivar searching: Whether the search of the current round has been sent.
    :ivar searched: Whether any search has been sent.
    :ivar needs_evidence: Whether a claim that is not the current one can win only if its host replied or announced it
        since the contest began.
    :ivar answered: LOCATIONs whose hosts replied to a search since the contest began.
    :ivar announced: LOCATIONs whose hosts announced them since the contest began.
    """

    __slots__ = ("announced", "answered", "began_at", "ends_at", "needs_evidence", "rounds", "searched", "searching")

    def __init__(self, rounds: int, now: float) -> None:
        self.rounds = rounds - 1
        self.began_at = now
        self.ends_at = now + _SEARCH_WAIT
        self.searching = self.searched = self.needs_evidence = False
        self.answered: set[str] = set()
        self.announced: set[str] = set()

    def add_evidence(self, location: str, *, reply: bool) -> None:
        """
        Record that the host of a LOCATION is alive.

        :param reply: True if it replied to a search, False if it announced the service.
        """
        if not reply:
            self.announced.add(location)
        elif self.searched:
            # Before, it is a reply to a search for other services.
            self.answered.add(location)

    def begin_round(self, now: float) -> None:
        """Begin the current round: its search has been sent."""
        if not self.searching:
            self.searching = self.searched = True
            self.ends_at = now + ROUND

    def next_round(self, now: float) -> bool:
        """Request the next round. Return False if there is none."""
        if not self.rounds:
            return False
        self.rounds -= 1
        self.searching = False
        self.ends_at = now + _SEARCH_WAIT
        return True
