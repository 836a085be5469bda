"""Tests for the backend of Consul's catalog that run on the fake server and on a real one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from treq.testing import StubTreq
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.backends.catalog.backend import ConsulCatalog
from ssdpreg.backends.catalog.format import CatalogFormat
from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.errors import NotHolderError
from ssdpreg.interfaces import IRegistryBackend
from ssdpreg.registration import Check, Outcome, Plan, Registration
from ssdpreg.testing import BackendTestsMixin, FakeConsulCatalog, make_registration

#: Sends a request without the code under test, and returns the JSON of its response.
Request = Callable[..., Any]


def request_catalog(case: SynchronousTestCase, server: FakeConsulCatalog, method: str, path: str, body: Any) -> Any:
    """Send a request to the server in memory, and return the JSON of its response."""
    client: Any = StubTreq(server)
    data = None if body is None else json.dumps(body).encode()
    response = case.successResultOf(client.request(method, f"http://consul.test:8500{path}", data=data))
    content = case.successResultOf(client.content(response))
    case.assertEqual(response.code, 200, content)
    return json.loads(content)


class TestFence:
    """
    Lock of a scope that a test acquires with blocking requests.

    :ivar session: Session that holds the lock; empty if this daemon does not hold it.
    :ivar losses: Number of times that Consul rejected the operation.
    """

    def __init__(self, request: Request, scope: str) -> None:
        self._request, self.key = request, f"ssdpreg/scopes/{scope}"
        self._node = f"ssdpreg-{scope}"
        self.session = ""
        self.losses = 0

    def acquire(self) -> None:
        """Acquire the lock with a new session."""
        self._request("PUT", "/v1/catalog/register", {"Node": self._node, "Address": "127.0.0.1"})
        session = {"Node": self._node, "NodeChecks": [], "TTL": "60s", "LockDelay": "1ms"}
        self.session = self._request("PUT", "/v1/session/create", session)["ID"]
        assert self._request("PUT", f"/v1/kv/{self.key}?acquire={self.session}") is True

    def release(self) -> None:
        """Destroy the session, as its expiry does."""
        self._request("PUT", f"/v1/session/destroy/{self.session}")

    def operation(self) -> dict[str, Any]:
        if not self.session:
            raise NotHolderError("another daemon holds the lock")
        return {"KV": {"Verb": "check-session", "Key": self.key, "Session": self.session}}

    def lost(self) -> None:
        self.session = ""
        self.losses += 1


class CatalogTestsMixin(BackendTestsMixin):
    """
    Tests for :class:`ConsulCatalog` beyond those that every backend has to pass.

    :ivar fences: Locks by scope, which the test case acquires.
    """

    fences: dict[str, TestFence]

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request to Consul without the code under test, and return the JSON of its response."""
        raise NotImplementedError

    def make_http(self) -> tuple[Any, ConsulHTTP]:
        """Make a client, and return it with its reactor."""
        raise NotImplementedError

    def make_backend(self, scope: str = "test") -> IRegistryBackend:
        return self.make_catalog(scope)

    def make_catalog(self, scope: str = "test", prefix: str = "") -> ConsulCatalog:
        """Make a backend whose daemon holds the lock of its scope."""
        if scope not in self.fences:
            self.fences[scope] = TestFence(self.request, scope)
            self.fences[scope].acquire()
        reactor, http = self.make_http()
        return ConsulCatalog(reactor, http, self.fences[scope], CatalogFormat(scope, prefix))

    def node(self, name: str) -> Any:
        """Return a node as the catalog shows it, or None."""
        return self.request("GET", f"/v1/catalog/node/{name}")

    def indexes(self) -> dict[str, int]:
        """Return the index of the latest change of each node, service and check of the devices."""
        indexes = {}
        for node in self.request("GET", "/v1/catalog/nodes"):
            name = node["Node"]
            if name.startswith("device-"):
                indexes[name] = node["ModifyIndex"]
                for service in self.node(name)["Services"].values():
                    indexes[f"{name} {service['ID']}"] = service["ModifyIndex"]
                for check in self.request("GET", f"/v1/health/node/{name}"):
                    indexes[f"{name} {check['CheckID']}"] = check["ModifyIndex"]
        return indexes

    async def register(self, backend: ConsulCatalog, *registrations: Registration) -> None:
        """Register services, and check that nothing was rejected."""
        outcome = await backend.apply(Plan(register=registrations))
        self.assertEqual(outcome.refused, {})
        self.assertEqual(outcome, Outcome(frozenset(each.service_id for each in registrations)))

    def put_check(self, node: str, check_id: str = "theirs") -> None:
        """Register a check of a node as another program does."""
        check = {"CheckID": check_id, "Name": "x", "Status": "critical"}
        self.request("PUT", "/v1/catalog/register", {"Node": node, "SkipNodeUpdate": True, "Check": check})

    def put_foreign(self, node: str, service: str | None = None, meta: dict[str, str] | None = None) -> None:
        """Register a node, or a service on an existing node, as another program does."""
        if service is None:
            self.request("PUT", "/v1/catalog/register", {"Node": node, "Address": "10.9.9.9", "NodeMeta": meta or {}})
        else:
            body = {"Node": node, "SkipNodeUpdate": True, "Service": {"ID": service, "Service": service, "Port": 1}}
            self.request("PUT", "/v1/catalog/register", body)

    async def test_seed(self) -> None:
        """The catalog shows a device as the document of the original program does, field by field."""
        registration = make_registration(address="192.168.1.1", port=65535)
        registration = replace(registration, meta={**registration.meta, "ssdp-device": "228617159241066160"})
        await self.register(self.make_catalog(), registration)
        (entry,) = self.request("GET", "/v1/catalog/service/RackHD-service:api:2.0")
        for key, value in {
            "Address": "192.168.1.1",
            "Node": "228617159241066160",
            "ServiceAddress": "192.168.1.1",
            "ServiceEnableTagOverride": False,
            "ServiceID": "RackHD-service:api:2.0",
            "ServiceName": "RackHD-service:api:2.0",
            "ServicePort": 65535,
            "ServiceTags": [],
        }.items():
            self.assertEqual(entry[key], value, key)
        self.assertEqual(entry["CreateIndex"], entry["ModifyIndex"])
        self.assertEqual(entry["NodeMeta"], {"external-source": "ssdpreg", "ssdpreg-scope": "test"})

    async def test_adopt_without_a_write(self) -> None:
        """After a restart, everything is read, and the same plan changes no index."""
        service_id = make_registration(3).service_id
        plan = Plan(
            register=(
                *(make_registration(number) for number in range(30)),
                make_registration(
                    3,
                    name="RackHD-other",
                    service_id=f"{service_id}-b",
                    checks=frozenset({Check(f"{service_id}-b-alive", "alive")}),
                ),
                make_registration(
                    40,
                    checks=frozenset(
                        {
                            Check(f"{make_registration(40).service_id}-alive", "alive"),
                            Check(f"{make_registration(40).service_id}-http-1a", "http", "http://192.0.2.9/", 15.0),
                        }
                    ),
                ),
            )
        )
        await self.make_catalog().apply(plan)
        before = self.indexes()
        again = self.make_catalog()
        self.assertEqual(await again.read(), {each.service_id: each for each in plan.register})
        self.assertEqual(self.indexes(), before)
        await again.apply(plan)
        self.assertEqual(await again.read(), {each.service_id: each for each in plan.register})
        self.assertEqual(self.indexes(), before)

    async def test_foreign_node(self) -> None:
        """A node of another program with the name of a device is reported, and left as it is."""
        self.put_foreign("device-1", meta={"owner": "someone"})
        self.put_foreign("device-2", meta={"external-source": "ssdpreg", "ssdpreg-scope": "other"})
        self.put_foreign("device-1", "theirs")
        before = [self.node("device-1"), self.node("device-2")]
        backend = self.make_catalog()
        await backend.read()
        registrations = [make_registration(number) for number in range(4)]
        outcome = await backend.apply(Plan(register=tuple(registrations)))
        self.assertEqual(outcome.applied, {registrations[0].service_id, registrations[3].service_id})
        self.assertEqual(
            {service_id: str(error) for service_id, error in outcome.refused.items()},
            {
                registrations[1].service_id: "409 the node device-1 of the catalog belongs to another program",
                registrations[2].service_id: "409 the node device-2 of the catalog belongs to scope 'other'",
            },
        )
        self.assertEqual([self.node("device-1"), self.node("device-2")], before)
        self.assertEqual((await backend.read()).keys(), outcome.applied)
        await backend.apply(Plan(deregister=tuple(registrations)))
        self.assertEqual([self.node("device-1"), self.node("device-2")], before)

    async def test_name_like_node_id(self) -> None:
        """A device whose node was removed is not mistaken for the node whose ID begins with the name of the device."""
        node_id = "0a1b2c3d-1111-2222-3333-444444444444"
        self.request("PUT", "/v1/catalog/register", {"Node": "device-agent", "ID": node_id, "Address": "10.9.9.9"})
        backend = self.make_catalog()
        registration = make_registration()
        registration = replace(registration, meta={**registration.meta, "ssdp-device": "0a1b2c"})
        moved = replace(registration, port=9090)
        for plan in (Plan(register=(moved,)), Plan(deregister=(registration,))):
            await self.register(backend, registration)
            self.request("PUT", "/v1/catalog/deregister", {"Node": "0a1b2c"})
            self.assertEqual(self.node("0a1b2c")["Node"]["Node"], "device-agent")
            outcome = await backend.apply(plan)
            self.assertEqual(outcome, Outcome(frozenset({registration.service_id})))
        self.assertEqual(await backend.read(), {})

    async def test_foreign_service(self) -> None:
        """A node with a service of another program is not deleted: only the device's own services are removed."""
        backend = self.make_catalog()
        registration = make_registration()
        await self.register(backend, registration)
        self.put_foreign("device-0", "theirs")
        outcome = await backend.apply(Plan(deregister=(registration,)))
        self.assertEqual(outcome, Outcome(frozenset({registration.service_id})))
        self.assertEqual(self.node("device-0")["Services"].keys(), {"theirs"})
        self.assertEqual(await backend.read(), {})
        await self.register(backend, registration)
        self.assertEqual(self.node("device-0")["Services"].keys(), {"theirs", registration.name})

    async def test_foreign_check(self) -> None:
        """A node with a check of another program is not deleted, whether one device leaves or many."""
        backend = self.make_catalog()
        registrations = [make_registration(number) for number in range(20)]
        await self.register(backend, *registrations)
        self.put_check("device-0")
        self.put_check("device-7")
        # The mark of a reaper.
        self.put_check("device-8", "ssdpreg:scope")
        await backend.apply(Plan(deregister=tuple(registrations[:1])))
        await backend.apply(Plan(deregister=tuple(registrations[1:])))
        self.assertEqual(await backend.read(), {})
        self.assertEqual({name.partition(" ")[0] for name in self.indexes()}, {"device-0", "device-7"})
        for name in ("device-0", "device-7"):
            checks = self.request("GET", f"/v1/health/node/{name}")
            self.assertEqual([check["CheckID"] for check in checks], ["theirs"])
            self.assertEqual(self.node(name)["Services"], {})
        await self.register(backend, *registrations)

    async def test_lost_meta(self) -> None:
        """
        A node with a service of the scope gets back the Meta that another program removed.

        Consul removes it if a service is registered on the node without ``NodeMeta`` and ``SkipNodeUpdate``.
        """
        backend = self.make_catalog()
        registrations = [make_registration(number) for number in range(3)]
        await self.register(backend, *registrations)
        for number in range(3):
            service = {"ID": "theirs", "Service": "theirs", "Port": 1}
            body = {"Node": f"device-{number}", "Address": "10.9.9.9", "Service": service}
            self.request("PUT", "/v1/catalog/register", body)
        agent = {"Node": "device-2", "Address": "10.9.9.9", "ID": "40e4a748-2192-161a-0510-9bf59fe950b5"}
        self.request("PUT", "/v1/catalog/register", agent)
        # Before the comparison.
        await backend.apply(Plan(deregister=(registrations[0],)))
        self.assertEqual(self.node("device-0")["Services"].keys(), {"theirs"})
        self.assertEqual(await backend.read(), {})
        outcome = await backend.apply(Plan(register=(registrations[1], registrations[2])))
        self.assertEqual(outcome.applied, {registrations[1].service_id})
        self.assertEqual(outcome.refused.keys(), {registrations[2].service_id})
        node = self.node("device-1")
        meta = {"external-source": "ssdpreg", "ssdpreg-scope": "test"}
        self.assertEqual((node["Node"]["Meta"], node["Node"]["Address"]), (meta, registrations[1].address))
        self.assertEqual(node["Services"].keys(), {"theirs", registrations[1].name})
        # The node of a joining agent has an ID, and belongs to the agent.
        self.assertEqual(self.node("device-2")["Node"]["Address"], "10.9.9.9")
        self.assertEqual((await backend.read()).keys(), {registrations[1].service_id})

    async def test_many_leave(self) -> None:
        """If many devices leave, their nodes are deleted at the next comparison, but for one with foreign services."""
        for foreign in (set(), {"device-3"}):
            backend = self.make_catalog()
            registrations = [make_registration(number) for number in range(50)]
            await self.register(backend, *registrations)
            for name in foreign:
                self.put_foreign(name, "theirs")
            outcome = await backend.apply(Plan(deregister=tuple(registrations[:40])))
            self.assertEqual(outcome.applied, {each.service_id for each in registrations[:40]})
            names = self.request("GET", f"/v1/catalog/service/{registrations[0].name}")
            self.assertEqual({each["Node"] for each in names}, {f"device-{number}" for number in range(40, 50)})
            self.assertEqual((await backend.read()).keys(), {each.service_id for each in registrations[40:]})
            nodes = {each["Node"] for each in self.request("GET", "/v1/catalog/nodes")}
            expected = {f"device-{number}" for number in range(40, 50)} | foreign
            self.assertEqual({name for name in nodes if name.startswith("device-")}, expected)
        await self.register(backend, registrations[3])
        self.assertEqual(self.node("device-3")["Services"].keys(), {"theirs", registrations[3].name})
        self.assertEqual(self.node("device-3")["Node"]["Meta"], self.node("device-45")["Node"]["Meta"])

    async def test_service_id_taken(self) -> None:
        """A service of another program on a device's node is not replaced."""
        backend = self.make_catalog()
        await self.register(backend, make_registration())
        self.put_foreign("device-0", "RackHD-other")
        other = make_registration(service_id="ssdpreg-other-0123456789abcdef", name="RackHD-other")
        outcome = await backend.apply(Plan(register=(other,)))
        self.assertEqual(outcome.applied, frozenset())
        self.assertIn(
            "index is stale: another program has a service on the node", str(outcome.refused[other.service_id])
        )
        self.assertEqual(self.node("device-0")["Services"]["RackHD-other"]["Port"], 1)

    async def test_two_services(self) -> None:
        """The services of one device share its node, which keeps its address while one of them has it."""
        backend = self.make_catalog()
        one = make_registration(address="192.0.2.10")
        two = make_registration(service_id="ssdpreg-b-0123456789abcdef", name="RackHD-b", address="192.0.2.20")
        two = replace(two, checks=frozenset({Check(f"{two.service_id}-alive", "alive")}))
        await self.register(backend, one, two)
        self.assertEqual(self.node("device-0")["Node"]["Address"], "192.0.2.10")
        self.assertEqual(self.node("device-0")["Services"].keys(), {one.name, two.name})
        moved = replace(one, address="192.0.2.30")
        await self.register(backend, moved)
        self.assertEqual(self.node("device-0")["Node"]["Address"], "192.0.2.30")
        await backend.apply(Plan(deregister=(moved,)))
        self.assertEqual(self.node("device-0")["Node"]["Address"], "192.0.2.20")
        self.assertEqual(await backend.read(), {two.service_id: two})
        await backend.apply(Plan(deregister=(two,)))
        self.assertIsNone(self.node("device-0"))

    async def test_same_name(self) -> None:
        """Of two services of one device with the same name, the second one is rejected."""
        backend = self.make_catalog()
        one, two = make_registration(), make_registration(service_id="ssdpreg-b-0123456789abcdef")
        outcome = await backend.apply(Plan(register=(one, two)))
        self.assertEqual(outcome.applied, {one.service_id})
        self.assertIn("another service of the device", str(outcome.refused[two.service_id]))
        outcome = await backend.apply(Plan(register=(two,), deregister=(one,)))
        self.assertEqual(outcome.applied, {one.service_id, two.service_id})

    async def test_repairs(self) -> None:
        """Deleted nodes, services and checks, and changed addresses, are found and registered again."""
        backend = self.make_catalog()
        registrations = [make_registration(number) for number in range(5)]
        await self.register(backend, *registrations)
        name = registrations[0].name
        removed: tuple[dict[str, str], ...] = (
            {"Node": "device-0"},
            {"Node": "device-1", "ServiceID": name},
            {"Node": "device-2", "CheckID": f"ssdpreg:{name}"},
        )
        for each in removed:
            self.request("PUT", "/v1/catalog/deregister", each)
        body = {
            "Node": "device-3",
            "Address": "10.1.1.1",
            "NodeMeta": {"external-source": "ssdpreg", "ssdpreg-scope": "test"},
        }
        self.request("PUT", "/v1/catalog/register", body)
        # One node is compared each time, as they are few.
        for _ in range(8):
            found = await backend.read()
        wrong = [each for each in registrations if found.get(each.service_id) != each]
        self.assertEqual(wrong, registrations[:4])
        await self.register(backend, *wrong)
        self.assertEqual(await backend.read(), {each.service_id: each for each in registrations})
        self.assertEqual(self.node("device-3")["Node"]["Address"], registrations[3].address)

    async def test_fence(self) -> None:
        """A daemon that lost the lock writes nothing, and reads everything again when it holds the lock."""
        backend = self.make_catalog()
        first, second = make_registration(1), make_registration(2)
        await self.register(backend, first)
        fence = self.fences["test"]
        fence.release()
        outcome = await backend.apply(Plan(register=(second,), deregister=(first,)))
        self.assertIsInstance(outcome.unavailable, NotHolderError)
        self.assertEqual((outcome.applied, fence.losses), (frozenset(), 1))
        self.assertIsNone(self.node("device-2"))
        with self.assertRaises(NotHolderError):
            await backend.read()
        with self.assertRaises(NotHolderError):
            await backend.keep_alive()
        self.request("PUT", "/v1/catalog/deregister", {"Node": "device-1"})
        fence.acquire()
        await backend.keep_alive()
        self.assertEqual(await backend.read(), {})
        await self.register(backend, first, second)

    async def test_strange_device_ids(self) -> None:
        """Device IDs that are no node names are hashed, and are adopted."""
        backend = self.make_catalog()
        ids = [
            "..",
            ".",
            "a/b",
            "d\u00e9vice",
            "x" * 65,
            "",
            "A.B_c-9",
            "ssdpreg-test",
            "device-0123456789abcdef01234567",
        ]
        registrations = [
            replace(make_registration(number), meta={**make_registration(number).meta, "ssdp-device": device_id})
            for number, device_id in enumerate(ids)
        ]
        await self.register(backend, *registrations)
        self.assertEqual(await self.make_catalog().read(), {each.service_id: each for each in registrations})
        self.assertIsNotNone(self.node("a.b_c-9"))
        await backend.apply(Plan(deregister=tuple(registrations)))
        self.assertEqual(await self.make_catalog().read(), {})

    async def test_prefix(self) -> None:
        """After a change of the prefix, the services move to nodes with the new names."""
        registrations = [make_registration(number) for number in range(3)]
        await self.register(self.make_catalog(), *registrations)
        backend = self.make_catalog(prefix="ssdp-")
        found = await backend.read()
        self.assertEqual(found.keys(), {each.service_id for each in registrations})
        wrong = [each for each in registrations if found[each.service_id] != each]
        self.assertEqual(wrong, registrations)
        await self.register(backend, *wrong)
        self.assertEqual(await backend.read(), {each.service_id: each for each in registrations})
        self.assertIsNone(self.node("device-0"))
        self.assertIsNotNone(self.node("ssdp-device-0"))

    async def test_check_of_consul_esm(self) -> None:
        """The status of a check that consul-esm runs is never reset, and a service that it removed returns critical."""
        backend = self.make_catalog()
        service_id = make_registration().service_id
        check = Check(f"{service_id}-http-1a", "http", "http://192.0.2.1/", 15.0, 2.5, True, 300.0)
        registration = make_registration(checks=frozenset({Check(f"{service_id}-alive", "alive"), check}))
        await self.register(backend, registration)
        self.assertEqual(self.node("device-0")["Node"]["Meta"]["external-node"], "true")
        checks = {each["CheckID"]: each for each in self.request("GET", "/v1/health/node/device-0")}
        found = checks[f"ssdpreg-http-1a:{registration.name}"]
        self.assertEqual(found["Status"], "passing")
        self.assertEqual(found["Definition"]["HTTP"], "http://192.0.2.1/")
        critical = {**found, "Status": "critical", "Output": "no route"}
        self.request("PUT", "/v1/catalog/register", {"Node": "device-0", "SkipNodeUpdate": True, "Check": critical})
        moved = replace(registration, port=1234)
        await self.register(backend, moved)
        checks = {each["CheckID"]: each for each in self.request("GET", "/v1/health/node/device-0")}
        self.assertEqual(checks[found["CheckID"]]["Output"], "no route")
        # consul-esm removes the service, and leaves the node.
        self.request("PUT", "/v1/catalog/deregister", {"Node": "device-0", "ServiceID": registration.name})
        self.assertEqual(await backend.read(), {})
        await self.register(backend, moved)
        checks = {each["CheckID"]: each for each in self.request("GET", "/v1/health/node/device-0")}
        self.assertEqual(checks[found["CheckID"]]["Status"], "critical")
        self.assertEqual(checks[f"ssdpreg:{registration.name}"]["Status"], "passing")
        await self.register(backend, make_registration())
        self.assertNotIn("external-node", self.node("device-0")["Node"]["Meta"])
