"""Daemons in catalog mode on a simulated clock: the real lock and reaper, and connections that can be cut off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.web.http_headers import Headers

from ssdpreg.backends.catalog.format import CatalogFormat
from ssdpreg.backends.catalog.locked import LockedCatalog
from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.backends.http_client import BoundedHTTPClient
from ssdpreg.backends.http_connection import PreparedURL
from ssdpreg.backends.scopes.holder import Holder
from ssdpreg.backends.scopes.lock import ScopeLock
from ssdpreg.backends.scopes.nodes import ScopeNodes
from ssdpreg.backends.scopes.reaper import Reaper
from ssdpreg.backends.scopes.session import LockRequests
from ssdpreg.registration import Registration
from tests.simulation.catalog_consul import SimulatedCatalog
from tests.simulation.clock import ProcessClock, WorldClock
from tests.simulation.consul import SimulatedResponse
from tests.simulation.daemon import Daemon, SimulatedInstance
from tests.simulation.network import Network

#: Seconds without a daemon after which the nodes of a scope are removed.
REAP_AFTER = 400.0
#: Seconds after which a daemon that is stopped ends at the latest.
_STOP = 5.0


class HostInstance(SimulatedInstance):
    """
    Identity of a daemon on one of several hosts. Another host does not know whether its process has ended.

    :param host: Name of the host.
    """

    def __init__(self, host: str, number: int, running: dict[str, None]) -> None:
        super().__init__(number, running)
        self.host = host
        self._running.pop(self.instance_id)
        self.instance_id = f"{host}-{number}"
        self._running[self.instance_id] = None

    def has_ended(self, instance_id: str) -> bool:
        return instance_id.startswith(f"{self.host}-") and super().has_ended(instance_id)


class _Lock(ScopeLock):
    """Lock whose holder is described without facts about this machine: two runs with one seed must be equal."""

    def _describe(self) -> Holder:
        return replace(super()._describe(), host=self._instance.instance_id, pid=1)


class CatalogClient:
    """
    Client in place of treq's: its requests reach the simulated servers after some time, or not at all.

    :param process: Clock of the process that sends the requests.
    :param catalog: Servers that receive them.
    """

    def __init__(self, process: ProcessClock, catalog: SimulatedCatalog) -> None:
        self._process, self._catalog = process, catalog

    def request(
        self,
        method: str,
        url: PreparedURL,
        *,
        data: bytes | None = None,
        headers: Headers | None = None,
        **options: object,
    ) -> Deferred[SimulatedResponse]:
        """Send a request. The Deferred fires with the response, and can be cancelled."""
        process, catalog = self._process, self._catalog
        answered: Deferred[SimulatedResponse] = Deferred()
        if process.killed:
            return answered

        def refuse() -> None:
            if not answered.called:
                answered.errback(ConnectionRefusedError())

        def finish(result: Any) -> None:
            if not answered.called:
                answered.callback(result)

        def respond(status: int, body: bytes, retry_after: str | None) -> None:
            if process not in catalog.cut_off:
                process.callLater(catalog.delay(), finish, SimulatedResponse(status, body, retry_after))

        def arrive() -> None:
            # A request that was cancelled on its way may still be carried out.
            if not catalog.reachable:
                process.callLater(0.0, refuse)
            elif not catalog.silent:
                catalog.serve(process, method, url.to_text(), data or b"", respond)

        catalog.send(process, arrive)
        return answered


class CatalogDaemon(Daemon):
    """
    One process of the daemon in catalog mode.

    :param scope: Scope, and name of the lock.
    :param host: Name of its host.
    :ivar lock: Its lock.
    :ivar reaper: Its reaper.
    """

    lock: ScopeLock
    reaper: Reaper

    def __init__(
        self,
        scope: str,
        host: str,
        clock: WorldClock,
        network: Network,
        catalog: SimulatedCatalog,
        terms: Mapping[str, str],
        instance: HostInstance,
        random: Random,
        changes: Any,
        adopting: Callable[[list[Registration]], None],
    ) -> None:
        self.scope, self.host = scope, host
        super().__init__(clock, network, catalog, terms, instance, random, changes, adopting)

    def _make_backend(self, consul: SimulatedCatalog) -> LockedCatalog:
        time: Any = self.process
        instance: Any = self.instance

        def connect() -> ConsulHTTP:
            client: Any = CatalogClient(self.process, consul)
            return ConsulHTTP(time, BoundedHTTPClient(time, "http://127.0.0.1:8500", client))

        seconds = self.process.seconds
        self.lock = _Lock(time, LockRequests(connect(), None), self.scope, instance, seconds, seconds)
        nodes = ScopeNodes(connect(), None)
        self.reaper = Reaper(time, nodes, self.lock, REAP_AFTER, seconds, Random(self._random.random()))
        return LockedCatalog(time, connect(), self.lock, self.reaper, CatalogFormat(self.scope))

    @property
    def able(self) -> bool:
        """Whether the process runs."""
        return not (self.process.killed or self.process.suspended)

    def stop(self) -> None:
        """Stop the services of the daemon, as SIGTERM does: the lock is released before the process ends."""
        self.registry.stopService()
        stopping = self.reconciler.stopService()

        def end(_: object = None) -> None:
            self.instance.close()
            self.process.kill()

        self.process.callLater(_STOP, end)
        stopping.addBoth(end)
