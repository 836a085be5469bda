"""The configuration: ``registry.json`` and the environment to frozen values, or every fault of them at once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeGuard, cast

import attrs

from ssdpreg.config.environment import VARIABLES, borrow, scheme_of
from ssdpreg.config.schema import json_schema
from ssdpreg.config.structure import (
    NOT_EMPTY,
    NOT_IN_FILE,
    REST,
    FaultError,
    Path,
    decode,
    destructure,
    read_text,
    spell,
    strict_converter,
    structure,
)
from ssdpreg.config.values import (
    Address,
    Datacenter,
    Endpoint,
    HTTPPath,
    Interface,
    Network,
    OwnFile,
    ReadableFile,
    Text,
    Token,
    Urn,
    seconds,
    show,
    whole,
)
from ssdpreg.errors import ConfigError, Fault
from ssdpreg.registration.names import dns_name


@attrs.frozen
class CheckConfig:
    """
    A check that the backend makes of each service of a kind: HTTP or TCP, one of the two.

    :ivar http: Path of the URL to GET, such as ``/api/2.0/nodes``.
    :ivar tcp: Whether being able to connect is enough.
    :ivar interval: Time between two tries.
    :ivar timeout: Time that one try may take; the backend's own default without it.
    :ivar tls_skip_verify: Whether to take any certificate, such as the one a BMC made for itself.
    :ivar deregister_after: Time of failure after which the backend drops the service; never, without it.
    """

    http: HTTPPath | None = None
    tcp: bool = False
    interval: Annotated[float, seconds(1, "devices have other things to do")] = 30.0
    timeout: Annotated[float, seconds(0.1, "a device under load takes longer to answer")] | None = None
    tls_skip_verify: bool = False
    deregister_after: Annotated[float, seconds(60, "Consul makes a minute of it")] | None = None


@attrs.frozen
class SearchConfig:
    """
    How to ask for those that stay silent.

    :ivar interval: Time between two searches; 0 searches at start only.
    :ivar mx: Seconds that devices may take to answer, of which UPnP allows 1 to 5.
    :ivar ttl: Number of networks that a search may pass through, 2 as UPnP has it.
    """

    interval: Annotated[float, seconds(1, "every device on the network answers each search", or_zero=True)] = 300.0
    mx: Annotated[int, whole(1, 5)] = 3
    ttl: Annotated[int, whole(1, 255)] = 2


@attrs.frozen
class LimitsConfig:
    """
    How much is remembered at most, whatever the network sends.

    :ivar services: Services in all.
    :ivar services_per_source: Services that one sender may announce.
    """

    services: Annotated[int, whole(1)] = 100_000
    services_per_source: Annotated[int, whole(1)] = 4096


@attrs.frozen
class SSDPConfig:
    """
    What to hear, and what to make of it.

    :ivar tags: URNs by the tag that names of their services begin with. A URN may end in ``*``.
    :ivar checks: Checks by URN, which is one of those in ``tags``.
    :ivar interfaces: Names, or networks that an interface has an address in; empty for all that can multicast.
    :ivar search: How to ask for those that stay silent.
    :ivar names: What services are called: as the original did (``RackHD-service:api:2.0``), or so that DNS can serve
        the name (``rackhd-service-api-2-0``).
    :ivar describe: Whether to fetch descriptions for friendly names, models and UUIDs.
    :ivar allow: Networks that a LOCATION may point into.
    :ivar limits: How much is remembered at most.
    """

    tags: Annotated[Mapping[Text, Annotated[tuple[Urn, ...], NOT_EMPTY]], NOT_EMPTY]
    checks: Mapping[Urn, CheckConfig] = MappingProxyType({})
    interfaces: tuple[Interface, ...] = ()
    search: SearchConfig = attrs.field(factory=SearchConfig)
    names: Literal["seed", "dns"] = "seed"
    describe: bool = False
    allow: Annotated[tuple[Network, ...], NOT_EMPTY] = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))
    limits: LimitsConfig = attrs.field(factory=LimitsConfig)


@attrs.frozen
class ConsulConfig:
    """
    Services are written down in Consul.

    :ivar type: ``consul``, or left out.
    :ivar mode: ``agent`` registers with the local agent, ``catalog`` writes to the catalog itself.
    :ivar address: ``HOST:PORT``, also with ``http://`` or ``https://`` before it, or ``unix:///PATH``. Without a port,
        8500.
    :ivar datacenter: Consul's region; the agent's own without it.
    :ivar scheme: ``http`` or ``https``.
    :ivar token: ACL token.
    :ivar token_file: File with the ACL token.
    :ivar ca_file: File with certificates to trust.
    :ivar cert_file: File with the certificate that we show.
    :ivar key_file: File with the key to it.
    :ivar verify_tls: Whether Consul's certificate has to be good. Only the environment can say no.
    :ivar service_tags: Consul's tags of every service.
    :ivar on_stop: What becomes of the services when the daemon is stopped: ``leave`` lets the check on the daemon run
        out, ``deregister`` removes them at once.
    :ivar lock: Name of the lock by which several daemons agree on which one writes.
    """

    type: Literal["consul"] = "consul"
    mode: Literal["agent", "catalog"] = "agent"
    address: Address = "127.0.0.1:8500"
    datacenter: Datacenter | None = None
    scheme: Literal["http", "https"] = "http"
    token: Token | None = attrs.field(default=None, repr=False)
    token_file: ReadableFile | None = None
    ca_file: ReadableFile | None = None
    cert_file: ReadableFile | None = None
    key_file: ReadableFile | None = None
    verify_tls: bool = attrs.field(default=True, metadata=NOT_IN_FILE)
    service_tags: tuple[Text, ...] = ()
    on_stop: Literal["leave", "deregister"] = "leave"
    lock: Text | None = None


@attrs.frozen
class EmbeddedConfig:
    """
    Services are written down by the daemon itself.

    :ivar type: ``embedded``.
    :ivar path: File of the SQLite database, which need not exist; null keeps all in memory.
    """

    type: Literal["embedded"] = "embedded"
    path: OwnFile | None = None


@attrs.frozen
class PluginBackendConfig:
    """
    Services are written down by a plugin.

    :ivar type: The name that the plugin goes by.
    :ivar options: All other keys: the plugin says what they may be.
    """

    type: Text
    options: Mapping[str, Any] = attrs.field(factory=dict, repr=False, metadata=REST)


@attrs.frozen
class WebConfig:
    """
    What the daemon answers by itself.

    :ivar endpoint: Where it listens, as Twisted describes endpoints; null for nowhere.
    """

    endpoint: Endpoint | None = "tcp:8580:interface=127.0.0.1"


@attrs.frozen
class Config:
    """
    All that the operator says.

    :ivar ssdp: What to hear, and what to make of it.
    :ivar backend: Where services are written down.
    :ivar web: What the daemon answers by itself.
    """

    ssdp: SSDPConfig
    backend: ConsulConfig | EmbeddedConfig | PluginBackendConfig = attrs.field(factory=ConsulConfig)
    web: WebConfig = attrs.field(factory=WebConfig)

    def search_terms(self) -> dict[str, str]:
        """Give the tag of each URN, in the order of the file."""
        return {urn: tag for tag, urns in self.ssdp.tags.items() for urn in urns}

    def with_consul(self, address: str | None = None, datacenter: str | None = None) -> Config:
        """
        Give the same configuration with what the command line says of Consul.

        :param address: As in the file, or ``None`` to leave it.
        :param datacenter: As in the file, or ``None`` to leave it.
        :raise ConfigError: If one of them makes no sense, or there is no Consul.
        """
        flags = {"address": address, "datacenter": datacenter}
        given = {key: value for key, value in flags.items() if value is not None}
        if not given:
            return self
        if not isinstance(self.backend, ConsulConfig):
            problem = f"means nothing where backend.type is {show(self.backend.type)}"
            raise ConfigError(*(Fault(f"--{key}", problem) for key in given))
        given = _with_scheme(given)
        try:
            read = structure(_CONVERTER, given, ConsulConfig)
        except ConfigError as error:
            raise ConfigError(*(Fault(f"--{fault.path}", fault.problem) for fault in error.faults)) from None
        changes = {key: getattr(read, key) for key in given}
        return attrs.evolve(self, backend=attrs.evolve(self.backend, **changes))


#: What a key may say already of a feature that is yet to come. Each feature, when it comes, deletes its row.
_NOT_YET: Mapping[type, Mapping[str, object]] = {
    SSDPConfig: {"describe": False},
    ConsulConfig: {"mode": "agent", "lock": None},
}


def load(path: str, environ: Mapping[str, str] = os.environ) -> Config:
    """
    Read a file, and the environment where the file says nothing.

    :param path: Of the file.
    :param environ: The environment.
    :raise ConfigError: With everything that is wrong with either.
    """
    return parse(read_text(path), environ)


def find(environ: Mapping[str, str] = os.environ) -> str:
    """
    Find the file to read where the command line names none.

    :param environ: The environment, for ``HOME``.
    :raise ConfigError: If it is in none of the places.
    """
    home = environ.get("HOME")
    places = [
        "registry.json",
        *([os.path.join(home, "registry.json")] if home else []),
        "/etc/ssdpreg/registry.json",
        "/etc/infranm.d/registry.json",
    ]
    for place in places:
        if os.path.exists(place):
            return place
    raise ConfigError(Fault("", f"there is no {', no '.join(places)}"))


def parse(text: str, environ: Mapping[str, str] | None = None) -> Config:
    """
    Read the text of a file.

    :param text: JSON.
    :param environ: Speaks where the file says nothing of Consul.
    :raise ConfigError: With everything that is wrong, in the order of the file.
    """
    raw = decode(text)
    if not isinstance(raw, dict) or not _is_consul(backend := raw.get("backend", {})):
        return structure(_CONVERTER, raw, Config)
    borrowed = borrow(environ or {}, backend)
    raw = {**raw, "backend": _with_scheme({**backend, **borrowed.values})}
    faults = borrowed.faults
    try:
        config = structure(_CONVERTER, raw, Config)
    except ConfigError as error:
        places = {f"backend.{key}": name for key, name in VARIABLES.items() if key in borrowed.values}
        faults = (*(Fault(places.get(fault.path, fault.path), fault.problem) for fault in error.faults), *faults)
    if faults:
        raise ConfigError(*faults)
    assert isinstance(config.backend, ConsulConfig)
    return attrs.evolve(config, backend=attrs.evolve(config.backend, verify_tls=borrowed.verify_tls))


def schema() -> dict[str, Any]:
    """Describe the file as JSON Schema."""
    return json_schema(Config)


def normalised(config: Config) -> dict[str, Any]:
    """Give a configuration as the file would say it, with nothing left out and secrets hidden."""
    return cast(dict[str, Any], destructure(config))


def _is_consul(backend: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(backend, dict) and backend.get("type", "consul") == "consul"


def _with_scheme(backend: Mapping[str, Any]) -> dict[str, Any]:
    scheme = scheme_of(backend)
    return {**backend} if scheme is None else {**backend, "scheme": backend.get("scheme", scheme)}


def _wrong_together(cls: type, raw: Mapping[str, Any]) -> Iterator[FaultError]:
    """Tell what is wrong between the keys of an object, of which each by itself may be wrong too."""
    for key, fine in _NOT_YET.get(cls, {}).items():
        if raw.get(key, fine) != fine:
            yield FaultError((key,), f"{show(raw[key])} is not supported yet")
    if cls is SSDPConfig:
        yield from _wrong_terms(raw)
    elif cls is CheckConfig:
        yield from _wrong_check(raw)
    elif cls is ConsulConfig:
        yield from _wrong_consul(raw)


def _wrong_terms(raw: Mapping[str, Any]) -> Iterator[FaultError]:
    first: dict[str, Path] = {}
    named: dict[str, Path] = {}
    for path, tag, urn in _terms(raw.get("tags")):
        if urn in first:
            yield FaultError(path, f"{show(urn)} is already at {spell(('ssdp', *first[urn]))}")
            continue
        first[urn] = path
        # What a pattern will meet, and so be called, is not known yet.
        if raw.get("names") == "dns" and not urn.endswith("*"):
            name = dns_name(tag, urn)
            if name in named:
                yield FaultError(path, f"is called {show(name)} in DNS, as is {spell(('ssdp', *named[name]))}")
            named.setdefault(name, path)
    checks = raw.get("checks")
    if first and isinstance(checks, dict):
        for urn in checks.keys() - first.keys():
            yield FaultError(("checks", urn), "is none of the URNs in ssdp.tags")


def _terms(tags: object) -> Iterator[tuple[Path, str, str]]:
    if isinstance(tags, dict):
        for tag, urns in tags.items():
            if isinstance(urns, list):
                yield from ((("tags", tag, index), tag, urn) for index, urn in enumerate(urns) if isinstance(urn, str))


def _wrong_check(raw: Mapping[str, Any]) -> Iterator[FaultError]:
    if (raw.get("http") is None) == (raw.get("tcp", False) is False):
        yield FaultError((), 'takes one of "http": "/PATH" and "tcp": true')


def _wrong_consul(raw: Mapping[str, Any]) -> Iterator[FaultError]:
    given = {key for key, value in raw.items() if value is not None}
    for key, other in (("cert_file", "key_file"), ("key_file", "cert_file")):
        if key in given and other not in given:
            yield FaultError((key,), f"is of no use without {other}")
    if {"token", "token_file"} <= given:
        yield FaultError(("token_file",), "there is a token already; leave out one of them")
    scheme = scheme_of(raw)
    if scheme is not None and raw["scheme"] != scheme:
        yield FaultError(("scheme",), f"{show(raw['scheme'])} contradicts the address, which says {scheme}")


_CONVERTER = strict_converter(_wrong_together)
