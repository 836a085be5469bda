"""``twistd ssdpreg``: its options, and which part is wired to which."""

from __future__ import annotations

import socket
from functools import partial
from typing import Any, ClassVar

from twisted.application.service import IService, MultiService
from twisted.plugin import getPlugins
from twisted.python import usage

from ssdpreg import config as configuration
from ssdpreg.advertisements import AdvertisementTable
from ssdpreg.config import Config, ConsulConfig, PluginBackendConfig
from ssdpreg.errors import ConfigError, Fault
from ssdpreg.interfaces import IBackendMaker, IRegistryBackend
from ssdpreg.location import LocationRules
from ssdpreg.reconciler import Reconciler
from ssdpreg.registration import RegistrationRules
from ssdpreg.registry import Registry
from ssdpreg.ssdp.network import Network


class Options(usage.Options):
    """What the command line says, and after it was read the configuration, as ``options["configuration"]``."""

    synopsis = "[--config FILE] [--address HOST:PORT] [--datacenter DC]"
    longdesc = "Hears which services announce themselves over SSDP, and keeps Consul true to it."

    optParameters: ClassVar = [
        ["config", "c", None, "registry.json; without it the first of ./, $HOME, /etc/ssdpreg and /etc/infranm.d."],
        ["address", "a", None, "Consul's address, instead of the file's."],
        ["datacenter", "d", None, "Consul's datacenter, instead of the file's."],
    ]
    optFlags: ClassVar = [["log-json", None, "Log to standard output, one flat JSON object a line."]]

    def postOptions(self) -> None:
        try:
            self["config"] = self["config"] or configuration.find()
            self["configuration"] = configuration.load(self["config"]).with_consul(self["address"], self["datacenter"])
            find_backend(self["configuration"])
        except ConfigError as error:
            raise usage.UsageError(f"{self['config'] or 'No configuration'}:\n{error}") from error
        if self["log-json"]:
            # As the option --logger of twistd itself, which begins to log before it makes any service.
            assert self.parent is not None
            self.parent["logger"] = "ssdpreg.json_log.stdout_observer"


def find_backend(config: Config) -> IBackendMaker:
    """
    Find the plugin that makes the configured backend.

    :raise ConfigError: If there is none.
    """
    makers = {maker.type: maker for maker in getPlugins(IBackendMaker)}
    maker = makers.get(config.backend.type)
    if maker is None:
        raise ConfigError(Fault("backend.type", f"{config.backend.type!r} is none of {', '.join(sorted(makers))}"))
    return maker


def make_registry(reactor: Any, config: Config, scope: str) -> Registry:
    """Make the part that hears and asks."""
    ssdp = config.ssdp
    registry = Registry(
        reactor,
        partial(Network, reactor, interfaces=ssdp.interfaces, ttl=ssdp.search.ttl),
        AdvertisementTable(ssdp.limits.services, ssdp.limits.services_per_source),
        RegistrationRules(
            scope=scope,
            dns_names=ssdp.names == "dns",
            tags=config.backend.service_tags if isinstance(config.backend, ConsulConfig) else (),
            checks=ssdp.checks,
        ),
        LocationRules(ssdp.allow),
        search_interval=ssdp.search.interval,
        mx=ssdp.search.mx,
    )
    registry.set_search_terms(config.search_terms())
    return registry


def make_reconciler(reactor: Any, config: Config, registry: Registry, backend: IRegistryBackend) -> Reconciler:
    """Make the part that keeps the backend true."""
    reconciler = Reconciler(
        reactor,
        backend,
        registry.adopt,
        deregister_on_stop=isinstance(config.backend, ConsulConfig) and config.backend.on_stop == "deregister",
    )
    registry.subscribe(reconciler)
    return reconciler


def makeService(options: Options) -> IService:
    """Wire the daemon together."""
    from twisted.internet import reactor

    config: Config = options["configuration"]
    scope = socket.gethostname()
    section = config.backend.options if isinstance(config.backend, PluginBackendConfig) else config.backend
    backend = find_backend(config).make_backend(reactor, section, scope)
    registry = make_registry(reactor, config, scope)
    daemon = MultiService()
    make_reconciler(reactor, config, registry, backend).setServiceParent(daemon)
    registry.setServiceParent(daemon)
    return daemon
