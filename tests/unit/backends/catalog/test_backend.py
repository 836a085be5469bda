"""Tests for :mod:`ssdpreg.backends.catalog.backend` with a server in memory."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, TypeVar, cast

from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from ssdpreg.backends.catalog.backend import ConsulCatalog
from ssdpreg.backends.catalog.format import CatalogFormat
from ssdpreg.backends.catalog.migration import AgentMigration
from ssdpreg.backends.catalog.requests import TransactionTooLargeError
from ssdpreg.backends.catalog.transactions import Unit, encode_operation
from ssdpreg.backends.consul_agent import ConsulAgent
from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.backends.http_client import BoundedHTTPClient
from ssdpreg.errors import BackendForgotError, BackendUnavailableError, NotHolderError
from ssdpreg.interfaces import (
    ICredentials,
    IEarlierRegistrations,
    IKnownRegistrations,
    IRequestStatistics,
    IWriteProbe,
)
from ssdpreg.registration import Check, Outcome, Plan, Registration
from ssdpreg.testing import FakeConsulAgent, FakeConsulCatalog, make_registration
from ssdpreg.testing.fake_consul import FakeResponseError
from tests.support.consul_catalog_tests import CatalogTestsMixin, TestFence, request_catalog

_T = TypeVar("_T")


class FakeCatalogTests(CatalogTestsMixin, TestCase):
    """Contract tests with a server in memory."""

    def setUp(self) -> None:
        self.server = FakeConsulCatalog()
        self.clock = Clock()
        self.fences = {}

    def request(self, method: str, path: str, body: Any = None) -> Any:
        return request_catalog(self, self.server, method, path, body)

    def make_http(self) -> tuple[Any, ConsulHTTP]:
        treq: Any = StubTreq(self.server)
        return self.clock, ConsulHTTP(self.clock, BoundedHTTPClient(self.clock, "http://consul.test:8500", treq))


class CatalogTestCase(SynchronousTestCase):
    """Base class: a backend with a server in memory, whose daemon holds the lock."""

    def setUp(self) -> None:
        self.server = FakeConsulCatalog()
        self.state = self.server.state
        self.clock = Clock()
        self.fence = TestFence(self.request, "test")
        self.fence.acquire()
        self.backend = self.make_backend()

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request without the code under test."""
        return request_catalog(self, self.server, method, path, body)

    def make_backend(self, datacenter: str | None = None, prefix: str = "", **options: Any) -> ConsulCatalog:
        parameters = {} if datacenter is None else {"dc": datacenter}
        treq: Any = StubTreq(self.server)
        client = BoundedHTTPClient(self.clock, "http://consul.test:8500", treq)
        http = ConsulHTTP(self.clock, client, None, parameters)
        return ConsulCatalog(self.clock, http, self.fence, CatalogFormat("test", prefix, datacenter), **options)

    def result_of(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine that has to return without delay."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def failure_of(self, coroutine: Coroutine[Any, Any, object], *errors: type[Exception]) -> Exception:
        """Run a coroutine that has to fail without delay, and return the exception."""
        return cast("Exception", self.failureResultOf(Deferred.fromCoroutine(coroutine), *errors).value)

    def apply(self, *register: Registration, remove: Iterable[Registration] = ()) -> Outcome:
        """Apply a plan."""
        return self.result_of(self.backend.apply(Plan(register, tuple(remove))))

    def register(self, *registrations: Registration) -> None:
        """Register services, of which none may be rejected."""
        outcome = self.apply(*registrations)
        self.assertEqual(outcome, Outcome(frozenset(each.service_id for each in registrations)))

    def read(self) -> Mapping[str, Registration]:
        """Return what the backend reads."""
        return self.result_of(self.backend.read())

    def writes(self) -> list[list[dict[str, Any]]]:
        """Return the transactions so far that write."""
        return [each for each in self.server.transactions if each[0].get("KV", {}).get("Verb") == "check-session"]

    def change_node(self, name: str, **fields: Any) -> None:
        """Change fields of a node as another program does."""
        node = {**self.state.nodes[name], **fields}
        self.state.transact([{"Node": {"Verb": "set", "Node": node}}])


class RequestTests(CatalogTestCase):
    """Tests for the requests of the backend."""

    def test_interfaces(self) -> None:
        """The backend provides the optional interfaces."""
        for interface in (IRequestStatistics, IWriteProbe, ICredentials, IKnownRegistrations, IEarlierRegistrations):
            verifyObject(interface, self.backend)

    def test_every_write_is_fenced(self) -> None:
        """The first operation of each transaction that writes checks the lock."""
        registrations = [make_registration(number) for number in range(50)]
        self.register(*registrations)
        self.apply(make_registration(3, port=1), remove=registrations[10:])
        for operations in self.server.transactions:
            verbs = {body["Verb"] for operation in operations for body in operation.values()}
            if verbs - {"get", "check-not-exists"}:
                self.assertEqual(operations[0], self.fence.operation())
        self.assertGreater(len(self.writes()), 3)

    def test_many_devices_share_a_transaction(self) -> None:
        """100 new devices are five transactions, and no other request."""
        self.read()
        self.server.requests.clear()
        self.register(*(make_registration(number) for number in range(100)))
        self.assertEqual([path for _, path, _ in self.server.requests], ["/v1/txn"] * 5)
        self.assertEqual([len(each) for each in self.writes()], [64, 64, 64, 64, 49])

    def test_limit_of_a_later_version(self) -> None:
        """A server that accepts 128 operations gets 42 devices in each transaction."""
        self.server.most_operations = 128
        self.register(*(make_registration(number) for number in range(100)))
        self.assertEqual([len(each) for each in self.writes()], [127, 127, 49])

    def test_limit_becomes_lower(self) -> None:
        """When another server accepts fewer operations, the plan goes on with smaller transactions."""
        self.register(make_registration(0))
        self.server.most_operations = 10
        self.register(*(make_registration(number) for number in range(1, 20)))
        self.assertEqual(len(self.read()), 20)
        self.assertLessEqual(max(map(len, self.writes())), 64)

    def test_limit_becomes_lower_for_two_transactions(self) -> None:
        """Two transactions under way meet the same lower limit, and both are to be divided."""
        transactions = self.backend._transactions
        self.server.most_operations = 128
        self.read()
        pieces = [encode_operation({"KV": {"Verb": "check-not-exists", "Key": "x"}})] * 100
        under_way = [transactions.transaction() for _ in range(2)]
        for each in under_way:
            self.assertTrue(each.add(Unit("device", tuple(pieces))))
        self.server.most_operations = 64
        for each in under_way:
            self.failure_of(transactions.write(each, self.fence.session), TransactionTooLargeError)
        self.assertEqual(transactions.limits.operations, 64)

    def test_always_too_large(self) -> None:
        """A proxy that rejects every length gets a few attempts, and the services are rejected."""
        self.read()
        self.server.faults["/v1/txn"] = (413, "Request Entity Too Large")
        outcome = self.apply(*(make_registration(number) for number in range(3)))
        self.assertEqual(len(outcome.refused), 3)
        self.assertLess(len(self.server.requests), 60)

    def test_datacenter(self) -> None:
        """Each request names the datacenter, and so does each node."""
        self.backend = self.make_backend("dc2")
        self.server.requests.clear()
        registration = make_registration()
        self.register(registration)
        self.read()
        self.apply(remove=[registration])
        self.assertEqual({query.get("dc") for _, _, query in self.server.requests}, {"dc2"})
        nodes = [each["Node"]["Node"] for operations in self.writes() for each in operations if "Node" in each]
        self.assertEqual([node["Datacenter"] for node in nodes], ["dc2", "dc2"])

    def test_adoption_is_consistent(self) -> None:
        """After the start, and after each acquisition of the lock, reads are consistent."""
        self.register(make_registration())
        self.fence.release()
        self.fence.acquire()
        self.server.requests.clear()
        self.read()
        self.assertEqual(len(self.server.requests), 3)
        for _, _, query in self.server.requests:
            self.assertIn("consistent", query)
        self.server.requests.clear()
        self.read()
        self.assertNotIn("consistent", self.server.requests[0][2])

    def test_comparison(self) -> None:
        """A comparison checks the lock, lists the own nodes, and reads a part of their contents by one transaction."""
        self.register(*(make_registration(number) for number in range(100)))
        self.state.transact([{"Node": {"Verb": "set", "Node": {"Node": f"n{n}", "Address": "h"}}} for n in range(500)])
        self.read()
        self.server.requests.clear()
        self.assertEqual(len(self.read()), 100)
        self.assertEqual(
            [(path, query) for _, path, query in self.server.requests],
            [("/v1/txn", {}), ("/v1/catalog/nodes", {"node-meta": "ssdpreg-scope:test"}), ("/v1/txn", {})],
        )
        # A twentieth of the devices, and the three with the latest changes: two operations each.
        self.assertEqual(len(self.server.transactions[-1]), 16)

    def test_known_registrations(self) -> None:
        """Registrations of the caller replace equal ones that were read."""
        registration = make_registration()
        self.register(registration)
        self.backend = self.make_backend()
        equal = make_registration()
        self.backend.known = {equal.service_id: equal}
        self.assertIs(self.read()[equal.service_id], equal)

    def test_probe(self) -> None:
        """The probe checks the lock."""
        self.result_of(self.backend.probe())
        self.fence.release()
        self.failure_of(self.backend.probe(), NotHolderError)
        self.assertEqual(self.fence.losses, 1)

    def test_lock_lost_without_writes(self) -> None:
        """A comparison notices that the lock is lost, also if nothing has to be written."""
        self.register(make_registration())
        self.read()
        self.state.keys.clear()
        self.failure_of(self.backend.read(), NotHolderError)
        self.assertEqual(self.fence.losses, 1)

    def test_new_session(self) -> None:
        """The keep-alive reports once that the lock was lost meanwhile: everything may have changed."""
        self.read()
        self.result_of(self.backend.keep_alive())
        self.fence.release()
        self.fence.acquire()
        self.failure_of(self.backend.keep_alive(), BackendForgotError)
        self.result_of(self.backend.keep_alive())


class DepartureTests(CatalogTestCase):
    """Tests for the removal of many devices."""

    def setUp(self) -> None:
        super().setUp()
        self.registrations = [make_registration(number) for number in range(100)]
        self.register(*self.registrations)
        self.server.requests.clear()

    def names(self) -> set[str]:
        """Return the names of the nodes of devices."""
        return {name for name in self.state.nodes if name.startswith("device-")}

    def paths(self) -> list[str]:
        """Return the paths of the requests since the latest call."""
        paths = [path for _, path, _ in self.server.requests]
        self.server.requests.clear()
        return paths

    def test_requests(self) -> None:
        """100 departures are four transactions, and their nodes four requests at the next comparison."""
        outcome = self.apply(remove=self.registrations)
        self.assertEqual(len(outcome.applied), 100)
        self.assertEqual(self.paths(), ["/v1/txn"] * 4)
        self.assertEqual((self.state.services, len(self.names())), ({}, 100))
        self.assertEqual(self.read(), {})
        self.assertEqual(self.names(), set())
        comparison = ["/v1/txn", "/v1/catalog/nodes"]
        deletion = ["/v1/catalog/services", "/v1/health/state/any", "/v1/txn", "/v1/txn"]
        self.assertEqual(self.paths(), comparison + deletion)
        self.read()
        self.assertEqual(self.paths(), comparison)

    def test_other_writer(self) -> None:
        """A daemon that acquires the lock deletes the nodes at its second comparison."""
        self.server.faults["/v1/catalog/node/"] = (500, "No request for a single node is expected")
        self.apply(remove=self.registrations[:50])
        self.backend = self.make_backend()
        self.assertEqual(len(self.read()), 50)
        self.apply(remove=self.registrations[50:90])
        self.assertEqual(len(self.names()), 100)
        self.read()
        self.assertEqual(self.names(), {f"device-{number}" for number in range(90, 100)})

    def test_removal_without_a_response(self) -> None:
        """After a removal with an unknown outcome, the nodes are deleted at the next comparison, too."""
        self.read()
        self.server.lose_responses = 1
        outcome = self.apply(remove=self.registrations[:90])
        self.assertIsInstance(outcome.unavailable, BackendUnavailableError)
        self.assertEqual(outcome.applied, frozenset())
        self.apply(remove=self.read().values())
        self.assertEqual((self.state.services, self.read()), ({}, {}))
        self.assertEqual(self.names(), set())

    def test_mark(self) -> None:
        """The mark of a batch does not contain the session of the daemon."""
        self.apply(remove=self.registrations)
        marks = {self.state.nodes[name]["Meta"]["ssdpreg-batch"] for name in self.names()}
        self.assertEqual(len(marks), 1)
        self.assertNotIn(self.fence.session, "".join(marks))

    def test_few(self) -> None:
        """The nodes of a few devices are deleted at once."""
        self.apply(remove=self.registrations[:4])
        self.assertEqual(self.names(), {f"device-{number}" for number in range(4, 100)})

    def test_node_with_thousands_of_services(self) -> None:
        """A node with so many services that they cannot be read is kept, without those of the device."""
        for number in range(5000):
            self.state.services["device-3", f"x{number}"] = {
                **self.state.services["device-3", "rackhd-service:api:2.0"],
                "ID": f"x{number}",
            }
        outcome = self.apply(remove=self.registrations[:4])
        self.assertEqual((len(outcome.applied), outcome.unavailable), (4, None))
        self.assertEqual(self.names(), {f"device-{number}" for number in range(3, 100)})
        self.assertNotIn(("device-3", "rackhd-service:api:2.0"), self.state.services)

    def test_returns(self) -> None:
        """The node of a device that returns before the comparison is kept, and is like any other."""
        self.apply(remove=self.registrations)
        self.register(self.registrations[7])
        self.assertEqual(self.read().keys(), {self.registrations[7].service_id})
        self.assertEqual(self.names(), {"device-7"})
        self.assertEqual(self.state.nodes["device-7"]["Meta"], {"external-source": "ssdpreg", "ssdpreg-scope": "test"})

    def test_leaves_again(self) -> None:
        """Each batch has another name, so that a node that is kept does not delay later batches."""
        self.state.transact(
            [{"Service": {"Verb": "set", "Node": "device-3", "Service": {"ID": "theirs", "Service": "theirs"}}}]
        )
        self.apply(remove=self.registrations[:50])
        self.read()
        self.assertEqual(len(self.names()), 51)
        self.paths()
        self.apply(remove=self.registrations[50:])
        self.read()
        self.assertEqual(self.names(), {"device-3"})
        paths = self.paths()
        self.assertEqual(paths.count("/v1/catalog/services"), 1)
        self.assertLess(len([path for path in paths if path.startswith("/v1/catalog/node/")]), 10)

    def test_node_changes(self) -> None:
        """A node that another program changes after the departure is examined again."""
        self.apply(remove=self.registrations)
        list_services = self.server._list_services

        def change(content: bytes, query: dict[str, str]) -> Any:
            answer = list_services(content, query)
            self.change_node("device-3", Address="10.0.0.3")
            self.state.transact(
                [{"Service": {"Verb": "set", "Node": "device-3", "Service": {"ID": "theirs", "Service": "theirs"}}}]
            )
            return answer

        self.server._routes.insert(0, ("GET", "/v1/catalog/services", change))
        self.read()
        self.assertEqual(self.names(), {"device-3"})
        self.assertEqual(self.state.services.keys(), {("device-3", "theirs")})

    def test_many_foreign_services(self) -> None:
        """If the response is too long, each node is examined."""
        self.apply(remove=self.registrations)
        names = {f"{number:0100}": list[str]() for number in range(100_000)}
        self.server._routes.insert(0, ("GET", "/v1/catalog/services", lambda content, query: names))
        self.paths()
        self.read()
        self.assertIn("/v1/catalog/node/device-3", self.paths())
        for _ in range(60):
            self.read()
        self.assertEqual(self.names(), set())

    def test_error(self) -> None:
        """After an error, the nodes are left for a later comparison."""
        self.apply(remove=self.registrations)
        self.server.faults["/v1/catalog/services"] = (500, "No cluster leader")
        self.failure_of(self.backend.read(), BackendUnavailableError)
        self.assertEqual(len(self.names()), 100)
        self.server.faults.clear()
        self.read()
        self.assertEqual(self.names(), set())

    def test_rejected(self) -> None:
        """If the request is rejected, each node is examined, 50 at the next comparison."""
        self.apply(remove=self.registrations)
        self.server.faults["/v1/catalog/services"] = (403, "Forbidden by a proxy")
        self.read()
        self.assertIn(len(self.names()), range(45, 51))

    def test_malformed(self) -> None:
        """A response that is no object deletes nothing."""
        self.apply(remove=self.registrations)
        self.server._routes.insert(0, ("GET", "/v1/catalog/services", lambda content, query: []))
        self.failure_of(self.backend.read(), BackendUnavailableError)
        self.assertEqual(len(self.names()), 100)

    def test_retire(self) -> None:
        """A daemon that removes all services at its end deletes their nodes, too."""
        self.apply(remove=self.registrations)
        self.result_of(self.backend.retire())
        self.assertEqual(self.names(), set())

    def test_other_daemon(self) -> None:
        """Another daemon that takes over deletes the nodes in the course of its comparisons."""
        self.apply(remove=self.registrations[1:])
        self.backend = self.make_backend()
        for _ in range(60):
            self.assertEqual(self.read().keys(), {self.registrations[0].service_id})
        self.assertEqual(self.names(), {"device-0"})


class ErrorTests(CatalogTestCase):
    """Tests for errors of Consul, and for changes by other programs."""

    def test_bad_device(self) -> None:
        """A device that Consul rejects is left out, and all others of its transaction are sent again, once."""
        good = [make_registration(number) for number in range(19)]
        bad = [
            make_registration(number, meta={**make_registration(number).meta, "ssdp-server": "x" * 513})
            for number in (50, 51)
        ]
        outcome = self.apply(bad[0], *good, bad[1])
        self.assertEqual(outcome.applied, {each.service_id for each in good})
        self.assertEqual(outcome.refused.keys(), {each.service_id for each in bad})
        self.assertIn("Value is too long", str(outcome.refused[bad[0].service_id]))
        self.assertLess(len(str(outcome.refused[bad[0].service_id])), 210)
        self.assertEqual([len(each) for each in self.writes()], [64, 58])

    def test_denied(self) -> None:
        """A device that the token may not write is rejected for that reason, so that a new token releases it."""
        self.state.denied = lambda kind, body: kind == "Service" and body["Service"]["Service"] == "Other"
        good, bad = make_registration(0), make_registration(1, name="Other")
        outcome = self.apply(good, bad)
        self.assertEqual(outcome.applied, {good.service_id})
        self.assertTrue(outcome.refused[bad.service_id].denied)

    def test_denied_key(self) -> None:
        """Without the right to read the lock, nothing is written, and the daemon does not count the lock as lost."""
        self.read()
        self.server.faults["/v1/txn"] = (
            409,
            '{"Results": null, "Errors": [{"OpIndex": 0, "What": "Permission denied"}]}',
        )
        outcome = self.apply(make_registration())
        (error,) = outcome.refused.values()
        self.assertTrue(error.denied)
        self.assertEqual(self.fence.losses, 0)

    def test_denied_everything(self) -> None:
        """A token that Consul does not know is a rejection of each service."""
        self.read()
        self.server.faults["/v1/txn"] = (403, "ACL not found")
        registrations = [make_registration(number) for number in range(100)]
        outcome = self.apply(*registrations)
        self.assertEqual(len(outcome.refused), 100)
        self.assertEqual(outcome.applied, frozenset())

    def test_applied_without_a_response(self) -> None:
        """When a write has no response, it is read whether it was applied, and nothing is written twice."""
        registrations = [make_registration(number) for number in range(5)]
        self.read()
        self.server.lose_responses = 1
        outcome = self.apply(*registrations)
        self.assertIsInstance(outcome.unavailable, BackendUnavailableError)
        self.assertEqual((outcome.applied, dict(outcome.refused)), (frozenset(), {}))
        index = self.state.index
        self.assertEqual(self.read(), {each.service_id: each for each in registrations})
        self.assertEqual(self.state.index, index)
        moved = make_registration(3, address="192.0.2.99")
        self.register(moved)
        self.assertEqual(self.state.nodes["device-3"]["Address"], "192.0.2.99")

    def test_change_without_a_response(self) -> None:
        """After a change with an unknown outcome, the services are those that are in the catalog."""
        before, after = make_registration(1), make_registration(1, port=1)
        leaving = make_registration(2)
        self.register(before, leaving)
        self.server.lose_responses = 1
        self.apply(after, remove=[leaving])
        self.assertEqual(self.read(), {after.service_id: after})
        self.register(before)

    def test_few_of_many_without_a_response(self) -> None:
        """The services of an unknown outcome are compared at once, among thousands of others."""
        self.register(*(make_registration(number) for number in range(200)))
        self.read()
        self.server.lose_responses = 1
        changed = [make_registration(number, port=1) for number in (3, 77, 150)]
        self.apply(*changed, remove=[])
        found = self.read()
        self.assertEqual([found[each.service_id] for each in changed], changed)

    def test_not_applied(self) -> None:
        """After an error of Consul that was not applied, nothing is known to be registered."""
        self.read()
        self.server.faults["/v1/txn"] = (500, "leadership lost while committing log")
        self.assertIsNotNone(self.apply(make_registration()).unavailable)
        self.server.faults.clear()
        self.assertEqual(self.read(), {})
        self.register(make_registration())

    def test_unavailable(self) -> None:
        """After an error, no further transaction is sent."""
        self.read()
        self.server.faults["/v1/txn"] = (503, "")
        self.server.requests.clear()
        outcome = self.apply(*(make_registration(number) for number in range(300)))
        self.assertIsInstance(outcome.unavailable, BackendUnavailableError)
        self.assertLessEqual(len(self.server.requests), 4)

    def test_rate_limit(self) -> None:
        """Transactions that an agent rejects because of their rate are sent again after a second."""
        registrations = [make_registration(number) for number in range(500)]
        self.register(*registrations)
        self.backend = self.make_backend()
        tokens, transact = 3, self.server._transact

        def limited(content: bytes, query: dict[str, str]) -> Any:
            nonlocal tokens
            if not tokens:
                raise FakeResponseError(429, "rate limit exceeded")
            tokens -= 1
            return transact(content, query)

        self.server._routes.insert(0, ("PUT", "/v1/txn", limited))
        reading = Deferred.fromCoroutine(self.backend.read())
        for _ in range(10):
            self.assertFalse(reading.called)
            sent = len(self.server.requests)
            self.clock.advance(0.9)
            self.assertEqual(len(self.server.requests), sent)
            tokens = 3
            self.clock.advance(0.2)
            if reading.called:
                break
        self.assertEqual(len(self.successResultOf(reading)), 500)

    def test_rate_limit_without_end(self) -> None:
        """If none is accepted for some seconds, Consul is unavailable. Without the lock, none is sent again."""
        self.read()
        self.server.faults["/v1/txn"] = (429, "")
        self.server.requests.clear()
        applying = Deferred.fromCoroutine(self.backend.apply(Plan((make_registration(),))))
        self.clock.pump([1.0] * 5)
        self.assertIsInstance(self.successResultOf(applying).unavailable, BackendUnavailableError)
        self.assertEqual(len(self.server.requests), 6)
        applying = Deferred.fromCoroutine(self.backend.apply(Plan((make_registration(),))))
        self.clock.advance(1.0)
        sent = len(self.server.requests)
        self.fence.session = ""
        self.clock.advance(1.0)
        self.assertIsInstance(self.successResultOf(applying).unavailable, NotHolderError)
        self.assertEqual(len(self.server.requests), sent)

    def test_move_is_interrupted(self) -> None:
        """A service that moves to another node is not registered until both nodes are written."""
        registrations = [make_registration(number) for number in range(120)]
        self.register(*registrations)
        self.backend = self.make_backend(prefix="ssdp-")
        self.read()
        writes = len(self.writes())

        def fail(kind: str, body: Mapping[str, Any]) -> bool:
            if len(self.writes()) == writes + 1:
                self.server.faults["/v1/txn"] = (500, "No cluster leader")
            return False

        self.state.denied = fail
        outcome = self.apply(*registrations)
        self.assertIsNotNone(outcome.unavailable)
        done = {each.service_id for each in registrations if f"ssdp-{each.device_id}" in self.state.nodes}
        with_services = {node for node, _ in self.state.services}
        done -= {each.service_id for each in registrations if each.device_id in with_services}
        self.assertEqual(outcome.applied, done)
        self.assertLess(len(done), 120)
        self.server.faults.clear()
        self.state.denied = lambda kind, body: False
        found = self.read()
        wrong = [each for each in registrations if found.get(each.service_id) != each]
        self.register(*wrong)
        self.assertEqual(self.read(), {each.service_id: each for each in registrations})
        self.assertEqual(len(self.state.nodes), 121)

    def test_lock_acquired_again(self) -> None:
        """A late rejection of an earlier session does not count against the present one."""
        self.read()
        operations = iter([self.fence.operation()])
        self.fence.release()
        self.fence.acquire()
        present = self.fence.operation
        self.patch(self.fence, "operation", lambda: next(operations, present()))
        self.failure_of(self.backend.probe(), NotHolderError)
        self.assertEqual(self.fence.losses, 0)

    def test_lost_lock(self) -> None:
        """When the lock is lost in the middle of a plan, what was not applied stays open."""
        self.read()

        def lose_lock(kind: str, body: Mapping[str, Any]) -> bool:
            if len(self.writes()) == 3:
                self.fence.release()
            return False

        self.state.denied = lose_lock
        registrations = [make_registration(number) for number in range(100)]
        outcome = self.apply(*registrations)
        self.assertIsInstance(outcome.unavailable, NotHolderError)
        self.assertEqual(len(outcome.applied), len(self.state.nodes) - 1)
        self.assertEqual(self.fence.losses, 1)

    def test_node_changed(self) -> None:
        """When another program changed a node since it was read, the change is tried again with the new index."""
        self.register(make_registration(0), make_registration(1))
        self.change_node("device-0", Meta={**self.state.nodes["device-0"]["Meta"], "rack": "7"})
        self.register(make_registration(0, port=1), make_registration(1, port=1))
        self.assertEqual(self.state.nodes["device-0"]["Meta"]["rack"], "7")
        self.change_node("device-0", Address="10.0.0.1")
        outcome = self.apply(remove=[make_registration(0)])
        self.assertEqual(len(outcome.applied), 1)
        self.assertNotIn("device-0", self.state.nodes)

    def test_node_disappeared(self) -> None:
        """A node that was deleted since it was read is created again, or counts as removed."""
        self.register(make_registration(0), make_registration(1))
        for name in ("device-0", "device-1"):
            self.state.transact([{"Node": {"Verb": "delete", "Node": {"Node": name}}}])
        outcome = self.apply(make_registration(0, port=1), remove=[make_registration(1)])
        self.assertEqual(len(outcome.applied), 2)
        self.assertEqual(self.read().keys(), {make_registration(0).service_id})

    def test_agent_takes_the_node(self) -> None:
        """An agent that joins with the name of a device wins: the device is reported, and its removal succeeds."""
        registration = make_registration()
        second = make_registration(service_id="ssdpreg-b-0123456789abcdef", name="RackHD-b")
        self.register(registration, second)
        self.state.transact(
            [
                {"Node": {"Verb": "delete", "Node": {"Node": "device-0"}}},
                {"Node": {"Verb": "set", "Node": {"Node": "device-0", "Address": "10.0.0.1", "ID": "x"}}},
            ]
        )
        before = dict(self.state.nodes["device-0"])
        outcome = self.apply(make_registration(port=1), remove=[second])
        self.assertEqual(outcome.applied, {second.service_id})
        self.assertIn("belongs to another program", str(outcome.refused[registration.service_id]))
        self.assertEqual(self.read(), {})
        self.assertEqual(self.apply(remove=[registration]).applied, {registration.service_id})
        self.assertEqual(self.state.nodes["device-0"], before)

    def test_node_changes_all_the_time(self) -> None:
        """A node that changes before each attempt is rejected after a few of them."""
        self.register(make_registration())

        def change(kind: str, body: Mapping[str, Any]) -> bool:
            if kind == "Node":
                self.state.nodes["device-0"] = {
                    **self.state.nodes["device-0"],
                    "ModifyIndex": self.state.nodes["device-0"]["ModifyIndex"] + 1,
                }
            return False

        self.state.denied = change
        outcome = self.apply(make_registration(port=1))
        self.assertIn("index is stale", str(outcome.refused[make_registration().service_id]))

    def test_incomplete_listing(self) -> None:
        """A listing without a node that exists is no evidence of a loss."""
        self.register(make_registration())
        self.server.hidden = {"device-0"}
        self.failure_of(self.backend.read(), BackendUnavailableError)
        self.server.hidden = set()
        self.assertEqual(len(self.read()), 1)

    def test_unknown_nodes(self) -> None:
        """Nodes of the scope that the daemon did not write are read: a few one by one, many at once."""
        other = self.make_backend()
        self.read()
        for count in (3, 80):
            registrations = [make_registration(number) for number in range(count)]
            self.result_of(other.apply(Plan(tuple(registrations))))
            self.assertEqual(self.read(), {each.service_id: each for each in registrations})

    def test_unknown_nodes_are_not_readable(self) -> None:
        """After a failure in the middle of a complete reading, the next one is complete, too."""
        other = self.make_backend()
        self.read()
        registrations = [make_registration(number) for number in range(80)]
        self.result_of(other.apply(Plan(tuple(registrations))))
        self.server.faults["/v1/health/state/any"] = (500, "No cluster leader")
        self.failure_of(self.backend.read(), BackendUnavailableError)
        self.server.faults.clear()
        self.assertEqual(self.read(), {each.service_id: each for each in registrations})

    def test_unknown_service(self) -> None:
        """A node with an own service that this daemon does not know is not deleted with the others."""
        first = make_registration()
        second = make_registration(service_id="ssdpreg-b-0123456789abcdef", name="RackHD-b")
        self.register(first)
        other = self.make_backend()
        self.result_of(other.apply(Plan((second,))))
        outcome = self.apply(remove=[first])
        self.assertEqual(outcome.applied, {first.service_id})
        self.assertEqual([service for _, service in self.state.services], ["rackhd-b"])

    def test_service_of_another_program(self) -> None:
        """A service whose marks another program removed is not returned."""
        registration = make_registration()
        self.register(registration)
        (service,) = self.state.services.values()
        self.state.transact([{"Service": {"Verb": "set", "Node": "device-0", "Service": {**service, "Meta": {}}}}])
        self.assertEqual(self.read(), {})
        self.assertEqual(self.result_of(self.make_backend().read()), {})

    def test_half_marked_node(self) -> None:
        """A node that has only the scope, and not the mark of this program, is not returned."""
        node = {"Node": "d", "Address": "h", "Meta": {"ssdpreg-scope": "test"}}
        self.state.transact([{"Node": {"Verb": "set", "Node": node}}])
        self.assertEqual(self.read(), {})
        self.read()
        self.assertIn("d", self.state.nodes)
        self.assertNotIn("/v1/catalog/node/d", [path for _, path, _ in self.server.requests])

    def test_long_listing(self) -> None:
        """The listing may have as many nodes as were registered since the previous one."""
        self.read()
        self.register(*(make_registration(number) for number in range(600)))
        self.assertEqual(len(self.read()), 600)

    def test_many_services_of_a_device(self) -> None:
        """The services of one device may need several transactions."""
        registrations = [
            make_registration(service_id=f"ssdpreg-{number:04}-0123456789abcdef", name=f"RackHD-{number}")
            for number in range(100)
        ]
        self.register(*registrations)
        self.assertEqual(len(self.state.services), 100)
        outcome = self.apply(remove=registrations[:99])
        self.assertEqual((len(outcome.applied), len(self.state.services)), (99, 1))

    def test_check_after_a_return(self) -> None:
        """Only the first registration after consul-esm removed a service makes its check critical."""
        service_id = make_registration().service_id
        alive = Check(f"{service_id}-alive", "alive")
        checks = [Check(f"{service_id}-tcp-{digit}", "tcp", "h:1", 9.0) for digit in "12"]
        registration = make_registration(checks=frozenset({alive, checks[0]}))
        self.register(registration)
        self.request("PUT", "/v1/catalog/deregister", {"Node": "device-0", "ServiceID": registration.name})
        self.read()
        self.register(registration)
        self.register(make_registration(checks=frozenset({alive, checks[1]})))
        statuses = {check["CheckID"][:13]: check["Status"] for check in self.state.checks.values()}
        self.assertEqual(statuses["ssdpreg-tcp-2"], "passing")

    def test_empty_node(self) -> None:
        """A node whose services were all removed by others is deleted in the next round but one."""
        self.register(make_registration())
        self.state.transact(
            [
                {
                    "Service": {
                        "Verb": "delete",
                        "Node": "device-0",
                        "Service": {"ID": make_registration().name, "Service": make_registration().name},
                    }
                }
            ]
        )
        self.assertEqual(self.read(), {})
        self.assertIn("device-0", self.state.nodes)
        self.read()
        self.assertNotIn("device-0", self.state.nodes)

    def test_lost_check(self) -> None:
        """A service that lost its check is registered again under its ID, also after a restart."""
        registration = make_registration()
        self.register(registration)
        for backend in (self.backend, self.make_backend()):
            self.backend = backend
            self.read()
            self.state.checks.clear()
            found = self.read()
            self.assertNotEqual(found.get(registration.service_id), registration)
            self.register(registration)
            self.assertEqual(self.read(), {registration.service_id: registration})

    def test_failed_check(self) -> None:
        """The check of the daemon becomes passing again."""
        registration = make_registration()
        self.register(registration)
        (check,) = self.state.checks.values()
        self.state.transact([{"Check": {"Verb": "set", "Check": {**check, "Status": "critical"}}}])
        self.assertNotEqual(self.read(), {registration.service_id: registration})
        self.register(registration)
        (check,) = self.state.checks.values()
        self.assertEqual(check["Status"], "passing")

    def test_malformed_responses(self) -> None:
        """Responses that are not those of Consul make the backend unavailable, and change nothing."""
        self.register(make_registration())
        for path, answers in {
            "/v1/catalog/nodes": ["{}", "[1]", '[{"Node": 1}]', '[{"Node": "d", "Meta": [1]}]', "[", "nonsense", ""],
            "/v1/txn": ["[]", '{"Results": [], "Errors": [{"OpIndex": 77, "What": "x"}]}', "null"],
        }.items():
            for answer in answers:
                self.server.faults = {path: (200, answer)}
                self.failure_of(self.backend.read(), BackendUnavailableError)
        self.server.faults = {"/v1/txn": (200, '{"Results": [{"Node": {}}], "Errors": null}')}
        self.assertIsNotNone(self.apply(make_registration(port=1)).unavailable)
        self.server.faults = {}
        self.assertEqual(len(self.read()), 1)
        adopting = self.make_backend()
        for path, answer in (
            ("/v1/catalog/nodes", '[{"Node": "d", "Meta": {"external-source": "ssdpreg", "ssdpreg-scope": "test"}}]'),
            ("/v1/health/state/any", "[{}]"),
            ("/v1/health/state/any", '[{"Node": "d", "CheckID": "c", "ServiceID": null}]'),
        ):
            self.server.faults = {path: (200, answer)}
            self.failure_of(adopting.read(), BackendUnavailableError)

    def test_malformed_node(self) -> None:
        """A node that cannot be parsed is not changed."""
        self.register(make_registration())
        for answer in ("1", "[]", "{}", '{"Node": {}, "Services": {"a": 1}}', '{"Node": 1, "Services": {}}'):
            self.server.faults = {"/v1/catalog/node/": (200, answer)}
            outcome = self.apply(remove=[make_registration()])
            self.assertEqual(outcome.applied, frozenset(), answer)
            self.assertIn("device-0", self.state.nodes)
            self.server.faults = {}
            self.read()

    def test_read_denied_before_a_removal(self) -> None:
        """A node that may not be read is not deleted, and the removal is rejected."""
        self.register(make_registration())
        self.server.faults["/v1/catalog/node/"] = (403, "Permission denied")
        outcome = self.apply(remove=[make_registration()])
        self.assertTrue(outcome.refused[make_registration().service_id].denied)
        self.assertIn("device-0", self.state.nodes)

    def test_denied_reads(self) -> None:
        """Results that the token may not read are left out by Consul: the service counts as missing."""
        self.register(make_registration(0), make_registration(1))
        self.server.hidden_services = {"device-0"}
        self.read()
        self.assertEqual(self.read().keys(), {make_registration(1).service_id})


class MigrationTests(CatalogTestCase):
    """Tests for :class:`ssdpreg.backends.catalog.migration.AgentMigration`."""

    def setUp(self) -> None:
        super().setUp()
        self.agent = FakeConsulAgent()
        treq: Any = StubTreq(self.agent)
        http = ConsulHTTP(self.clock, BoundedHTTPClient(self.clock, "http://agent.test:8500", treq))
        self.before = ConsulAgent(http, "test")
        self.migration = AgentMigration(ConsulAgent(http, "test"))
        self.backend = self.make_backend(migration=self.migration)

    def test_removed_after_the_node_exists(self) -> None:
        """Services of agent mode are removed when they are in the catalog, and those of others stay."""
        first, second = make_registration(1), make_registration(2)
        self.result_of(self.before.apply(Plan((first, second))))
        self.agent.services["theirs"] = {
            "ID": "theirs",
            "Service": "theirs",
            "Tags": [],
            "Meta": {},
            "Port": 1,
            "Address": "",
        }
        self.read()
        self.assertEqual(self.agent.services.keys(), {"ssdpreg", "theirs", first.service_id, second.service_id})
        self.register(first)
        self.read()
        self.assertEqual(self.agent.services.keys(), {"ssdpreg", "theirs", second.service_id})
        self.register(second)
        self.read()
        self.assertEqual(self.agent.services.keys(), {"theirs"})
        self.agent.requests.clear()
        self.read()
        self.assertEqual(self.agent.requests, [])

    def test_earlier_registrations(self) -> None:
        """Services of agent mode can be adopted until all are removed; there are none if the agent does not respond."""
        first, second = make_registration(1), make_registration(2)
        self.result_of(self.before.apply(Plan((first, second))))
        self.register(first)
        self.read()
        self.assertEqual({each.service_id for each in self.earlier()}, {second.service_id})
        self.agent.faults[""] = (500, "No cluster leader")
        self.assertEqual(self.earlier(), [])
        self.agent.faults.clear()
        self.register(second)
        self.read()
        self.agent.requests.clear()
        self.assertEqual((self.earlier(), self.agent.requests), ([], []))
        self.assertEqual(list(self.result_of(self.make_backend().read_earlier())), [])

    def earlier(self) -> list[Registration]:
        """Return the registrations of agent mode."""
        return list(self.result_of(self.backend.read_earlier()))

    def test_nothing_to_remove(self) -> None:
        """Without services of agent mode, nothing is written to the agent."""
        self.read()
        self.assertEqual({method for method, _ in self.agent.requests}, {"GET"})
        self.assertTrue(self.migration.finished)

    def test_errors(self) -> None:
        """An agent that does not respond is asked again, and logged once; a rejection ends the attempts."""
        self.result_of(self.before.apply(Plan((make_registration(),))))
        self.agent.faults[""] = (500, "No cluster leader")
        with capturedLogs() as events:
            for _ in range(3):
                self.read()
        self.assertEqual(len(events), 1)
        self.assertFalse(self.migration.finished)
        self.agent.faults[""] = (403, "Permission denied")
        with capturedLogs() as events:
            self.read()
        self.assertEqual(len(events), 1)
        self.assertTrue(self.migration.finished)

    def test_rejected_removal(self) -> None:
        """A removal that the agent rejects ends the attempts."""
        self.register(make_registration())
        self.result_of(self.before.apply(Plan((make_registration(),))))
        self.agent.faults["/v1/agent/service/deregister"] = (403, "Permission denied")
        self.read()
        self.assertTrue(self.migration.finished)
        self.assertIn("ssdpreg", self.agent.services)
