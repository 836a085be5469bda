"""Tests for the backend of Consul's catalog with a real Consul server."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from ssdpreg.backends.catalog.format import CatalogFormat, NodeContent, catalog_check_id
from ssdpreg.backends.catalog.locked import LockedCatalog, make_backend
from ssdpreg.backends.consul_connection import connect
from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.config import ConsulConfig
from ssdpreg.errors import BackendError
from ssdpreg.registration import Check, Plan
from ssdpreg.testing import FakeConsulCatalog, make_registration
from tests.support.consul import ConsulProcess, shared_consul, skip_without_consul
from tests.support.consul_agent_tests import request_fake
from tests.support.consul_catalog_tests import CatalogTestsMixin
from tests.support.paths import ROOT


def request_json(consul: ConsulProcess, method: str, path: str, body: Any = None) -> Any:
    """Send a request, and return the JSON of its response. Any status but 200 is an error."""
    status, content = consul.request(method, path, body)
    if status != 200:
        raise RuntimeError(f"{method} {path}: {status} {content!r}")
    return json.loads(content)


def remove_other_nodes(consul: ConsulProcess) -> None:
    """Remove all nodes but that of the agent."""
    for node in consul.get("/v1/catalog/nodes"):
        if node["Node"] != "consul-for-tests":
            consul.put("/v1/catalog/deregister", {"Node": node["Node"]})


class RealCatalogTests(CatalogTestsMixin, TestCase):
    """Contract tests with a real server."""

    skip = skip_without_consul

    def setUp(self) -> None:
        self.consul = shared_consul()
        self.fences = {}
        self.addCleanup(remove_other_nodes, self.consul)

    def request(self, method: str, path: str, body: Any = None) -> Any:
        return request_json(self.consul, method, path, body)

    def make_http(self) -> tuple[Any, ConsulHTTP]:
        http = connect(reactor, ConsulConfig(address=self.consul.address))
        self.addCleanup(lambda: Deferred.fromCoroutine(_close(http)))
        return reactor, http


async def _close(http: ConsulHTTP) -> None:
    await http.close()


def read_policy() -> str:
    """Return the ACL policy of the documentation."""
    text = (ROOT / "docs" / "consul-catalog.md").read_text()
    return text.partition("```hcl\n")[2].partition("```")[0]


class ACLTests(TestCase):
    """Tests with ACLs that deny everything by default."""

    skip = skip_without_consul
    timeout = 120

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        self.consul = ConsulProcess(acl=True)
        self.addCleanup(self.consul.clean_up)
        return deferToThread(self.consul.start)

    def make_backend(self, rules: str) -> LockedCatalog:
        """Make a backend whose token has some rights."""
        token = self.consul.add_token(rules)
        config = ConsulConfig(address=self.consul.address, mode="catalog", token=token, node_prefix="ssdp-")
        backend = make_backend(reactor, config, "test")
        self.addCleanup(lambda: Deferred.fromCoroutine(backend.close()))
        return backend

    async def test_documented_policy(self) -> None:
        """The policy of the documentation suffices, and neither nodes nor services of others are within its rights."""
        backend = self.make_backend(read_policy())
        registrations = [make_registration(number) for number in range(30)]
        await backend.keep_alive()
        self.assertEqual(await backend.read(), {})
        foreign = make_registration(99, name="Other-service:api:2.0")
        outcome = await backend.apply(Plan(register=(*registrations, foreign)))
        self.assertEqual(outcome.applied, {each.service_id for each in registrations})
        self.assertTrue(outcome.refused[foreign.service_id].denied)
        self.consul.put(
            "/v1/catalog/register",
            {"Node": "ssdp-device-0", "SkipNodeUpdate": True, "Service": {"ID": "theirs", "Service": "theirs"}},
        )
        self.assertEqual(await backend.read(), {each.service_id: each for each in registrations})
        moved = make_registration(5, address="192.0.2.77")
        await backend.apply(Plan(register=(moved,), deregister=(registrations[0], registrations[1])))
        await backend.close()
        again = self.make_backend(read_policy())
        self.assertEqual(
            await again.read(), {each.service_id: each for each in (*registrations[2:5], moved, *registrations[6:])}
        )
        self.assertEqual(self.consul.get("/v1/catalog/node/ssdp-device-0")["Services"].keys(), {"theirs"})
        self.assertIsNone(self.consul.get("/v1/catalog/node/ssdp-device-1"))
        outcome = await again.apply(Plan(deregister=(*registrations[2:5], moved, *registrations[6:])))
        self.assertEqual(outcome.refused, {})
        # So many nodes are deleted at the next comparison.
        self.assertEqual(await again.read(), {})
        self.assertEqual(
            {node["Node"] for node in self.consul.get("/v1/catalog/nodes?filter=Node+matches+device")},
            {"ssdp-device-0"},
        )
        await again.keep_alive()

    async def test_node_of_an_agent(self) -> None:
        """Without the right for other names, a device with the name of an agent's node changes nothing."""
        config = ConsulConfig(
            address=self.consul.address, mode="catalog", token=self.consul.add_token(read_policy()), node_prefix=""
        )
        backend = make_backend(reactor, config, "test")
        self.addCleanup(lambda: Deferred.fromCoroutine(backend.close()))
        before = self.consul.get("/v1/catalog/node/consul-for-tests")
        registration = make_registration()
        claim = replace(registration, meta={**registration.meta, "ssdp-device": "consul-for-tests"})
        outcome = await backend.apply(Plan(register=(claim,)))
        self.assertTrue(outcome.refused[claim.service_id].denied)
        self.assertEqual(self.consul.get("/v1/catalog/node/consul-for-tests"), before)

    async def test_no_rights(self) -> None:
        """Without the rights for the lock, nothing is written, and the reason is reported."""
        backend = self.make_backend('node_prefix "ssdp" { policy = "write" }')
        with self.assertRaises(BackendError) as caught:
            await backend.read()
        self.assertIn("403", str(caught.exception))
        outcome = await backend.apply(Plan(register=(make_registration(),)))
        self.assertIn("403", str(outcome.unavailable))


