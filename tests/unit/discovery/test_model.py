"""Random sequences of messages, byebyes, holds and changes of the search terms, against a simple model of the table."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from dataclasses import replace
from functools import lru_cache
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.events import Appeared, Changed, Event, Left, SearchNeeded
from ssdpreg.discovery.search_terms import SearchTerms
from ssdpreg.discovery.standing import Standing
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.errors import RejectedError
from ssdpreg.ssdp.reception import Channel, Reception
from tests.support.table_case import OTHER_URN, URN, advertisement

Key = tuple[str, str]

#: Equal advertisements and receptions are the same objects, as they are for repeated datagrams.
same_advertisement, same_reception = lru_cache(None)(advertisement), lru_cache(None)(Reception)

LIMIT, LIMIT_OF_SENDER = 3, 2
HOSTS = st.sampled_from(["10.0.0.5", "10.0.0.6", "10.0.0.7"])
SENDERS = st.sampled_from(["10.0.0.5", "10.0.0.6", "10.0.0.7", "10.0.0.99"])
DEVICES = st.sampled_from(["D", "E"])
URNS = st.sampled_from([URN, OTHER_URN])
INTERFACES = st.sampled_from(["eth0", "eth1"])
BOTH = SearchTerms({URN: "RackHD", OTHER_URN: "RackHD"})


class TableMachine(RuleBasedStateMachine):
    """
    A table, and a model that knows what was received.

    :ivar twin: Table that receives copies, so that it never recognizes a repeated object.
    :ivar known: Live services according to the events.
    :ivar ends: Latest possible end of each LOCATION: its latest reception or adoption, plus the lifetime.
    :ivar undisputed: Exact end of each service that only its own host has announced, at one LOCATION, without a byebye.
    :ivar byebyes: Times and senders of the byebyes for each service.
    :ivar senders: Senders that announced a service, and its hosts.
    :ivar held_until: Latest end of a hold.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.known: dict[Key, Advertisement] = {}
        self.ends: dict[tuple[Key, str], float] = {}
        self.undisputed: dict[Key, float] = {}
        self.byebyes: dict[Key, list[tuple[float, str]]] = {}
        self.senders: dict[Key, set[str]] = {}
        self.held_until = -math.inf
        self.latest: tuple[str, str, str, str | None, int, Channel, bool, str] | None = None
        self.terms = BOTH
        self.created_before: Counter[str] = Counter()

    @initialize(trust=st.sampled_from(Standing))
    def create(self, trust: Standing) -> None:
        self.trust = trust
        self.table = AdvertisementTable(LIMIT, LIMIT_OF_SENDER, trust)
        self.twin = AdvertisementTable(LIMIT, LIMIT_OF_SENDER, trust)

    # Rules.

    @rule(
        device=DEVICES,
        urn=URNS,
        host=HOSTS,
        sender=st.none() | SENDERS,
        max_age=st.sampled_from([5, 30, 300]),
        channel=st.sampled_from(Channel),
        on_link=st.booleans(),
        interface=INTERFACES,
    )
    def receive(
        self,
        device: str,
        urn: str,
        host: str,
        sender: str | None,
        max_age: int,
        channel: Channel,
        on_link: bool,
        interface: str,
    ) -> None:
        """Receive an advertisement, from its own host or from another sender."""
        self.process(device, urn, host, sender, max_age, channel, on_link, interface)

    def process(
        self,
        device: str,
        urn: str,
        host: str,
        sender: str | None,
        max_age: int,
        channel: Channel,
        on_link: bool,
        interface: str,
    ) -> None:
        """Process an advertisement by both tables and by the model."""
        if self.terms.match(urn) is None:
            return
        self.latest = device, urn, host, sender, max_age, channel, on_link, interface
        one = same_advertisement(host, max_age, device, urn)
        reception = same_reception(sender or host, interface, channel, on_link)
        key = device, urn
        tracked = self.is_tracked(key)
        self.created_before = Counter(service.creator for service in self.table._services)
        try:
            events = self.table.observe(one, reception, self.now)
        except RejectedError as error:
            # Copies are other objects with the same content.
            with contextlib.suppress(RejectedError):
                self.twin.observe(replace(one), replace(reception), self.now)
                raise AssertionError("only one of the twins rejects it") from error
            assert tracked or self.table.tracked == LIMIT or self.created(reception.sender) == LIMIT_OF_SENDER
            self.undisputed.pop(key, None)
            return
        assert events == self.twin.observe(replace(one), replace(reception), self.now)
        self.senders.setdefault(key, set()).update({reception.sender, host})
        self.ends[key, one.location] = max(self.ends.get((key, one.location), 0.0), self.now + one.lifetime)
        own = reception.sender == host and on_link
        if own and (not tracked or (key in self.undisputed and self.known[key].location == one.location)):
            self.undisputed[key] = self.now + one.lifetime
        else:
            self.undisputed.pop(key, None)
        self.apply(events)
        if key not in self.known:
            # With a higher trust, the service is not live yet.
            self.undisputed.pop(key, None)

    @rule(seconds=st.sampled_from([0.125, 9.0, 20.0]), times=st.integers(1, 3))
    def repeat(self, seconds: float, times: int) -> None:
        """Receive the latest advertisement again, as most datagrams are repeated."""
        for _ in range(times):
            self.wait(seconds)
            if self.latest is not None:
                self.process(*self.latest)

    @rule(device=DEVICES, urn=st.none() | URNS, sender=SENDERS)
    def byebye(self, device: str, urn: str | None, sender: str) -> None:
        """Receive a byebye."""
        for each in (URN, OTHER_URN) if urn is None else (urn,):
            self.byebyes.setdefault((device, each), []).append((self.now, sender))
            self.undisputed.pop((device, each), None)
        events = self.table.bye(device, urn, sender, self.now)
        assert events == self.twin.bye(device, urn, sender, self.now)
        self.apply(events)

    @rule(seconds=st.sampled_from([0.125, 1.0, 3.0, 10.0, 40.0, 400.0]))
    def wait(self, seconds: float) -> None:
        """Let time pass. The table decides whenever it has to."""
        end = self.now + seconds
        while self.table.next_due <= end:
            self.now = max(self.now, self.table.next_due)
            self.expire()
        self.now = end

    @rule(seconds=st.sampled_from([1.0, 20.0, 500.0]))
    def sleep(self, seconds: float) -> None:
        """Let time pass in which the table could not decide."""
        self.now += seconds
        self.undisputed.clear()
        for _ in range(5):
            self.expire()

    @rule(seconds=st.sampled_from([5.0, 100.0]), interface=st.just("") | INTERFACES)
    def hold(self, seconds: float, interface: str) -> None:
        """Hold the expiry of services."""
        for table in (self.table, self.twin):
            table.hold(self.now + seconds, interface)
        self.held_until = max(self.held_until, self.now + seconds)
        self.undisputed.clear()

    @rule(urns=st.sets(URNS))
    def reassign(self, urns: set[str]) -> None:
        """Change the search terms."""
        self.terms = SearchTerms(dict.fromkeys(urns, "RackHD"))
        twins = self.twin.reassign(self.terms.match, self.now)
        for events in self.table.reassign(self.terms.match, self.now):
            assert events == next(twins)
            self.apply(events)
        assert next(twins, None) is None
        assert {urn for _, urn in self.known} <= urns

    @rule(device=DEVICES, urn=URNS, host=HOSTS, remaining=st.none() | st.sampled_from([-1.0, 20.0]))
    def adopt(self, device: str, urn: str, host: str, remaining: float | None) -> None:
        """Adopt a service."""
        one = advertisement(host, 30, device, urn)
        key = device, urn
        if self.table.tracked >= LIMIT or self.terms.match(urn) is None:
            return
        if not self.is_tracked(key) or remaining is None or remaining > 0:
            self.ends[key, one.location] = max(self.ends.get((key, one.location), 0.0), self.now + 60)
            self.senders.setdefault(key, set()).add(host)
            self.undisputed.pop(key, None)
        events = self.table.adopt(one, self.now, remaining)
        assert events == self.twin.adopt(one, self.now, remaining)
        self.apply(events)

    # The model.

    def expire(self) -> None:
        """Let the table take decisions that are due."""
        events = self.table.expire(self.now)
        assert events == self.twin.expire(self.now)
        self.apply(events)

    def apply(self, events: list[Event]) -> None:
        """Process events of the table."""
        for event in events:
            one = event.advertisement
            key = one.device_id, one.urn
            if isinstance(event, Appeared):
                assert key not in self.known and event.standing >= self.trust
                self.known[key] = one
            elif isinstance(event, Changed):
                assert key in self.known and event.standing >= self.trust
                self.known[key] = one
            elif isinstance(event, Left):
                assert self.known.pop(key).location == one.location
                self.check_reason(key, one, event.reason)
            else:
                assert isinstance(event, SearchNeeded) and event.within > 0
                assert len(set(event.hosts)) == len(event.hosts) <= 5

    def check_reason(self, key: Key, one: Advertisement, reason: str) -> None:
        """Check that a service left for the given reason."""
        if reason == "byebye":
            assert any(at + 2 <= self.now and sender in self.senders[key] for at, sender in self.byebyes[key])
        elif reason == "expired":
            assert self.undisputed.get(key, self.now) <= self.now
        elif reason == "unconfigured":
            assert self.terms.match(one.nt) is None
        else:
            assert reason == "evicted"
            assert self.table.tracked == LIMIT or LIMIT_OF_SENDER in self.created_before.values()
        self.undisputed.pop(key, None)

    def is_tracked(self, key: Key) -> bool:
        return self.table._services.find(*key) is not None

    def created(self, sender: str) -> int:
        """Return the number of services that a sender created."""
        return sum(service.creator == sender for service in self.table._services)

    def check(self) -> None:
        """Check all invariants."""
        self.events_describe_the_table()
        self.counts_agree()
        self.memory_is_bounded()
        self.contests_end_doubts()
        self.twins_agree()
        self.nothing_lives_too_long()
        self.undisputed_services_are_live()

    @invariant()
    def events_describe_the_table(self) -> None:
        live = {(each.advertisement.device_id, each.advertisement.urn): each.advertisement for each in self.table}
        # A renewal changes facts, such as max-age, without an event.
        assert live.keys() == self.known.keys()
        assert all(live[key].location == one.location for key, one in self.known.items())
        assert len(self.table) == len(live)

    @invariant()
    def counts_agree(self) -> None:
        services = list(self.table._services)
        assert self.table.tracked == len(services) <= LIMIT
        assert all(not service.removed and service.creator for service in services)
        for sender in {service.creator for service in services}:
            assert self.table._services.capacity._created[sender] == self.created(sender)
        assert len(self.table._services.capacity._ranks) == len(services)

    @invariant()
    def memory_is_bounded(self) -> None:
        assert len(self.table._services._schedule) <= 2 * self.table.tracked + 1024
        for service in self.table._services:
            assert len(service.others) <= 4 and len(service._held or ()) <= 5

    @invariant()
    def contests_end_doubts(self) -> None:
        for service in self.table._services:
            assert service.contest is None or service.doubt is None or service.doubt.due == math.inf

    @invariant()
    def repetitions_only_prolong(self) -> None:
        for service in self.table._services:
            assert all(claim.latest is None for claim in service.others)
            if service.claim.latest is not None:
                assert service.live and service.contest is None and service.repeat_at is None
                assert service.scheduled_at <= service.claim.search_at

    @invariant()
    def twins_agree(self) -> None:
        assert list(self.table) == list(self.twin)

    @invariant()
    def nothing_lives_too_long(self) -> None:
        # A byebye takes up to 2 s, and a decision that is held up to 30 s more. Then there are three rounds of 3 s.
        for live in self.table:
            key = live.advertisement.device_id, live.advertisement.urn
            end = self.ends[key, live.advertisement.location]
            assert live.expires_at <= end
            in_round = self.held_until > live.received_at and self.table.next_due <= self.now + 3
            assert self.now <= max(end, self.held_until + 30) + 1e-6 or self.table.next_due <= self.now or in_round

    @invariant()
    def undisputed_services_are_live(self) -> None:
        for key, end in self.undisputed.items():
            assert key in self.known or end <= self.now, (key, end)

    def teardown(self) -> None:
        """Let all devices fall silent: the table becomes empty."""
        if not hasattr(self, "table"):
            return
        for interface in ("", "eth0", "eth1"):
            for table in (self.table, self.twin):
                table.hold(self.now, interface)
        for _ in range(20):
            self.wait(400.0)
        assert (self.known, self.table.tracked, self.table.next_due) == ({}, 0, math.inf)
        assert not self.table._services.capacity._created


