"""Tests for locks, nodes of scopes, and ``ssdpreg purge`` on a real Consul agent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from ssdpreg.backends.consul_connection import connect
from ssdpreg.backends.scopes.holder import Holder, lock_node, lock_node_meta
from ssdpreg.backends.scopes.lock import make_lock
from ssdpreg.backends.scopes.nodes import Removal, ScopeNodes
from ssdpreg.backends.scopes.reaper import REAPER_KEY
from ssdpreg.backends.scopes.session import InvalidSessionError, LockRequests
from ssdpreg.backends.scopes.transactions import FenceError, key_fence
from ssdpreg.config import ConsulConfig
from ssdpreg.errors import BackendRefusedError
from tests.support.consul import ConsulProcess, shared_consul, skip_without_consul
from tests.support.paths import ROOT

SCOPE = "rack-7"
KEY = f"ssdpreg/scopes/{SCOPE}"
NODE = lock_node(SCOPE)
REAPER_NODE = lock_node("reaper")
HOLDER = Holder("r7a", 12, "instance", "0.1.0", "2026-03-01T10:00:00Z")


def owner(scope: str = SCOPE) -> dict[str, str]:
    """Return the Meta of a node or a service of a scope."""
    return {"external-source": "ssdpreg", "ssdpreg-scope": scope}


def add_node(consul: ConsulProcess, number: int, scope: str = SCOPE) -> str:
    """Register a node with one service, as catalog mode does."""
    name = f"device-{number}"
    service = {"ID": "api", "Service": "api", "Port": 80, "Meta": owner(scope)}
    check = {"CheckID": "ssdpreg:api", "Name": "api", "ServiceID": "api", "Status": "passing"}
    body = {"Node": name, "Address": "192.0.2.1", "NodeMeta": owner(scope), "Service": service, "Check": check}
    consul.put("/v1/catalog/register", body)
    return name


def add_foreign_service(consul: ConsulProcess, node: str) -> None:
    """Register a service of another program on a node."""
    body = {"Node": node, "Address": "192.0.2.1", "SkipNodeUpdate": True, "Service": {"Service": "ntp", "Port": 123}}
    consul.put("/v1/catalog/register", body)


def device_nodes(consul: ConsulProcess) -> set[str]:
    """Return the names of the nodes of devices."""
    names = {node["Node"] for node in consul.get("/v1/catalog/nodes")}
    return {name for name in names if name.startswith("device-")}


def remove_everything(consul: ConsulProcess) -> None:
    """Remove all nodes but that of the agent, with their sessions, and all keys."""
    status, body = consul.request("GET", "/v1/kv/ssdpreg/?recurse")
    for key in json.loads(body) if status == 200 else ():
        # A session that ends while it holds a lock causes a lock-delay, which would affect the next test.
        if "Session" in key:
            consul.request("PUT", f"/v1/kv/{quote(key['Key'])}?release={key['Session']}")
    for node in consul.get("/v1/catalog/nodes"):
        if node["Node"] != "consul-for-tests":
            consul.put("/v1/catalog/deregister", {"Node": node["Node"]})
    consul.request("DELETE", "/v1/kv/ssdpreg/?recurse")


class ConsulTestCase(TestCase):
    """Base of tests on the shared agent."""

    skip = skip_without_consul
    timeout = 60

    def setUp(self) -> None:
        self.consul = shared_consul()
        self.addCleanup(remove_everything, self.consul)
        self.config = ConsulConfig(address=self.consul.address, mode="catalog")

    def make_requests(self, config: ConsulConfig | None = None) -> LockRequests:
        """Return requests for locks."""
        requests = LockRequests(connect(reactor, config or self.config), None)
        self.addCleanup(lambda: Deferred.fromCoroutine(requests.close()))
        return requests

    def make_nodes(self, config: ConsulConfig | None = None) -> ScopeNodes:
        """Return requests for nodes."""
        nodes = ScopeNodes(connect(reactor, config or self.config), None)
        self.addCleanup(lambda: Deferred.fromCoroutine(nodes.close()))
        return nodes


class LockRequestsTests(ConsulTestCase):
    """Tests for :class:`LockRequests`."""

    async def make_session(self) -> tuple[LockRequests, str]:
        requests = self.make_requests()
        await requests.ensure_node(NODE, lock_node_meta(SCOPE))
        return requests, await requests.create_session(NODE)

    async def test_node(self) -> None:
        """The node is created once. One of another program is rejected."""
        requests = self.make_requests()
        await requests.ensure_node(NODE, lock_node_meta(SCOPE))
        before = self.consul.raft_index()
        await requests.ensure_node(NODE, lock_node_meta(SCOPE))
        self.assertEqual(self.consul.raft_index(), before)
        with self.assertRaises(BackendRefusedError):
            await requests.ensure_node("consul-for-tests", lock_node_meta(SCOPE))

    async def test_session(self) -> None:
        """A session has the TTL and the lock-delay, belongs to the node, and depends on no check."""
        requests, session = await self.make_session()
        (found,) = self.consul.get(f"/v1/session/info/{session}")
        self.assertEqual(
            (found["Node"], found["TTL"], found["LockDelay"], found["Behavior"], found["NodeChecks"]),
            (NODE, "10s", 1_000_000_000, "release", []),
        )
        await requests.renew(session)
        await requests.destroy(session)
        with self.assertRaises(InvalidSessionError):
            await requests.renew(session)

    async def test_longer_ttl(self) -> None:
        """A session has the shortest TTL that Consul accepts if ``session_ttl_min`` is longer than the usual one."""
        self.consul = ConsulProcess({"session_ttl_min": "90s"})
        self.addCleanup(self.consul.clean_up)
        await deferToThread(self.consul.start)
        self.config = ConsulConfig(address=self.consul.address, mode="catalog")
        _, session = await self.make_session()
        (found,) = self.consul.get(f"/v1/session/info/{session}")
        self.assertEqual(found["TTL"], "1m30s")

    async def test_acquire(self) -> None:
        """One session acquires a lock. The index of the lock grows when another session acquires it."""
        requests, first = await self.make_session()
        second = await requests.create_session(NODE)
        self.assertIsNone(await requests.read(KEY))
        self.assertTrue(await requests.acquire(KEY, first, HOLDER))
        self.assertTrue(await requests.acquire(KEY, first, HOLDER))
        self.assertFalse(await requests.acquire(KEY, second, HOLDER))
        found = await requests.read(KEY)
        assert found is not None
        self.assertEqual((found.session, found.lock_index, found.holder), (first, 1, HOLDER))
        await requests.release(KEY, second, HOLDER)
        await requests.release(KEY, first, HOLDER)
        self.assertTrue(await requests.acquire(KEY, second, HOLDER))
        found = await requests.read(KEY)
        assert found is not None
        self.assertEqual((found.session, found.lock_index), (second, 2))

    async def test_invalid_session(self) -> None:
        """A session that does not exist acquires nothing."""
        requests, session = await self.make_session()
        await requests.destroy(session)
        with self.assertRaises(InvalidSessionError):
            await requests.acquire(KEY, session, HOLDER)

    async def test_wait(self) -> None:
        """A blocking query returns when the lock is released."""
        requests, session = await self.make_session()
        await requests.acquire(KEY, session, HOLDER)
        found = await requests.read(KEY)
        assert found is not None
        waiting = Deferred.fromCoroutine(requests.read(KEY, found.index))
        await deferLater(reactor, 0.5)
        self.assertFalse(waiting.called)
        await self.make_requests().release(KEY, session, HOLDER)
        changed = await waiting
        assert changed is not None
        self.assertEqual(changed.session, "")


class ScopeNodesTests(ConsulTestCase):
    """Tests for :class:`ScopeNodes`."""

    async def hold(self) -> tuple[LockRequests, str, dict[str, Any]]:
        """Acquire the lock of the reaper. Return the operation that checks it."""
        requests = self.make_requests()
        # A rejected transaction that would delete a node causes the lock-delay of the sessions of that node.
        await requests.ensure_node(REAPER_NODE, lock_node_meta("reaper"))
        session = await requests.create_session(REAPER_NODE)
        assert await requests.acquire(REAPER_KEY, session, HOLDER)
        return requests, session, {"KV": {"Verb": "check-session", "Key": REAPER_KEY, "Session": session}}

    def free_key(self) -> int:
        """Create the lock of the scope without a holder, and return its index."""
        self.consul.put(f"/v1/kv/{KEY}", {"host": "gone"})
        index: int = self.consul.get(f"/v1/kv/{KEY}")[0]["ModifyIndex"]
        return index

    async def test_scopes(self) -> None:
        """Scopes are listed with the state of their locks."""
        nodes = self.make_nodes()
        self.assertEqual(await nodes.list_scopes(), {})
        index = self.free_key()
        requests, session, _ = await self.hold()
        await requests.acquire("ssdpreg/scopes/Rack 8/ä", session, HOLDER)
        found = await nodes.list_scopes()
        self.assertEqual({scope: key.session for scope, key in found.items()}, {SCOPE: "", "Rack 8/ä": session})
        self.assertEqual(found[SCOPE].index, index)

    async def test_marks(self) -> None:
        """Marks make the nodes critical, and change neither the nodes nor the checks of the services."""
        _, _, fence = await self.hold()
        nodes, fences = self.make_nodes(), [fence, key_fence(SCOPE, self.free_key())]
        for number in range(40):
            add_node(self.consul, number)
        add_node(self.consul, 99, "other")
        found = await nodes.find_unmarked(SCOPE, await nodes.list_nodes(SCOPE))
        self.assertEqual(len(found), 40)
        self.assertEqual(len(await nodes.mark(found, fences, "why")), 40)
        self.assertEqual({node.index for node in await nodes.list_nodes(SCOPE)}, {node.index for node in found})
        passing = self.consul.get("/v1/health/service/api?passing")
        self.assertEqual([entry["Node"]["Node"] for entry in passing], ["device-99"])
        checks = self.consul.get("/v1/health/node/device-0")
        self.assertEqual(
            {check["CheckID"]: (check["Status"], check["Output"]) for check in checks},
            {"ssdpreg:api": ("passing", ""), "ssdpreg:scope": ("critical", "why")},
        )
        self.assertEqual(await nodes.find_unmarked(SCOPE, await nodes.list_nodes(SCOPE)), [])
        marked = await nodes.list_marks(SCOPE)
        self.assertEqual(len(marked), 40)
        self.assertEqual(len(await nodes.remove_marks([*marked, "device-99"], [fence])), 41)
        self.assertEqual(len(self.consul.get("/v1/health/service/api?passing")), 41)

    async def test_changed_node(self) -> None:
        """A node that was changed or removed since it was listed is left out, and the others are marked."""
        _, _, fence = await self.hold()
        nodes = self.make_nodes()
        for number in range(4):
            add_node(self.consul, number)
        found = await nodes.find_unmarked(SCOPE, await nodes.list_nodes(SCOPE))
        self.consul.put("/v1/catalog/register", {"Node": "device-1", "Address": "192.0.2.9", "NodeMeta": {"a": "b"}})
        self.consul.put("/v1/catalog/deregister", {"Node": "device-2"})
        self.assertEqual(sorted(await nodes.mark(found, [fence], "why")), ["device-0", "device-3"])
        removal = Removal()
        await nodes.remove(SCOPE, found, [fence], removal)
        self.assertEqual((sorted(removal.removed), removal.kept), (["device-0", "device-3"], []))
        self.assertEqual(device_nodes(self.consul), {"device-1"})
        self.assertEqual(self.consul.get("/v1/catalog/node/device-1")["Node"]["Meta"], {"a": "b"})

    async def test_fences(self) -> None:
        """Nothing is written if the lock of the reaper is lost, or if a daemon of the scope held the lock meanwhile."""
        requests, session, fence = await self.hold()
        nodes, index = self.make_nodes(), self.free_key()
        add_node(self.consul, 1)
        found = await nodes.list_nodes(SCOPE)
        fences = [fence, key_fence(SCOPE, index)]
        await requests.acquire(KEY, session, HOLDER)
        await requests.release(KEY, session, HOLDER)
        for expected in (1, 0):
            with self.assertRaises(FenceError) as caught:
                await nodes.mark(found, fences, "why")
            with self.assertRaises(FenceError):
                await nodes.remove(SCOPE, found, fences, Removal())
            with self.assertRaises(FenceError):
                await nodes.remove_lock(SCOPE, index, fences)
            self.assertEqual(caught.exception.number, expected)
            await requests.release(REAPER_KEY, session, HOLDER)
        self.assertEqual(device_nodes(self.consul), {"device-1"})

    async def test_remove(self) -> None:
        """Nodes with only our entries are removed. One with entries of others loses our services and the mark."""
        _, _, fence = await self.hold()
        nodes, index = self.make_nodes(), self.free_key()
        for number in range(70):
            add_node(self.consul, number)
        add_node(self.consul, 99, "other")
        add_foreign_service(self.consul, "device-5")
        for number in range(130):
            service = {"ID": f"s{number}", "Service": "api", "Meta": owner()}
            self.consul.put(
                "/v1/catalog/register",
                {"Node": "device-5", "Address": "192.0.2.1", "SkipNodeUpdate": True, "Service": service},
            )
        check = {"CheckID": "operator", "Name": "x", "Status": "passing"}
        self.consul.put(
            "/v1/catalog/register",
            {"Node": "device-6", "Address": "192.0.2.1", "SkipNodeUpdate": True, "Check": check},
        )
        fences = [fence, key_fence(SCOPE, index)]
        await nodes.mark(await nodes.find_unmarked(SCOPE, await nodes.list_nodes(SCOPE)), fences, "why")
        self.assertTrue(await nodes.is_used(SCOPE, "device-5"))
        self.assertFalse(await nodes.is_used(SCOPE, "device-7"))
        removal = Removal()
        await nodes.remove(SCOPE, await nodes.list_nodes(SCOPE), fences, removal)
        self.assertEqual((len(removal.removed), sorted(removal.kept)), (68, ["device-5", "device-6"]))
        self.assertEqual(device_nodes(self.consul), {"device-5", "device-6", "device-99"})
        services = self.consul.get("/v1/catalog/node/device-5")["Services"]
        self.assertEqual(list(services), ["ntp"])
        self.assertEqual(self.consul.get("/v1/health/node/device-5"), [])
        self.assertEqual([each["CheckID"] for each in self.consul.get("/v1/health/node/device-6")], ["operator"])

    async def test_remove_lock(self) -> None:
        """The key and the node of the sessions are removed; a node with a service stays."""
        requests, _, fence = await self.hold()
        await requests.ensure_node(NODE, lock_node_meta(SCOPE))
        nodes, index = self.make_nodes(), self.free_key()
        add_foreign_service(self.consul, NODE)
        await nodes.remove_lock(SCOPE, index, [fence])
        self.assertEqual(self.consul.request("GET", f"/v1/kv/{KEY}")[0], 404)
        names = {node["Node"] for node in self.consul.get("/v1/catalog/nodes")}
        self.assertIn(NODE, names)
        self.consul.put("/v1/catalog/deregister", {"Node": NODE, "ServiceID": "ntp"})
        await nodes.remove_lock(SCOPE, None, [])
        names = {node["Node"] for node in self.consul.get("/v1/catalog/nodes")}
        self.assertNotIn(NODE, names)


class LeastRightsTests(ConsulTestCase):
    """A token with the rights that the documentation names."""

    def setUp(self) -> None:
        self.consul = ConsulProcess(acl=True)
        self.addCleanup(self.consul.clean_up)

    async def test_policy(self) -> None:
        """The token acquires the lock, and marks and removes nodes of another scope."""
        await deferToThread(self.consul.start)
        rules = (
            'node_prefix "" { policy = "write" } key_prefix "ssdpreg/" { policy = "write" }'
            ' session_prefix "ssdpreg-" { policy = "write" } service_prefix "api" { policy = "write" }'
        )
        self.config = ConsulConfig(address=self.consul.address, mode="catalog", token=self.consul.add_token(rules))
        lock = make_lock(reactor, self.config, SCOPE)
        self.addCleanup(lambda: Deferred.fromCoroutine(lock.stop()))
        lock.start()
        await lock.decided()
        self.assertTrue(lock.held, lock.description)
        self.assertTrue(await lock.acquire_key(REAPER_KEY))
        add_node(self.consul, 1, "dead")
        nodes, fences = self.make_nodes(), [lock.operation_for(REAPER_KEY), key_fence("dead", None)]
        found = await nodes.list_nodes("dead")
        self.assertEqual(await nodes.mark(found, fences, "why"), ["device-1"])
        await nodes.remove("dead", found, fences, Removal())
        self.assertEqual(device_nodes(self.consul), set())

    async def test_few_rights(self) -> None:
        """A token that may not write the nodes of a scope marks and removes nothing, which is an error."""
        await deferToThread(self.consul.start)
        rules = 'node_prefix "" { policy = "read" } key_prefix "ssdpreg/" { policy = "write" }'
        self.config = ConsulConfig(address=self.consul.address, mode="catalog", token=self.consul.add_token(rules))
        add_node(self.consul, 1)
        nodes = self.make_nodes()
        found = await nodes.list_nodes(SCOPE)
        with self.assertRaises(BackendRefusedError) as caught:
            await nodes.mark(found, [key_fence(SCOPE, None)], "why")
        self.assertIn("Permission denied", str(caught.exception))
        with self.assertRaises(BackendRefusedError):
            await nodes.remove(SCOPE, found, [key_fence(SCOPE, None)], Removal())
        self.assertEqual(device_nodes(self.consul), {"device-1"})

    async def test_no_rights(self) -> None:
        """Without rights the lock is not held, and its description has the reason."""
        await deferToThread(self.consul.start)
        config = ConsulConfig(address=self.consul.address, mode="catalog", token=self.consul.add_token(""))
        lock = make_lock(reactor, config, SCOPE)
        self.addCleanup(lambda: Deferred.fromCoroutine(lock.stop()))
        lock.start()
        await lock.decided()
        self.assertFalse(lock.held)
        self.assertIn("Permission denied", lock.description)

    async def test_no_right_to_write_the_node(self) -> None:
        """The description of the lock names the node that the token may not write."""
        await deferToThread(self.consul.start)
        rules = 'key_prefix "ssdpreg/" { policy = "write" } session_prefix "ssdpreg-" { policy = "write" }'
        config = ConsulConfig(address=self.consul.address, mode="catalog", token=self.consul.add_token(rules))
        lock = make_lock(reactor, config, SCOPE)
        self.addCleanup(lambda: Deferred.fromCoroutine(lock.stop()))
        lock.start()
        await lock.decided()
        self.assertFalse(lock.held)
        self.assertIn(f"403 the ACL token may not write the node {NODE}", lock.description)


class PurgeTests(SynchronousTestCase):
    """Tests for ``ssdpreg purge``."""

    skip = skip_without_consul

    def setUp(self) -> None:
        self.consul = shared_consul()
        self.addCleanup(remove_everything, self.consul)
        self.path = Path(self.mktemp())
        backend = {"mode": "catalog", "address": self.consul.address}
        self.path.write_text(json.dumps({"ssdp": {"tags": {"a": ["urn:x:service:y:1"]}}, "backend": backend}))

    def purge(self, *options: str, scope: str = SCOPE) -> tuple[int, list[str], str]:
        """Run the command. Return its exit status, the lines of its output, and its messages."""
        command = [sys.executable, "-m", "ssdpreg", "purge", "--scope", scope, "--config", str(self.path), *options]
        environ = {key: value for key, value in os.environ.items() if not key.startswith("CONSUL_")}
        done = subprocess.run(
            command, env={**environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, sorted(done.stdout.splitlines()), done.stderr

    def test_purge(self) -> None:
        """Without a running daemon, the nodes and the lock are removed, and nothing else."""
        for number in (1, 2, 3):
            add_node(self.consul, number)
        add_node(self.consul, 99, "other")
        add_foreign_service(self.consul, "device-3")
        self.consul.put(f"/v1/kv/{KEY}", {"host": "gone"})
        kept = "Kept device-3, which other programs use, without its services of the scope"
        self.assertEqual(
            self.purge("--dry-run"),
            (0, [kept.replace("Kept", "Would keep"), "Would remove device-1", "Would remove device-2"], ""),
        )
        self.assertEqual(device_nodes(self.consul), {"device-1", "device-2", "device-3", "device-99"})
        self.assertEqual(self.purge(), (0, [kept, "Removed device-1", "Removed device-2"], ""))
        self.assertEqual(device_nodes(self.consul), {"device-3", "device-99"})
        self.assertEqual(self.consul.request("GET", f"/v1/kv/{KEY}")[0], 200)
        self.assertEqual(self.purge("--address", self.consul.address, "--datacenter", "dc1", scope="other")[0], 0)
        self.assertEqual(device_nodes(self.consul), {"device-3"})

    def test_running(self) -> None:
        """While a daemon of the scope is running, nothing is removed."""
        add_node(self.consul, 1)
        self.consul.put("/v1/catalog/register", {"Node": NODE, "Address": "127.0.0.1"})
        _, body = self.consul.request("PUT", "/v1/session/create", {"Node": NODE, "TTL": "10s", "NodeChecks": []})
        session = json.loads(body)["ID"]
        self.consul.request("PUT", f"/v1/kv/{KEY}?acquire={session}", {"host": "r7a", "pid": 12})
        for options in ((), ("--dry-run",)):
            status, lines, message = self.purge(*options)
            self.assertEqual((status, lines), (1, []))
            self.assertIn("A daemon of scope 'rack-7' is running: r7a (process 12", message)
        self.assertEqual(device_nodes(self.consul), {"device-1"})

    def test_unknown(self) -> None:
        """A scope without nodes and without a lock is an error."""
        status, lines, message = self.purge(scope="unknown")
        self.assertEqual((status, lines), (1, []))
        self.assertIn("no nodes and no lock of scope 'unknown'", message)

    def test_invalid_scope(self) -> None:
        """A scope that no key can contain is invalid usage."""
        status, _, message = self.purge(scope="a/../b")
        self.assertEqual(status, 2)
        self.assertIn("two dots", message)

    def test_other_backend(self) -> None:
        """A configuration without Consul is invalid."""
        self.path.write_text(
            json.dumps({"ssdp": {"tags": {"a": ["urn:x:service:y:1"]}}, "backend": {"type": "embedded"}})
        )
        status, _, message = self.purge()
        self.assertEqual(status, 2)
        self.assertIn("does not describe Consul", message)
