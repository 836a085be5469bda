"""Tests for responses with many services, which are made in slices."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.web import consul_json
from ssdpreg.web.catalogue import Entry
from ssdpreg.web.filter import portion
from ssdpreg.web.selection import Result
from tests.support.memory_daemon import API, LLDP, Daemon, Exchange
from tests.support.memory_reactor import MemoryMulticastReactor

_COUNT = 1500
_HEALTH = "/v1/health/service/RackHD-service:api:2.0"


class LargeListingTests(SynchronousTestCase):
    """Tests with 1,500 services, through HTTP in memory."""

    def setUp(self) -> None:
        self.reactor = MemoryMulticastReactor()
        self.daemon = Daemon(self.reactor)
        self.daemon.start()
        self.addCleanup(self.daemon.stop)
        for number in range(_COUNT):
            self.daemon.receive_alive(f"dev-{number:04}", API if number % 2 else LLDP)
        self.reactor.pump([1] * 10)

    def send(self, path: str, method: str = "GET", **headers: str) -> Exchange:
        """Send a request. The response goes on when the clock is advanced."""
        return Exchange(self.daemon.root, self.reactor, path, method, headers)

    def get(self, path: str, **headers: str) -> Exchange:
        """Send a request and receive the whole response."""
        exchange = self.send(path, **headers)
        self.reactor.advance(0)
        return exchange

    def test_complete(self) -> None:
        """A large list is complete and in order, in any form."""
        nodes = [f"dev-{number:04}" for number in range(1, _COUNT, 2)]
        for query in ("", "?pretty", "?tag=lab", "?node-meta=ssdpreg-scope:rack-7"):
            exchange = self.get(_HEALTH + query)
            self.assertEqual([entry["Node"]["Node"] for entry in exchange.json], nodes, query)
            self.assertEqual(exchange.headers["Transfer-Encoding"], "chunked")
        self.assertEqual([node["Node"] for node in self.get("/v1/catalog/nodes").json][1::2], nodes)
        self.assertEqual(len(self.get("/sd/prometheus").json), _COUNT)
        self.assertEqual(len(self.get("/sd/prometheus?service=RackHD-service:api:2.0").json), len(nodes))

    def test_filter_without_result(self) -> None:
        """A list of which a filter leaves nothing is empty, and complete at once."""
        self.assertEqual(self.get(f"{_HEALTH}?tag=no").body, b"[]")
        self.assertEqual(self.get("/v1/catalog/services?node-meta=ssdpreg-scope:no").body, b"{}")
        self.assertEqual(len(self.get("/v1/catalog/services?node-meta=ssdpreg-scope:rack-7").json), 2)

    def test_filter(self) -> None:
        """A filter selects from a large list, which is compared in slices, and the list stays complete."""
        nodes = [f"dev-{number:04}" for number in range(1, _COUNT, 2)]
        for expression in ("Service.Tags contains lab", " or ".join(["Service.Tags contains lab"] * 64)):
            checked = self.count_steps()
            exchange = self.get(f"{_HEALTH}?filter={quote(expression)}")
            self.assertEqual([entry["Node"]["Node"] for entry in exchange.json], nodes)
            self.assertLessEqual(max(checked), portion(expression))
            self.assertEqual(sum(checked), len(nodes))
        found = self.get(f"/v1/health/state/any?filter={quote('Node contains `dev-07`')}").json
        self.assertEqual(len(found), 100)
        names = self.get(f"/v1/catalog/services?filter={quote('Node contains `dev-0777`')}").json
        self.assertEqual(names, {"RackHD-service:api:2.0": ["Blue", "lab"]})

    def count_steps(self) -> list[int]:
        """Return a list to which each step of a listing appends the number of services that it has compared."""
        counts: list[int] = []
        select = Result._select

        def count(result: Result, slices: Iterator[list[Entry]]) -> Iterator[list[Entry]]:
            def each() -> Iterator[list[Entry]]:
                for entries in slices:
                    counts.append(len(entries))
                    yield entries

            return select(result, each())

        self.patch(Result, "_select", count)
        return counts

    def test_compressed(self) -> None:
        """A large list is compressed while it is made."""
        compressed = self.get(_HEALTH, **{"Accept-Encoding": "gzip"})
        self.assertEqual(gzip.decompress(compressed.body), self.get(_HEALTH).body)

    def test_head(self) -> None:
        """The response to HEAD ends without the list."""
        exchange = self.send(_HEALTH, "HEAD")
        self.assertEqual((exchange.status, exchange.body), (200, b""))
        self.assertIn("X-Consul-Index", exchange.headers)

    def test_other_requests(self) -> None:
        """Other requests are answered before a large list is complete."""
        exchange = self.send(_HEALTH)
        self.assertEqual(exchange.status, 200)
        part = len(exchange.received)
        self.assertEqual(self.send("/healthz").body, b"ok\n")
        self.reactor.advance(0)
        self.assertGreater(len(exchange.received), part)

    def test_changes(self) -> None:
        """Services that leave while a list is made are not in its rest, and the list is complete."""
        exchange = self.send("/v1/catalog/nodes")
        exchange.pause()
        for number in range(_COUNT):
            self.daemon.receive_byebye(f"dev-{number:04}", API if number % 2 else LLDP)
        self.reactor.pump([1] * 5)
        self.assertEqual(len(self.daemon.registry.registrations), 0)
        exchange.resume()
        self.reactor.advance(0)
        self.assertLess(0, len(exchange.json))
        self.assertLess(len(exchange.json), _COUNT)

    def test_slow_reader(self) -> None:
        """No more of a list is made while the client does not take it, and the rest follows when it does."""
        exchange = self.send(_HEALTH)
        exchange.pause()
        self.reactor.advance(0)
        part = len(exchange.received)
        self.reactor.pump([1] * 29)
        self.assertEqual(len(exchange.received), part)
        exchange.resume()
        self.reactor.advance(0)
        self.assertEqual(len(exchange.json), _COUNT // 2)

    def test_reader_that_stops(self) -> None:
        """A client that does not take a list for 30 s is disconnected, and nothing of the list is kept."""
        exchange = self.send(_HEALTH)
        exchange.pause()
        self.reactor.pump([1] * 31)
        self.assertTrue(exchange.closed)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_disconnect(self) -> None:
        """Nothing goes on when the client disconnects."""
        exchange = self.send(_HEALTH)
        part = len(exchange.received)
        exchange.disconnect()
        self.reactor.advance(0)
        self.assertEqual(len(exchange.received), part)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_error(self) -> None:
        """After an error, a list that has begun is broken off, so that no client takes it for complete."""
        describe = consul_json.health_service
        described: list[Entry] = []

        def fail_late(entry: Entry, datacenter: str, claims: Any) -> Any:
            described.append(entry)
            return describe(entry, datacenter) if len(described) < 700 else entry.registration.meta["no such key"]

        self.patch(consul_json, "health_service", fail_late)
        exchange = self.send(_HEALTH)
        self.reactor.advance(0)
        self.assertEqual(exchange.status, 200)
        self.assertTrue(exchange.closed)
        self.assertFalse(exchange.received.endswith(b"0\r\n\r\n"))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_page(self) -> None:
        """The page filters, counts and numbers many services."""
        for path, texts in {
            "/": ("1 to 100 of 1,500 services", ">1,500</strong> <span>devices"),
            "/?page=15": ("1,401 to 1,500 of 1,500 services",),
            "/?q=dev-0777": ("1 of 1,500 services",),
            "/?q=registered+lldp&page=2": ("101 to 200 of 750 services",),
            "/?q=waiting": ("None of 1,500 services matches the filter.",),
        }.items():
            page = self.get(path).body.decode()
            for text in texts:
                self.assertIn(text, page, path)

    def test_metrics(self) -> None:
        """The metrics have the numbers of many services."""
        text = self.get("/metrics").body.decode()
        self.assertIn('ssdpreg_services{state="registered"} 1500.0', text)
        self.assertIn("ssdpreg_devices 1500.0", text)

    def test_waiting_queries(self) -> None:
        """All queries that wait for one change are answered."""
        index = self.send("/v1/catalog/services").headers["X-Consul-Index"]
        waiting = [self.send(f"/v1/catalog/services?index={index}") for _ in range(20)]
        self.daemon.receive_alive("dev-new")
        self.reactor.advance(0.1)
        self.assertEqual({exchange.status for exchange in waiting}, {200})