class CostTests(TestCase):
    """Tests for the cost of a comparison beside the nodes of other programs."""

    skip = skip_without_consul
    timeout = 120

    def setUp(self) -> None:
        self.consul = shared_consul()
        self.addCleanup(remove_other_nodes, self.consul)
        self.backend = make_backend(reactor, ConsulConfig(address=self.consul.address, mode="catalog"), "test")
        self.addCleanup(lambda: Deferred.fromCoroutine(self.backend.close()))

    async def count(self) -> dict[tuple[str, str], int]:
        """Return the number of requests of a comparison."""
        before = dict(self.backend.requests)
        await self.backend.read()
        return {key: count - before.get(key, 0) for key, count in self.backend.requests.items()}

    async def test_comparison(self) -> None:
        """A comparison sends the same requests beside thousands of other nodes, and its listing has none of them."""
        await self.backend.apply(Plan(register=tuple(make_registration(number) for number in range(100))))
        await self.backend.read()
        before = await self.count()
        self.assertLessEqual(sum(before.values()), 4)
        for start in range(0, 3000, 60):
            names = (f"other-{number}" for number in range(start, start + 60))
            self.consul.put(
                "/v1/txn", [{"Node": {"Verb": "set", "Node": {"Node": name, "Address": "10.0.0.1"}}} for name in names]
            )
        self.assertEqual(await self.count(), before)
        listing = self.consul.get("/v1/catalog/nodes?node-meta=ssdpreg-scope:test")
        self.assertEqual(len(listing), 100)

    async def test_steady_state(self) -> None:
        """Comparisons and keep-alives cause no write to the raft log."""
        await self.backend.apply(Plan(register=tuple(make_registration(number) for number in range(50))))
        before = self.consul.raft_index()
        for _ in range(25):
            await self.backend.read()
            await self.backend.keep_alive()
        self.assertEqual(self.consul.raft_index(), before)


class SnapshotTests(TestCase):
    """Tests with a snapshot that is restored while the session of the lock stays valid."""

    skip = skip_without_consul
    timeout = 120

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        self.consul = ConsulProcess()
        self.addCleanup(self.consul.clean_up)
        return deferToThread(self.consul.start)

    async def test_restore(self) -> None:
        """The first comparison after the restore finds all services that changed, and no others."""
        backend = make_backend(reactor, ConsulConfig(address=self.consul.address, mode="catalog"), "test")
        self.addCleanup(lambda: Deferred.fromCoroutine(backend.close()))
        before = [make_registration(number) for number in range(100)]
        await backend.apply(Plan(register=tuple(before)))
        status, snapshot = self.consul.request("GET", "/v1/snapshot")
        self.assertEqual(status, 200)
        after = [make_registration(number, port=9) for number in range(50)]
        outcome = await backend.apply(Plan(register=tuple(after)))
        self.assertEqual(len(outcome.applied), 50)
        await backend.read()
        self.assertEqual(self.consul.request("PUT", "/v1/snapshot", snapshot)[0], 200)
        self.assertEqual(await backend.read(), {each.service_id: each for each in before})
        self.assertEqual(backend.lock.losses, 0)


