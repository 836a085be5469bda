"""Tests for the recovery from wrong answers of Consul, with a proxy in front of a real agent."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import treq
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from ssdpreg.backends.consul_agent import make_backend
from ssdpreg.config import ConsulConfig
from ssdpreg.reconciler import Reconciler
from ssdpreg.registration import Registration
from ssdpreg.testing import make_registration
from tests.support.consul import ConsulProcess, remove_all_services, shared_consul, skip_without_consul

reactor = cast("Any", global_reactor)

#: Seconds of each fault, and seconds within which everything has to be right after its end.
_FAULT = 35.0
_RECOVERY = 35.0

Fault = Callable[[Any], Any]


class FaultyProxy(Resource):
    """
    HTTP proxy in front of an agent.

    :param address: ``host:port`` of the agent.
    :ivar fault: Renders the response in place of the agent, or None.
    """

    isLeaf = True

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address
        self.fault: Fault | None = None

    def render(self, request: Any) -> Any:
        if self.fault is not None:
            answer = self.fault(request)
            if answer is not None:
                return answer
        Deferred.fromCoroutine(self._forward(request)).addErrback(lambda _: None)
        return NOT_DONE_YET

    async def _forward(self, request: Any) -> None:
        url = f"http://{self._address}{request.uri.decode()}"
        response = await treq.request(request.method.decode(), url, data=request.content.read(), persistent=False)
        body = await response.content()
        request.setResponseCode(response.code)
        request.write(body)
        request.finish()


def status(code: int, body: bytes = b"", **headers: str) -> Fault:
    """Return a fault: every request has this response."""

    def render(request: Any) -> bytes:
        request.setResponseCode(code)
        for name, value in headers.items():
            request.setHeader(name.replace("_", "-"), value)
        return body

    return render


def only(prefix: str, fault: Fault) -> Fault:
    """Return a fault that is limited to paths with a prefix."""
    return lambda request: fault(request) if request.path.decode().startswith(prefix) else None


def hang(request: Any) -> int:
    """Never respond."""
    return NOT_DONE_YET


def reject_devices(request: Any) -> bytes | None:
    """Reject the registration of each service, except that of the daemon itself."""
    if request.path != b"/v1/agent/service/register":
        return None
    body = request.content.read()
    request.content.seek(0)
    if not json.loads(body)["ID"].startswith("ssdpreg-"):
        return None
    request.setResponseCode(400)
    return b"blocked"


FAULTS: dict[str, Fault] = {
    "301": status(301, Location="https://127.0.0.1/"),
    "400": status(400, b"The plain HTTP request was sent to HTTPS port"),
    "404": status(404, b"404 page not found"),
    "405": status(405),
    "429": status(429, Retry_After="99999999999"),
    "500": status(500, b'Unknown check "x"'),
    "writes-400": only("/v1/agent/service/register", status(400, b"blocked")),
    "devices-400": reject_devices,
    "listing-hangs": only("/v1/agent/services", hang),
    "null": status(200, b"null"),
    "null-entry": only("/v1/agent/services", status(200, b'{"ssdpreg-x": null}')),
    "nested": only("/v1/agent/services", status(200, b"[" * 100_000)),
    "html": status(200, b"<html>Welcome</html>"),
}


class Daemon:
    """
    Reconciler with 6 services, behind an own proxy and with an own scope.

    :param name: Name of the scope.
    :param number: Number of the first of its services.
    :param address: ``host:port`` of the proxy.
    """

    def __init__(self, name: str, number: int, address: str) -> None:
        self.name = name
        self._services = [make_registration(number + each, name) for each in range(8)]
        self.desired: dict[str, Registration] = {}
        backend = make_backend(reactor, ConsulConfig(address=address), name)
        self.reconciler = Reconciler(reactor, backend, self.desired, lambda found: None)
        for service in self._services[:6]:
            self.put(service)

    def put(self, service: Registration) -> None:
        """Make a service live, or change it."""
        before = self.desired.get(service.service_id)
        self.desired[service.service_id] = service
        if before is None:
            self.reconciler.appeared(service)
        else:
            self.reconciler.changed(service, before)

    def change(self) -> None:
        """Let two services appear, two move, and two leave."""
        for service in self._services[6:]:
            self.put(service)
        for service in self._services[2:4]:
            self.put(replace(service, port=9090))
        for service in self._services[:2]:
            del self.desired[service.service_id]
            self.reconciler.left(service, "byebye")


class ConsulFaultsTests(TestCase):
    """Wrong answers of Consul, or of a server in front of it."""

    skip = skip_without_consul
    timeout = 200

    def setUp(self) -> None:
        self.consul = shared_consul()
        self.addCleanup(remove_all_services, self.consul)

    async def make_daemon(self, name: str, number: int) -> tuple[Daemon, FaultyProxy]:
        """Start a daemon behind a proxy, and stop both at the end of the test."""
        proxy = FaultyProxy(self.consul.address)
        port = cast("Any", await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Site(proxy)))
        self.addCleanup(port.stopListening)
        daemon = Daemon(name, number, f"127.0.0.1:{port.getHost().port}")
        self.addCleanup(daemon.reconciler.stopService)
        daemon.reconciler.startService()
        return daemon, proxy

    async def differing(self, daemons: list[Daemon]) -> list[str]:
        """Return the names of the daemons whose services differ from those that Consul has."""
        services = await deferToThread(self.consul.services)
        names = []
        for daemon in daemons:
            found = {
                key: service["Port"]
                for key, service in services.items()
                if key.startswith("ssdpreg-") and service["Meta"]["ssdpreg-scope"] == daemon.name
            }
            if found != {key: registration.port for key, registration in daemon.desired.items()}:
                names.append(daemon.name)
        return names

    async def wait_until_equal(self, daemons: list[Daemon], seconds: float) -> None:
        """Wait until Consul has the services of all daemons."""
        deadline = time.monotonic() + seconds
        differing = await self.differing(daemons)
        while differing and time.monotonic() < deadline:
            await deferLater(reactor, 0.5)
            differing = await self.differing(daemons)
        self.assertEqual(differing, [])

    async def test_recovery(self) -> None:
        """After each fault, Consul has the live services again within 30 s. No fault causes a traceback."""
        self.patch(reactor, "seconds", time.monotonic)
        with capturedLogs() as events:
            pairs = [await self.make_daemon(name, 100 * number) for number, name in enumerate(FAULTS)]
            daemons = [daemon for daemon, _ in pairs]
            await self.wait_until_equal(daemons, 20)
            for daemon, proxy in pairs:
                proxy.fault = FAULTS[daemon.name]
                daemon.change()
            await deferLater(reactor, _FAULT)
            available = [daemon.name for daemon in daemons if daemon.reconciler.available]
            # A request of the comparison may still wait for its response. A service may be rejected by its own fault.
            self.assertLessEqual(set(available), {"listing-hangs", "devices-400"})
            for _, proxy in pairs:
                proxy.fault = None
            await self.wait_until_equal(daemons, _RECOVERY)
            checks = await deferToThread(self.consul.checks)
        self.assertEqual({check["Status"] for check in checks.values()}, {"passing"})
        self.assertEqual([event for event in events if "log_failure" in event], [])
        texts = [
            event["log_format"]
            for event in events
            if event.get("log_namespace") == "ssdpreg.reconciler.service.Reconciler"
        ]
        self.assertLessEqual(texts.count("Backend unavailable: {error}"), len(FAULTS))
        self.assertEqual(texts.count("Refused {service_id}: {error}"), 1)
        await gatherResults([daemon.reconciler.stopService() for daemon in daemons])

    async def test_rotated_token(self) -> None:
        """Services that an old token may not write are registered soon after the token file has a token that may."""
        self.patch(reactor, "seconds", time.monotonic)
        consul = ConsulProcess(acl=True)
        self.addCleanup(consul.clean_up)
        await deferToThread(consul.start)
        assert consul.token is not None
        path = Path(self.mktemp())
        path.write_text(consul.add_token('service "ssdpreg" { policy = "write" } node_prefix "" { policy = "read" }'))
        backend = make_backend(reactor, ConsulConfig(address=consul.address, token_file=str(path)), "rotated")
        services = [make_registration(number, "rotated") for number in range(20)]
        reconciler = Reconciler(reactor, backend, {each.service_id: each for each in services}, lambda found: None)
        self.addCleanup(reconciler.stopService)
        reconciler.startService()
        deadline = time.monotonic() + 20
        while reconciler.rejected < len(services) and time.monotonic() < deadline:
            await deferLater(reactor, 0.1)
        self.assertEqual((reconciler.rejected, reconciler.available), (len(services), True))
        path.write_text(consul.token)
        deadline = time.monotonic() + 15
        while reconciler.pending and time.monotonic() < deadline:
            await deferLater(reactor, 0.1)
        registered = await deferToThread(consul.services)
        self.assertLessEqual({each.service_id for each in services}, registered.keys())
