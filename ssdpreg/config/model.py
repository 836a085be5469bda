"""
Classes of the configuration, one for each object in ``registry.json``.

The docstrings are also the descriptions in the JSON Schema, which operators see in their editors.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from types import MappingProxyType
from typing import Annotated, Any, Literal

import attrs

from ssdpreg.config.consul_address import with_scheme
from ssdpreg.config.faults import quote
from ssdpreg.config.reader import NOT_EMPTY, NOT_IN_FILE, OTHER_KEYS, json_schema, read, serialize
from ssdpreg.config.rules import find_check_faults, find_consul_faults, find_ssdp_faults
from ssdpreg.config.values import (
    ACLToken,
    AllowedNetwork,
    ConsulAddress,
    Datacenter,
    HostName,
    HTTPPath,
    InterfaceOrNetwork,
    NodePrefix,
    ReadableFile,
    Scope,
    SearchPorts,
    ServerEndpoint,
    Text,
    Urn,
    WritableFile,
    seconds,
    whole,
)
from ssdpreg.errors import ConfigError, Fault


@attrs.frozen
class CheckConfig:
    """
    Health check of the services of one URN: either an HTTP check or a TCP check. Consul runs it.

    :ivar http: Path of the URL to GET, such as ``/api/2.0/nodes``. Host and port are those of the LOCATION.
    :ivar tcp: Whether the check is a TCP connection to the host and port of the LOCATION.
    :ivar interval: Time between two checks.
    :ivar timeout: Time limit of one check; null for Consul's default.
    :ivar tls_skip_verify: Whether to accept any certificate, such as the self-signed ones of BMCs.
    :ivar deregister_after: Time that a service may be critical before Consul deregisters it; null for no limit.
    """

    http: HTTPPath | None = None
    tcp: bool = False
    interval: Annotated[float, seconds(1, "shorter intervals load the devices")] = 30.0
    timeout: Annotated[float, seconds(0.1, "a device under load responds more slowly")] | None = None
    tls_skip_verify: bool = False
    deregister_after: Annotated[float, seconds(60, "Consul raises shorter times to 60 s")] | None = None

    find_faults = staticmethod(find_check_faults)


@attrs.frozen
class SearchConfig:
    """
    Searches (M-SEARCH) for devices that do not announce themselves.

    :ivar interval: Time between two searches; 0 to search only at start.
    :ivar mx: Maximum delay of a device's reply in seconds; UPnP allows 1 to 5.
    :ivar ttl: Time to live of multicast datagrams in hops; 2 is the default of UPnP.
    :ivar ports: Range of UDP ports from which searches are sent and on which replies are received, such as
        ``40000-40099``; null for any free port.
    """

    interval: Annotated[float, seconds(1, "every device on the network replies to each search", or_zero=True)] = 300.0
    mx: Annotated[int, whole(1, 5)] = 3
    ttl: Annotated[int, whole(1, 255)] = 2
    ports: SearchPorts | None = None


@attrs.frozen
class LimitsConfig:
    """
    Limits of the number of services that the daemon keeps in memory.

    :ivar services: Maximum number of services.
    :ivar services_per_source: Maximum number of services that one sender may announce.
    """

    services: Annotated[int, whole(1)] = 100_000
    services_per_source: Annotated[int, whole(1)] = 4096


@attrs.frozen
class SSDPConfig:
    """
    Services to register, and the network interfaces on which they are discovered.

    :ivar tags: Lists of URNs to register, by tag. The names of their services begin with the tag. A URN that ends in
        ``*`` matches all types that begin with the text before it.
    :ivar checks: Health checks by URN. Each URN must be listed in ``tags``.
    :ivar interfaces: Names of interfaces, or networks in which an interface has an address; empty for all interfaces
        with multicast.
    :ivar search: Searches (M-SEARCH) for devices that do not announce themselves.
    :ivar names: Form of the service names: ``seed`` as in ``RackHD-service:api:2.0``, or ``dns`` as in
        ``rackhd-service-api-2-0``, which Consul DNS can resolve.
    :ivar describe: Whether to fetch the descriptions of devices, with friendly names, models and UUIDs.
    :ivar trust: Lowest standing of a service that is registered: ``confirmed`` if its host answered a search,
        ``direct`` if its host announced it from its own address, ``indirect`` for any sender.
    :ivar allow: Networks to which the LOCATION of a service may point. Health checks are aimed at any host in a
        network that is listed here.
    :ivar limits: Limits of the number of services that the daemon keeps in memory.
    """

    tags: Annotated[Mapping[Text, Annotated[tuple[Urn, ...], NOT_EMPTY]], NOT_EMPTY]
    checks: Mapping[Urn, CheckConfig] = MappingProxyType({})
    interfaces: tuple[InterfaceOrNetwork, ...] = ()
    search: SearchConfig = attrs.field(factory=SearchConfig)
    names: Literal["seed", "dns"] = "seed"
    describe: bool = False
    trust: Literal["indirect", "direct", "confirmed"] = "indirect"
    allow: Annotated[tuple[AllowedNetwork, ...], NOT_EMPTY] = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))
    limits: LimitsConfig = attrs.field(factory=LimitsConfig)

    find_faults = staticmethod(find_ssdp_faults)

    @property
    def named_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks of ``allow`` that select some hosts. Those of the default value contain every address."""
        return tuple(network for network in self.allow if network.prefixlen > 0)


