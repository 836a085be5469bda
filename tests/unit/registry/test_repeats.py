"""Tests for the repetitions of messages: see :meth:`ssdpreg.registry.Registry.deliver`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ssdpreg.discovery.interpret import Rejection
from ssdpreg.discovery.standing import Standing
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.registry import Registry
from ssdpreg.ssdp.codec import encode
from ssdpreg.ssdp.messages import ByeBye, SearchResponse
from ssdpreg.ssdp.reception import Channel, Reception
from ssdpreg.ssdp.repeats import RepeatMemo
from tests.support.memory_network import MemoryNetwork
from tests.unit.registry.registry_case import API, LLDP, RecordingListener, RegistryTestCase, alive


def _reply(host: str, date: str) -> bytes:
    datagram = encode(SearchResponse(API, f"uuid:D::{API}", f"http://{host}:80/x", 1800, "s"))
    return datagram.replace(b"EXT:", b"EXT:\r\nDATE: " + date.encode())


DATAGRAMS = (
    *(encode(alive(host)) for host in ("10.0.0.5:80", "10.0.0.5:81", "10.0.0.6:80")),
    encode(alive(device_id="E", max_age=5)),
    encode(alive(nt=LLDP)),
    encode(alive("0.0.0.0")),
    encode(alive(nt="urn:x")),
    encode(ByeBye(API, f"uuid:D::{API}")),
    *(_reply(host, date) for host in ("10.0.0.5", "10.0.0.6") for date in ("a", "b")),
)
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(DATAGRAMS),
        st.sampled_from(["10.0.0.5", "10.0.0.6"]),
        st.sampled_from([Channel.GROUP, Channel.GROUP, Channel.SEARCH, Channel.HOST]),
        st.sampled_from(["eth0", "eth0", "eth1"]),
        st.integers(1, 4),
        st.sampled_from([0.0, 0.0, 0.5, 4.0, 12.0, 400.0]),
        st.sampled_from([None, None, None, None, None, (API,), (API, LLDP), (LLDP,)]),
    ),
    max_size=15,
)


class RepetitionTests(RegistryTestCase):
    """Tests for repeated messages."""

    def test_without_parsing(self) -> None:
        """A repeated announcement prolongs the service, and is counted, without being processed as a new one."""
        self.start()
        for _ in range(3):
            self.receive(alive())
        self.advance(100)
        self.patch(self.registry, "_process", None)
        self.receive(alive())
        self.assertEqual(self.registry.received["alive", "eth0"], 4)
        [(_, service)] = self.registry.services()
        self.assertEqual(service.received_at, self.reactor.seconds())

    def test_announced_once(self) -> None:
        """The first announcement of a service is not kept: a flood of new services displaces no repetitions."""
        self.start()
        reception = Reception("10.0.0.5", "eth0")
        first, second = (self.registry.deliver(alive(), reception, ("10.0.0.5", 1900)) for _ in range(2))
        self.assertIsNone(first)
        self.assertIsNotNone(second)

    def test_one_advertisement(self) -> None:
        """A repetition that is parsed again shares the advertisement of the claim, if it has the same values."""
        self.start()
        reception = Reception("10.0.0.5", "eth0")
        for _ in range(3):
            self.registry.deliver(alive(), reception, ("10.0.0.5", 1900))
        [service] = self.registry._table._services
        self.assertIs(service.claim.latest, service.claim.advertisement)
        self.registry.deliver(replace(alive(), server="other"), reception, ("10.0.0.5", 1900))
        self.assertIsNot(service.claim.latest, service.claim.advertisement)

    def test_another_circumstance(self) -> None:
        """A repetition by another sender, on another interface or in reply to a search is processed as a whole."""
        self.start()
        first = Reception("10.0.0.5", "eth0")
        others = (Reception("10.0.0.6", "eth0"), Reception("10.0.0.5", "eth1"), replace(first, channel=Channel.SEARCH))
        for _ in range(2):
            self.registry.deliver(alive(), first, ("10.0.0.5", 1900))
        repeats = [self.registry.deliver(alive(), each, (each.sender, 1900)) for each in (*others, first)]
        processed: list[Reception] = []
        for group in self.registry._messages._groups.values():
            self.patch(group, "process", lambda advertisement, reception: processed.append(reception))
        for repeat in repeats:
            assert repeat is not None
            self.assertTrue(repeat())
        self.assertEqual(processed, list(others))

    def test_changed_terms(self) -> None:
        """A repeated announcement of a type that is no longer searched for is rejected."""
        self.start()
        for _ in range(3):
            self.receive(alive())
        self.registry.remove_search_term(API)
        self.receive(alive())
        self.assertEqual((self.registry.services(), self.registry.dropped["no search term"]), ([], 1))

    def test_changed_interpretation(self) -> None:
        """A repeated announcement is interpreted again after a change of the rules or of the networks."""
        self.start()
        for _ in range(3):
            self.receive(alive())
        before = self.registry._interpret
        self.patch(MemoryNetwork, "broadcasts", frozenset({"10.0.0.255"}))
        self.advance(11)
        self.assertIsNot(self.registry._interpret, before)
        self.registry._interpret = lambda message, sender: Rejection(API, "LOCATION's address is no host's")
        self.receive(alive())
        self.assertEqual(self.registry.dropped["LOCATION's address is no host's"], 1)

    def test_held_expiry(self) -> None:
        """A repeated announcement of a service whose expiry was held is searched for in time."""
        self.start()
        for _ in range(3):
            self.receive(alive(max_age=5))
        self.registry._table.hold(self.reactor.seconds() + 100)
        self.advance(7)
        self.searches()
        self.receive(alive(max_age=5))
        self.advance(6)
        self.assertIn(API, [target for target, _ in self.searches()])

    def test_removed_service(self) -> None:
        """A repeated announcement of a service that has left registers it again."""
        self.start()
        for _ in range(3):
            self.receive(alive(max_age=5))
        self.advance(8)
        self.receive(alive(max_age=5))
        self.assertEqual([event for event, _ in self.listener.events], ["appeared", "expired", "appeared"])

    @settings(deadline=None, max_examples=60)
    @given(ACTIONS, st.sampled_from(Standing))
    def test_equivalence(self, actions: list[tuple[Any, ...]], trust: Standing) -> None:
        """With and without a memo, the same datagrams have the same effects."""
        twins = [self._twin(trust, RepeatMemo(size)) for size in (1 << 20, 0)]
        for registry, *_ in twins:
            registry.startService()
        for datagram, sender, channel, interface, copies, seconds, terms in actions:
            for registry, network, _ in twins:
                if terms is not None:
                    registry.set_search_terms(dict.fromkeys(terms, "T"))
                for _ in range(copies):
                    network.receive(datagram, sender, channel, interface)
            self.reactor.pump([seconds / 8] * 8)
            first, second = map(self._state, twins)
            self.assertEqual(first, second)
        for registry, *_ in twins:
            self.successResultOf(registry.stopService())

    def _twin(self, trust: Standing, memo: RepeatMemo) -> tuple[Registry, MemoryNetwork, RecordingListener]:
        registry = self.make_registry(AdvertisementTable(2, 2, trust), memo=memo)
        listener = RecordingListener()
        registry.subscribe(listener)
        return registry, self.network, listener

    @staticmethod
    def _state(twin: tuple[Registry, MemoryNetwork, RecordingListener]) -> list[Any]:
        """Return everything that is visible from outside."""
        registry, network, listener = twin
        return [
            registry.services(),
            registry.received,
            registry.dropped,
            replace(registry.statistics(), memo_bytes=0),
            listener.events,
            network.searches,
            network.host_searches,
        ]