class SameResponsesTests(TestCase):
    """Tests for :class:`ssdpreg.testing.FakeConsulCatalog`: its responses are those of a real server."""

    skip = skip_without_consul

    def setUp(self) -> None:
        self.consul = shared_consul()
        self.fake = FakeConsulCatalog()
        remove_other_nodes(self.consul)
        self.addCleanup(remove_other_nodes, self.consul)

    def request_both(self, method: str, path: str, body: Any = None) -> None:
        """Send a request to both servers, and check that the responses are equal."""
        status, answer = self.consul.request(method, path, body)
        fake_status, fake_answer = request_fake(self, cast("Any", self.fake), method, path, body)
        self.assertEqual(fake_status, status, (path, body, answer, fake_answer))
        if answer[:1] in (b"{", b"["):
            self.assertEqual(_comparable(json.loads(fake_answer)), _comparable(json.loads(answer)), (path, body))
        else:
            self.assertEqual(fake_answer.strip(), answer.strip(), (path, body))

    def test_transactions(self) -> None:
        """Both apply the same transactions, and reject the same ones with the same errors."""
        format = CatalogFormat("same")
        one, two = make_registration(1, "same"), make_registration(2, "same", name="x" * 3)
        (alive,) = one.checks
        tcp = Check(f"{one.service_id}-tcp-1a", "tcp", "h:1", 9.0, 2.0, False, 60.0)
        create = [
            format.set_node("d", NodeContent("192.0.2.1", True), 0),
            format.set_service("d", one, create=False),
            format.set_check("d", one, alive),
            format.set_check("d", one, tcp),
        ]
        long = replace(two, meta={"a": "x" * 513})
        for operations in [
            create,
            create,
            [
                format.set_node("d", NodeContent("192.0.2.1"), 1),
                format.delete_node("d", 1),
                format.delete_node("no", 1),
            ],
            [format.set_service("d", one, create=True), format.set_service("none", two, create=True)],
            [format.set_service("d", long, create=True)],
            [format.set_service("d", two, create=True)],
            [format.get_service("D", two.name.upper()), format.get_check("D", "SSDPREG:" + one.name)],
            [
                format.get_service("d", "no"),
                format.get_check("d", "no"),
                {"Node": {"Verb": "get", "Node": {"Node": "n"}}},
            ],
            [format.set_check("d", make_registration(name="no"), alive)],
            [{"KV": {"Verb": "check-not-exists", "Key": "a"}}] * 65,
            [{"KV": {"Verb": "check-not-exists", "Key": "a"}}],
            [{"KV": {"Verb": "check-session", "Key": "ssdpreg/none", "Session": "x"}}],
            [format.delete_service("d", two.name), format.delete_service("d", "no"), format.delete_check("d", "no")],
            [format.delete_check("d", catalog_check_id(one, tcp), one.name)],
        ]:
            self.request_both("PUT", "/v1/txn", operations)
            self.request_both("GET", "/v1/health/node/d")
            self.request_both("GET", "/v1/catalog/node/d")

    def test_other_requests(self) -> None:
        """Both list the same, and register and deregister as other programs do."""
        meta = {"external-source": "ssdpreg", "ssdpreg-scope": "same"}
        for body in (
            {"Node": "d", "Address": "192.0.2.1", "NodeMeta": meta},
            {"Node": "e", "Address": "192.0.2.1"},
            {"Node": "d", "SkipNodeUpdate": True, "Service": {"ID": "s", "Service": "s", "Port": 1, "Tags": ["a"]}},
            {"Node": "d", "SkipNodeUpdate": True, "Check": {"CheckID": "c", "Name": "c", "Status": "critical"}},
        ):
            self.request_both("PUT", "/v1/catalog/register", body)
        for path in (
            "/v1/catalog/nodes?node-meta=ssdpreg-scope:same",
            "/v1/catalog/services?node-meta=ssdpreg-scope:same",
            "/v1/catalog/services?node-meta=ssdpreg-scope:none",
            "/v1/health/state/any?node-meta=ssdpreg-scope:same",
            "/v1/catalog/node/d",
            "/v1/catalog/node/none",
            "/v1/health/node/d",
            "/v1/health/node/none",
            "/v1/kv/ssdpreg/none",
        ):
            self.request_both("GET", path)
        self.request_both("PUT", "/v1/session/create", {"Node": "none"})
        for body in ({"Node": "d", "ServiceID": "s"}, {"Node": "d", "CheckID": "c"}, {"Node": "d"}):
            self.request_both("PUT", "/v1/catalog/deregister", body)
            self.request_both("GET", "/v1/catalog/node/d")


def _comparable(answer: Any) -> Any:
    """Return a response without the fields that differ between two servers, or between kinds of requests."""
    if isinstance(answer, list):
        return [_comparable(each) for each in answer]
    if not isinstance(answer, dict):
        return answer
    # Consul formats the durations of a definition in its own way.
    left_out = ("Definition", "CreateIndex", "ModifyIndex", "Index", "LastContact", "KnownLeader", "ConsistencyLevel")
    return {key: _comparable(value) for key, value in answer.items() if key not in left_out}
