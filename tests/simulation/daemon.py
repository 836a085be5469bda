"""The daemon's parts on a simulated clock, network and Consul, wired as in :mod:`ssdpreg.daemon.tap`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_network
from random import Random
from typing import Any

from ssdpreg.backends.consul_agent import ConsulAgent
from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.backends.consul_token import TokenSource
from ssdpreg.backends.http_client import BoundedHTTPClient
from ssdpreg.discovery.location import LocationRules
from ssdpreg.discovery.log_limit import LogBudget
from ssdpreg.discovery.standing import Standing
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.reconciler import Reconciler
from ssdpreg.registration import Registration, RegistrationRules
from ssdpreg.registry import Registry
from tests.simulation.clock import ProcessClock, WorldClock
from tests.simulation.consul import SimulatedClient, SimulatedConsul
from tests.simulation.devices import API
from tests.simulation.network import Network, SimulatedSockets

SCOPE = "rack-7"
#: Seconds between two searches for all search terms.
SEARCH_INTERVAL = 300.0
#: Services in the table, in all and of one sender. They are low, so that an attack reaches them.
LIMIT = 700
LIMIT_PER_SENDER = 250


@dataclass(frozen=True)
class _HTTPCheck:
    """Configuration of an HTTP check."""

    http: str | None = "/api/2.0/nodes"
    interval: float = 15.0
    timeout: float | None = 5.0
    tls_skip_verify: bool = False
    deregister_after: float | None = None


class SimulatedFailureError(Exception):
    """Exception that the simulation raises in the daemon."""


class _TokenFile(TokenSource):
    """Token file that is simulated with Consul."""

    def __init__(self, consul: SimulatedConsul) -> None:
        self._consul = consul
        super().__init__(path="token")

    def _read(self, path: str) -> str:  # type: ignore[override]
        return self._consul.token_file


class SimulatedInstance:
    """
    Identity of a running daemon.

    :param number: Serial number of the process.
    :param running: Identities of the processes that run.
    """

    def __init__(self, number: int, running: dict[str, None]) -> None:
        self.instance_id = f"simulated-{number}"
        self._running = running
        running[self.instance_id] = None

    def has_ended(self, instance_id: str) -> bool:
        return instance_id not in self._running

    def close(self) -> None:
        self._running.pop(self.instance_id, None)


def make_rules(scope: str = SCOPE) -> RegistrationRules:
    """Return the rules for registrations."""
    return RegistrationRules(scope, tags=("simulated",), checks={API: _HTTPCheck()})


class Daemon:
    """
    One process of the daemon.

    :param clock: Clock of the world.
    :param network: The simulated network.
    :param consul: The simulated Consul agent.
    :param terms: Search terms.
    :param instance: Identity of the process.
    :param random: Source of its random numbers.
    :param changes: Receives the changes of the live services.
    :param adopting: Called with the registrations that are adopted.
    :param failing_adoptions: Number of adoptions that raise an exception.
    :ivar scope: Scope of the daemon.
    :ivar limits: Services in the table, in all and of one sender.
    """

    scope = SCOPE
    limits = (LIMIT, LIMIT_PER_SENDER)

    def __init__(
        self,
        clock: WorldClock,
        network: Network,
        consul: Any,
        terms: Mapping[str, str],
        instance: SimulatedInstance,
        random: Random,
        changes: Any,
        adopting: Callable[[list[Registration]], None],
        failing_adoptions: int = 0,
    ) -> None:
        self.process = ProcessClock(clock)
        self.instance = instance
        self._random = random
        self._adopting = adopting
        self.failing_adoptions = failing_adoptions
        backend = self._make_backend(consul)
        self.table = AdvertisementTable(*self.limits, Standing.INDIRECT)
        budget = LogBudget()
        self.registry = Registry(
            self.process,
            partial(SimulatedSockets, network, self.process),
            self.table,
            make_rules(self.scope),
            LocationRules((ip_network("0.0.0.0/0"),), lambda: self.registry.broadcasts),
            search_interval=SEARCH_INTERVAL,
            random=Random(random.random()),
            budget=budget,
            backlog=lambda: self.reconciler.pending,
        )
        self.registry.set_search_terms(terms)
        self.reconciler = Reconciler(
            self.process,
            backend,
            self.registry.registrations,
            self._adopt,
            priority=self.registry.priority,
            random=Random(random.random()),
            budget=budget,
        )
        self.registry.subscribe(self.reconciler)
        self.registry.subscribe(changes)

    def _make_backend(self, consul: Any) -> Any:
        client: Any = SimulatedClient(self.process, consul)
        time: Any = self.process
        client = BoundedHTTPClient(time, "http://127.0.0.1:8500", client)
        return make_backend(ConsulHTTP(time, client, _TokenFile(consul)), self.instance)

    def _adopt(self, found: Iterable[Registration]) -> None:
        registrations = list(found)
        if self.failing_adoptions:
            self.failing_adoptions -= 1
            raise SimulatedFailureError
        self._adopting(registrations)
        self.registry.adopt(registrations)

    def start(self) -> None:
        """Start the services of the daemon."""
        self.reconciler.startService()
        self.registry.startService()

    def stop(self) -> None:
        """Stop the services of the daemon, as SIGTERM does."""
        self.registry.stopService()
        self.reconciler.stopService()
        self.instance.close()
        self.process.kill()

    def kill(self, network: Network) -> None:
        """End the process, as SIGKILL does: none of its code runs."""
        self.process.kill()
        self.instance.close()
        network.listeners[:] = [each for each in network.listeners if each.process is not self.process]


def make_backend(http: ConsulHTTP, instance: SimulatedInstance) -> ConsulAgent:
    """Return the backend, with the identity of the daemon if the backend supports one."""
    maker: Any = ConsulAgent
    if supports_instances():
        backend: ConsulAgent = maker(http, SCOPE, instance)
        return backend
    return ConsulAgent(http, SCOPE)


def supports_instances() -> bool:
    """Return whether daemons with the same scope notice each other."""
    return "instance" in inspect.signature(ConsulAgent).parameters


def count_entries(*roots: object) -> int:
    """
    Return the number of entries in all containers that are reachable from objects of this project.

    An entry that is kept by mistake is counted, whichever container keeps it.
    """
    seen: set[int] = set()
    pending: list[object] = list(roots)
    entries = 0
    while pending:
        each = pending.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, dict):
            entries += len(each)
            pending += each.values()
            pending += each.keys()
        elif isinstance(each, (list, tuple, set, frozenset)):
            entries += len(each)
            pending += each
        elif type(each).__module__.startswith("ssdpreg."):
            for name in _attribute_names(type(each)):
                value = getattr(each, name, None)
                if not isinstance(value, (str, int, float, bytes)):
                    pending.append(value)
    return entries


_names: dict[type, tuple[str, ...]] = {}


def _attribute_names(cls: type) -> tuple[str, ...]:
    if cls not in _names:
        _names[cls] = _find_attribute_names(cls)
    return _names[cls]


def _find_attribute_names(cls: type) -> tuple[str, ...]:
    slots = [name for base in cls.__mro__ for name in getattr(base, "__slots__", ()) if name != "__weakref__"]
    if slots and "__dict__" not in dir(cls):
        return tuple(slots)
    return ("__dict__", *slots)
