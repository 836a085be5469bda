"""``twistd ssdpreg``: its options, and the wiring of the daemon's parts."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.application.service import IService, MultiService
from twisted.logger import Logger
from twisted.python import usage

from ssdpreg import config as configuration
from ssdpreg.backends import find_backend
from ssdpreg.config import Config, ConsulConfig, EmbeddedConfig, PluginBackendConfig
from ssdpreg.daemon.clock import use_monotonic_clock
from ssdpreg.daemon.reload import ReloadService
from ssdpreg.daemon.systemd import NotifyService
from ssdpreg.discovery.location import LocationRules
from ssdpreg.discovery.log_limit import LogBudget
from ssdpreg.discovery.standing import Standing
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.errors import ConfigError
from ssdpreg.interfaces import ILifetimeStore, ILockedBackend, IRegistryBackend, IRequestStatistics
from ssdpreg.reconciler import Reconciler
from ssdpreg.registration import Registration, RegistrationRules
from ssdpreg.registry import LifetimeRecorder, Registry
from ssdpreg.registry.sockets import Sockets
from ssdpreg.ssdp.network import Network
from ssdpreg.web.connections import Connections
from ssdpreg.web.hosts import AcceptedHosts
from ssdpreg.web.root import make_root
from ssdpreg.web.service import WebService
from ssdpreg.web.view import View

if TYPE_CHECKING:
    from ssdpreg.description.describer import Describer

#: Consul's default name of a datacenter.
_DATACENTER = "dc1"


class Options(usage.Options):
    """Options of the command line. The parsed configuration is ``options["configuration"]``."""

    synopsis = "[--config FILE] [--address HOST:PORT] [--datacenter DC]"
    longdesc = "Receives SSDP announcements, searches for silent devices, and keeps Consul up to date."

    optParameters: ClassVar = [
        [
            "config",
            "c",
            None,
            "Configuration file. Default: the first registry.json in ./, $HOME, /etc/ssdpreg and /etc/infranm.d.",
        ],
        ["address", "a", None, "Address of Consul; overrides the configuration file."],
        ["datacenter", "d", None, "Consul datacenter; overrides the configuration file."],
    ]
    optFlags: ClassVar = [["log-json", None, "Log to standard output, one JSON object a line."]]

    def postOptions(self) -> None:
        try:
            # An absolute path: twistd may change its working directory before a reload.
            self["config"] = os.path.abspath(self["config"] or configuration.find())
            self["configuration"] = self.load()
        except ConfigError as error:
            raise usage.UsageError(f"{self['config'] or 'No configuration'}:\n{error}") from error
        if self["log-json"]:
            # twistd starts its log before it makes any service, so this has to be its own option --logger.
            assert self.parent is not None
            self.parent["logger"] = "ssdpreg.daemon.json_log.stdout_observer"

    def load(self) -> Config:
        """
        Load the configuration file.

        :raise ConfigError: If it is invalid.
        """
        config = configuration.load(self["config"]).with_consul(self["address"], self["datacenter"])
        find_backend(config.backend.type)
        return config


def make_location_rules(config: Config, broadcasts: Callable[[], frozenset[str]]) -> LocationRules:
    """Make the rules for LOCATIONs that a configuration describes."""
    return LocationRules(config.ssdp.allow, broadcasts, zones=isinstance(config.backend, EmbeddedConfig))


def make_rules(config: Config, scope: str) -> RegistrationRules:
    """Return the rules by which services are registered."""
    return RegistrationRules(
        scope=scope,
        dns_names=config.ssdp.names == "dns",
        tags=config.backend.service_tags if isinstance(config.backend, ConsulConfig) else (),
        checks=config.ssdp.checks,
        named_networks=config.ssdp.named_networks,
    )


def make_network(reactor: Any, config: Config) -> Callable[..., Network]:
    """Return the function that creates the sockets, as ``function(deliver=…, drop=…)``."""
    ssdp = config.ssdp
    return partial(
        Network,
        reactor,
        interfaces=ssdp.interfaces,
        ttl=ssdp.search.ttl,
        allow=ssdp.named_networks,
        ports=ssdp.search.ports,
    )


def make_registry(
    reactor: Any,
    config: Config,
    scope: str,
    backlog: Callable[[], int],
    *,
    open_network: Callable[..., Sockets] | None = None,
    make_table: Callable[..., AdvertisementTable] = AdvertisementTable,
    budget: LogBudget | None = None,
) -> Registry:
    """
    Make the service that receives messages and searches.

    :param backlog: Returns the number of changes that the backend has yet to apply.
    :param open_network: Creates the sockets; by default those of :func:`make_network`.
    :param make_table: Creates the table of live services.
    :param budget: Budget of the log lines that unsolicited datagrams cause.
    """
    ssdp = config.ssdp
    registry = Registry(
        reactor,
        open_network or make_network(reactor, config),
        make_table(ssdp.limits.services, ssdp.limits.services_per_source, Standing.parse(ssdp.trust)),
        make_rules(config, scope),
        make_location_rules(config, lambda: registry.broadcasts),
        search_interval=ssdp.search.interval,
        mx=ssdp.search.mx,
        backlog=backlog,
        describe=ssdp.describe,
        budget=budget,
    )
    registry.set_search_terms(config.search_terms())
    return registry


def make_reconciler(
    reactor: Any, config: Config, registry: Registry, backend: IRegistryBackend, budget: LogBudget
) -> Reconciler:
    """Make the service that keeps the backend up to date."""

    def adopt(found: Iterable[Registration]) -> None:
        registry.adopt(found, backend.remaining() if ILifetimeStore.providedBy(backend) else {})

    reconciler = Reconciler(
        reactor,
        backend,
        registry.registrations,
        adopt,
        priority=registry.priority,
        deregister_on_stop=isinstance(config.backend, ConsulConfig) and config.backend.on_stop == "deregister",
        budget=budget,
    )
    registry.subscribe(reconciler)
    return reconciler


def make_describer(reactor: Any, config: Config, registry: Registry) -> Describer | None:
    """Make the service that fetches the facts of devices, if it is switched on."""
    if not config.ssdp.describe:
        return None
    from ssdpreg.description.describer import Describer
    from ssdpreg.description.fetching import DocumentFetcher

    return Describer(reactor, registry, DocumentFetcher(reactor), config.ssdp.named_networks)


def describe(config: Config) -> tuple[str, str]:
    """Return the names of the backend and of its datacenter, for readers."""
    if isinstance(config.backend, ConsulConfig):
        return f"Consul at {config.backend.address}", config.backend.datacenter or _DATACENTER
    if isinstance(config.backend, EmbeddedConfig):
        return f"own catalogue in {config.backend.path or 'memory'}", _DATACENTER
    return config.backend.type, _DATACENTER


def make_view(
    config: Config,
    scope: str,
    registry: Registry,
    reconciler: Reconciler,
    backend: IRegistryBackend,
    describer: Describer | None = None,
) -> View:
    """Collect what the web server reads."""
    return View(
        registry,
        reconciler,
        *describe(config),
        scope,
        IRequestStatistics(backend, None),
        ILockedBackend(backend, None),
        describer,
    )


def make_web(reactor: Any, config: Config, view: View) -> list[WebService]:
    """Make the web server, unless it is switched off."""
    if config.web.endpoint is None:
        return []
    connections = Connections()
    root = make_root(reactor, view, connections)
    return [WebService(reactor, config.web.endpoint, root, connections, AcceptedHosts(config.web.hosts))]


def makeService(options: Options) -> IService:
    """Make the daemon from its parts."""
    from twisted.internet import reactor

    use_monotonic_clock(reactor)

    config: Config = options["configuration"]
    Logger().info("Read configuration {path}", path=options["config"])
    scope = config.scope(socket.gethostname())
    section = config.backend.options if isinstance(config.backend, PluginBackendConfig) else config.backend
    try:
        backend = find_backend(config.backend.type).make_backend(reactor, section, scope)
    except ConfigError as error:
        # A fault that shows only when the backend is made, such as an invalid certificate.
        raise SystemExit(f"{options['config']}:\n{error}") from error
    budget = LogBudget()
    registry = make_registry(reactor, config, scope, lambda: reconciler.pending, budget=budget)

    def apply(changed: Config) -> None:
        registry.set_rules(make_rules(changed, scope))
        registry.set_search_terms(changed.search_terms())

    reconciler = make_reconciler(reactor, config, registry, backend, budget)
    describer = make_describer(reactor, config, registry)
    daemon = MultiService()
    for service in (
        reconciler,
        registry,
        *([] if describer is None else [describer]),
        *([LifetimeRecorder(reactor, registry, backend)] if ILifetimeStore.providedBy(backend) else []),
        *make_web(reactor, config, make_view(config, scope, registry, reconciler, backend, describer)),
        ReloadService(reactor, options.load, config, apply),
        # Last, so that the service manager learns that all others have started.
        NotifyService(reactor, os.environ),
    ):
        service.setServiceParent(daemon)
    return daemon