@attrs.frozen
class ConsulConfig:
    """
    Registration of services in Consul.

    :ivar type: ``consul``; may be omitted.
    :ivar mode: ``agent`` registers services with the local agent, ``catalog`` writes each device to the catalog, as a
        node of its own.
    :ivar address: ``HOST:PORT``, ``http://HOST:PORT``, ``https://HOST:PORT`` or ``unix:///PATH``. The default port is
        8500.
    :ivar datacenter: Consul datacenter; null for the datacenter of the agent.
    :ivar scheme: ``http`` or ``https``.
    :ivar token: ACL token.
    :ivar token_file: File with the ACL token.
    :ivar ca_file: File with the certificates of trusted authorities.
    :ivar cert_file: File with the client certificate.
    :ivar key_file: File with the private key of the client certificate.
    :ivar verify_tls: Whether Consul's certificate is verified. Only the environment can disable it.
    :ivar service_tags: Consul tags of every service.
    :ivar on_stop: Treatment of the services when the daemon stops: ``leave`` keeps them until the TTL check of the
        daemon expires, ``deregister`` removes them at once.
    :ivar scope: Name under which this daemon registers its services. It changes and removes only services with this
        name; null for the name of the lock, or without a lock for the host name.
    :ivar lock: Name that several daemons on one network share in catalog mode: one of them writes, and another one
        takes over when it ends; null for a daemon of its own.
    :ivar reap_after: Time after the end of all daemons of a scope until its nodes are removed from the catalog, by any
        daemon in catalog mode.
    :ivar node_prefix: Beginning of the names of all nodes in catalog mode, such as ``ssdp-``, to which an ACL policy
        can limit the right to write nodes.
    """

    type: Literal["consul"] = "consul"
    mode: Literal["agent", "catalog"] = "agent"
    address: ConsulAddress = "127.0.0.1:8500"
    datacenter: Datacenter | None = None
    scheme: Literal["http", "https"] = "http"
    token: ACLToken | None = attrs.field(default=None, repr=False)
    token_file: ReadableFile | None = None
    ca_file: ReadableFile | None = None
    cert_file: ReadableFile | None = None
    key_file: ReadableFile | None = None
    verify_tls: bool = attrs.field(default=True, metadata=NOT_IN_FILE)
    service_tags: tuple[Text, ...] = ()
    on_stop: Literal["leave", "deregister"] = "leave"
    scope: Scope | None = None
    lock: Scope | None = None
    reap_after: Annotated[float, seconds(60, "the services of a daemon that restarts must not be removed")] = 600.0
    node_prefix: NodePrefix = ""

    find_faults = staticmethod(find_consul_faults)


@attrs.frozen
class EmbeddedConfig:
    """
    Registration of services in the daemon's own catalogue, without Consul.

    :ivar type: ``embedded``.
    :ivar path: SQLite database file, which is created if it does not exist; null to keep the catalogue in memory.
    """

    type: Literal["embedded"] = "embedded"
    path: WritableFile | None = None


@attrs.frozen
class PluginBackendConfig:
    """
    Registration of services by a plugin.

    :ivar type: Name of the plugin.
    :ivar options: All other keys of the section. The plugin documents them.
    """

    type: Text
    options: Mapping[str, Any] = attrs.field(factory=dict, repr=False, metadata=OTHER_KEYS)


@attrs.frozen
class WebConfig:
    """
    HTTP server with the status page, the read API and the metrics.

    :ivar endpoint: Twisted server endpoint on which the server listens; null to disable the server.
    :ivar hosts: Names by which clients may call the server, besides IP addresses, ``localhost`` and the name of this
        host. Requests with other names are rejected.
    """

    endpoint: ServerEndpoint | None = "tcp:8580:interface=127.0.0.1"
    hosts: tuple[HostName, ...] = ()


@attrs.frozen
class Config:
    """
    Configuration of ssdpreg.

    :ivar ssdp: Services to register, and the network interfaces on which they are discovered.
    :ivar backend: Registry in which the services are registered.
    :ivar web: HTTP server with the status page, the read API and the metrics.
    """

    ssdp: SSDPConfig
    backend: ConsulConfig | EmbeddedConfig | PluginBackendConfig = attrs.field(factory=ConsulConfig)
    web: WebConfig = attrs.field(factory=WebConfig)

    def search_terms(self) -> dict[str, str]:
        """Return the tag of each URN, in the order of the file."""
        return {urn: tag for tag, urns in self.ssdp.tags.items() for urn in urns}

    def scope(self, host_name: str) -> str:
        """
        Return the name under which this daemon registers its services.

        :param host_name: Name of this host, which is the default without a lock.
        """
        if isinstance(self.backend, ConsulConfig):
            return self.backend.scope or self.backend.lock or host_name
        return host_name

    def with_consul(self, address: str | None = None, datacenter: str | None = None) -> Config:
        """
        Return a copy with the options of the command line.

        :param address: Replaces ``backend.address``, and ``backend.scheme`` if it starts with a scheme; ``None`` for
            no change.
        :param datacenter: Replaces ``backend.datacenter``; ``None`` for no change.
        :raise ConfigError: If an option is invalid, or the backend is not Consul.
        """
        options = {"address": address, "datacenter": datacenter}
        given = {key: value for key, value in options.items() if value is not None}
        if not given:
            return self
        if not isinstance(self.backend, ConsulConfig):
            problem = f"is valid only with Consul, but backend.type is {quote(self.backend.type)}"
            raise ConfigError(*(Fault(f"--{key}", problem) for key in given))
        given = with_scheme(given)
        try:
            parsed = read(given, ConsulConfig)
        except ConfigError as error:
            raise ConfigError(*(Fault(f"--{fault.path}", fault.problem) for fault in error.faults)) from None
        changes = {key: getattr(parsed, key) for key in given}
        return attrs.evolve(self, backend=attrs.evolve(self.backend, **changes))


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the configuration file."""
    return json_schema(Config)


def normalised(config: Config) -> dict[str, Any]:
    """Convert a configuration into the JSON of its file, with all defaults filled in and secrets hidden."""
    return serialize(config)
