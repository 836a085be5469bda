"""
All cases of a contested service, against a specification.

A case is a combination of incumbent, claimant, hosts that reply, and sender of a byebye. "Replies" means a reply to a
search, or an announcement of the home from its own address, during the rounds.

====================  ==========================  ============================================================
byebye                hosts that reply            service is in the end at
====================  ==========================  ============================================================
none, or of a host    the home, with or without   the home
without a claim       others
none, or of a host    both, neither is the home   the incumbent
without a claim       (or the home is silent)
none, or of a host    one of them                 that host
without a claim
none, or of a host    none                        the home, if its own announcement began the contest; else the
without a claim                                   direct claim; the incumbent if both are direct or indirect
of the owner          the incumbent               as without a byebye: the reply voids it
of the owner          the claimant alone          the claimant
of the owner          none                        nowhere, until a host announces it again; at the claimant if it
                                                  announces itself from its own address before the service leaves
====================  ==========================  ============================================================

A host that has the service can go away at any time. A message of the other host is then a reason to check it:

==========================================  ====================================  ================================
host that has the service                   it replies to the check               a contest begins
==========================================  ====================================  ================================
replied before, or is not the home          yes, or it is received within 3 s     no
replied before, or is not the home          no                                    yes: as in the table above
is the home, and never replied              is not searched for                   when it has been silent for long
==========================================  ====================================  ================================

The specification, :func:`winner`, has one statement for each sentence of this table. The test goes through all
combinations.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from ssdpreg.discovery.standing import Standing
from ssdpreg.ssdp.reception import Channel
from tests.support.table_case import TableTestCase, advertisement

INCUMBENT, CLAIMANT = "10.0.0.5", "10.0.0.6"
#: Senders that announce the services of the two hosts, and a host that has nothing to do with them.
INCUMBENT_RELAY, CLAIMANT_RELAY, STRANGER = "10.0.0.91", "10.0.0.92", "10.0.0.66"


@dataclass(frozen=True)
class Case:
    """
    A contest about one service.

    :ivar incumbent: Standing of the current claim when the other one is received.
    :ivar claimant: Standing of the other claim.
    :ivar incumbent_replies: Whether the incumbent's host replies to all searches.
    :ivar claimant_replies: Whether the claimant's host replies to all searches.
    :ivar announces: Whether the incumbent announces itself from its own address during the rounds.
    :ivar home: Host that has held the service longest.
    :ivar byebye: Sender of a byebye a second after the claim: ``none``, ``owner`` of the current claim, or ``other``.
    """

    incumbent: Standing
    claimant: Standing
    incumbent_replies: bool
    claimant_replies: bool
    announces: bool
    home: str
    byebye: str


CASES = [
    Case(*values)
    for values in product(
        Standing,
        Standing,
        (False, True),
        (False, True),
        (False, True),
        (INCUMBENT, CLAIMANT),
        ("none", "owner", "other"),
    )
]


def winner(case: Case) -> str | None:
    """Return the host that the contract names, or None if the service leaves."""
    replied = {
        host for host, replies in ((INCUMBENT, case.incumbent_replies), (CLAIMANT, case.claimant_replies)) if replies
    }
    alive = replied | ({INCUMBENT} if case.announces else set())
    # An incumbent that is received from its own address within 2 s voids the byebye.
    if case.byebye == "owner" and INCUMBENT not in alive:
        # Another claim takes over only if its host replied to the search at the byebye.
        return CLAIMANT if CLAIMANT in replied else None
    # First the home, if it replied or announced itself during the rounds.
    if case.home in alive:
        return case.home
    # Then a claim whose host replied. The incumbent stays if both did.
    if INCUMBENT in replied:
        return INCUMBENT
    if CLAIMANT in replied:
        return CLAIMANT
    # Then the home, if it announced itself: the announcement that began the contest.
    if case.home == CLAIMANT and case.claimant is not Standing.INDIRECT:
        return CLAIMANT
    # Then the higher standing. An announcement from its own address makes a claim direct. No claim is confirmed any
    # longer, because no host replied.
    incumbent = max(case.incumbent, Standing.DIRECT) if case.announces else case.incumbent
    # At last the incumbent.
    return CLAIMANT if min(case.claimant, Standing.DIRECT) > incumbent else INCUMBENT


class AllCasesTests(TableTestCase):
    """Every combination of incumbent, claimant, evidence and byebye."""

    def prepare(self, case: Case) -> None:
        """Let the incumbent have the service with its standing, while the home is the given host."""
        if case.home == CLAIMANT:
            short = advertisement(CLAIMANT, max_age=100)
            for _ in range(20):
                self.receive(short, INCUMBENT_RELAY)
                self.wait(50)
        self.receive(advertisement(INCUMBENT), INCUMBENT_RELAY)
        self.wait(300)
        self.raise_standing(INCUMBENT, case.incumbent)
        self.wait(100)
        (live,) = self.table
        assert (live.advertisement.endpoint.host, live.standing) == (INCUMBENT, case.incumbent), case

    def raise_standing(self, host: str, standing: Standing) -> None:
        """Receive an advertisement of a host in a way that gives its claim a standing."""
        if standing is not Standing.INDIRECT:
            self.receive(advertisement(host), channel=Channel.HOST if standing is Standing.CONFIRMED else Channel.GROUP)

    def contest(self, case: Case, *, again: bool = False) -> None:
        """
        Let the claimant claim the service, and wait for the end of the contest.

        :param again: Whether the claimant announces itself from its own address after a byebye.
        """
        for host, replies in ((INCUMBENT, case.incumbent_replies), (CLAIMANT, case.claimant_replies)):
            if replies:
                self.reply(advertisement(host))
        if case.claimant is Standing.INDIRECT:
            self.receive(advertisement(CLAIMANT), CLAIMANT_RELAY)
        self.raise_standing(CLAIMANT, case.claimant)
        self.wait(1)
        if case.byebye == "owner":
            self.bye(INCUMBENT_RELAY if case.incumbent is Standing.INDIRECT else INCUMBENT)
        elif case.byebye == "other":
            self.bye(STRANGER)
        self.wait(0.25)
        if case.announces:
            self.receive(advertisement(INCUMBENT))
        if again:
            self.receive(advertisement(CLAIMANT))
        self.wait(30)

    def test_announcement_after_the_byebye(self) -> None:
        """After the byebye of an owner that is silent, a claimant that announces itself has the service."""
        wrong = []
        for case in CASES:
            if case.byebye == "owner" and not case.announces and not case.incumbent_replies:
                self.setUp()
                self.prepare(case)
                self.contest(case, again=True)
                if self.hosts() != [CLAIMANT]:
                    wrong.append((case, self.hosts()))
        self.assertEqual(wrong, [])

    def test_all_cases(self) -> None:
        """The host that has the service in the end is the one that the specification names."""
        self.assertEqual(len(CASES), 432)
        wrong = []
        for case in CASES:
            self.setUp()
            self.prepare(case)
            self.contest(case)
            expected = winner(case)
            if self.hosts() != ([] if expected is None else [expected]):
                wrong.append((case, self.hosts(), expected))
        self.assertEqual(wrong, [])

    def test_return_of_the_true_device(self) -> None:
        """In every case, a home that replies has its service within 60 s of its next announcement."""
        wrong = []
        for case in CASES:
            self.setUp()
            self.prepare(case)
            self.contest(case)
            self.repliers.clear()
            self.reply(advertisement(case.home))
            self.receive(advertisement(case.home))
            self.wait(60)
            if self.hosts() != [case.home]:
                wrong.append((case, self.hosts()))
        self.assertEqual(wrong, [])

    def test_return_of_any_device_that_replies(self) -> None:
        """
        In every case, each of the two hosts has the service within 60 s of its next message, if it replies to searches,
        and the other one has ceased to.

        The other one keeps it if it is the home and has never replied: then its silence shows nothing.
        """
        wrong = []
        for case in CASES:
            for host, other, standing, replies in (
                (INCUMBENT, CLAIMANT, case.claimant, case.claimant_replies),
                (CLAIMANT, INCUMBENT, case.incumbent, case.incumbent_replies),
            ):
                if other == case.home and not replies and standing is not Standing.CONFIRMED:
                    continue
                self.setUp()
                self.prepare(case)
                self.contest(case)
                self.repliers.clear()
                self.reply(advertisement(host))
                self.receive(advertisement(host))
                self.wait(60)
                if self.hosts() != [host]:
                    wrong.append((host, case, self.hosts()))
        self.assertEqual(wrong, [])

    def test_return_of_a_device_that_never_replies(self) -> None:
        """In every case, a home has its service within 60 s of an announcement, if the other host is silent by then."""
        wrong = []
        for copies in (1, 2):
            for case in CASES:
                self.setUp()
                self.prepare(case)
                self.contest(case)
                self.repliers.clear()
                for _ in range(copies):
                    self.receive(advertisement(case.home))
                    self.wait(0.2)
                self.wait(60)
                if self.hosts() != [case.home]:
                    wrong.append((copies, case, self.hosts()))
        self.assertEqual(wrong, [])