class TableTests(SynchronousTestCase):
    """Random sequences against the model."""

    def test_short_sequences(self) -> None:
        """The table agrees with the model after every step. A failing sequence is reduced to a short one."""
        run_state_machine_as_test(
            TableMachine,
            settings=settings(derandomize=True, deadline=None, max_examples=40, stateful_step_count=40),
        )

    def test_long_sequences(self) -> None:
        """The table agrees with the model in long sequences with mostly ordinary traffic."""
        for seed in range(300):
            run_random_sequence(Random(seed), seed)


def run_random_sequence(random: Random, seed: int) -> None:
    """Run one long sequence of steps. The seed is in the traceback of a failure."""
    hosts = ["10.0.0.5", "10.0.0.6", "10.0.0.7"]
    machine = TableMachine()
    machine.create(random.choice([Standing.INDIRECT, Standing.INDIRECT, *Standing]))
    for _ in range(120):
        device, urn, host = random.choice("DDE"), random.choice([URN, URN, OTHER_URN]), random.choice(hosts)
        match random.choices(range(8), [30, 20, 8, 30, 2, 2, 1, 2])[0]:
            case 0:
                sender = random.choice([None, None, *hosts, "10.0.0.99"])
                max_age, channel = random.choice([5, 30, 300, 300, 300]), random.choice(list(Channel))
                machine.process(device, urn, host, sender, max_age, channel, random.random() < 0.9, "eth0")
            case 1:
                machine.repeat(random.choice([0.125, 9.0, 20.0]), random.randint(1, 3))
            case 2:
                machine.byebye(device, random.choice([None, urn]), random.choice([*hosts, "10.0.0.99"]))
            case 3:
                machine.wait(random.choice([0.125, 1.0, 3.0, 10.0, 40.0]))
            case 4:
                machine.sleep(random.choice([1.0, 20.0, 500.0]))
            case 5:
                machine.hold(random.choice([5.0, 100.0]), random.choice(["", "eth0", "eth1"]))
            case 6:
                machine.reassign(random.choice([{URN, OTHER_URN}, {URN}, set()]))
                machine.check()
                machine.reassign({URN, OTHER_URN})
            case 7:
                machine.adopt(device, urn, host, random.choice([None, -1.0, 20.0]))
        machine.check()
    machine.teardown()
