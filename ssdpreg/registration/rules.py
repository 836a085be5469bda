"""An advertisement becomes a registration: its name, ID, address, port, meta data and checks. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Protocol

from ssdpreg.discovery.table import Advertisement
from ssdpreg.errors import BackendRefusedError, BackendUnavailableError
from ssdpreg.registration.names import dns_name, seed_name

#: What every service ID of ours begins with.
ID_PREFIX = "ssdpreg-"
#: The name, and the value of ``external-source``, by which the daemon is known.
SOURCE = "ssdpreg"

#: Bytes of a value that Consul takes as meta data.
_META_LIMIT = 512
_SLUG_LIMIT = 32


@dataclass(frozen=True, slots=True)
class Check:
    """
    A condition that a service has to meet to count as healthy.

    The ID holds a digest of everything else, so two checks are equal if their IDs are, and a check that was read back
    from a backend, which keeps no more than the ID, can be told from one that has changed.

    :ivar check_id: ``<service ID>-<kind>``, and a digest of what is to be done.
    :ivar kind: ``alive`` (this daemon lives), ``http`` or ``tcp``.
    :ivar target: The URL, or ``host:port``, to be tried; empty for ``alive``.
    :ivar interval: Seconds between two tries.
    :ivar timeout: Seconds that one try may last, or ``None`` for the backend's default.
    :ivar tls_skip_verify: Whether a certificate nobody vouches for is good enough, as BMCs have it.
    :ivar deregister_after: Seconds of failure after which the backend itself drops the service, or ``None`` for never.
    """

    check_id: str
    kind: str = field(default="", compare=False)
    target: str = field(default="", compare=False)
    interval: float = field(default=0.0, compare=False)
    timeout: float | None = field(default=None, compare=False)
    tls_skip_verify: bool = field(default=False, compare=False)
    deregister_after: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Registration:
    """
    A service as a backend is to know it.

    :ivar service_id: ``ssdpreg-<slug>-<16 hex digits>``: the same for as long as the device offers the service.
    :ivar name: What readers ask for, such as ``RackHD-service:api:2.0``.
    :ivar address: IP address, without brackets or zone, or host name.
    :ivar port: 1 to 65535.
    :ivar tags: Labels, in the order of the configuration.
    :ivar meta: What the advertisement said; nothing that changes from one advertisement to the next.
    :ivar checks: The ``alive`` check, and those of the configuration.
    """

    service_id: str
    name: str
    address: str
    port: int
    tags: tuple[str, ...]
    meta: Mapping[str, str]
    checks: frozenset[Check]


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What to change in a backend.

    :ivar register: To be created or replaced.
    :ivar deregister: To be removed.
    """

    register: tuple[Registration, ...] = ()
    deregister: tuple[Registration, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.register or self.deregister)

    def __len__(self) -> int:
        return len(self.register) + len(self.deregister)


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What became of a plan.

    :ivar applied: IDs of the services for which the backend now says what the plan did.
    :ivar refused: The answer, by service ID, where it was no.
    :ivar unavailable: Why the rest was not answered, or not tried; ``None`` where there is no rest.
    """

    applied: frozenset[str] = frozenset()
    refused: Mapping[str, BackendRefusedError] = field(default_factory=dict)
    unavailable: BackendUnavailableError | None = None


class CheckRule(Protocol):
    """What the configuration says of a check: see :class:`ssdpreg.config.CheckConfig`."""

    @property
    def http(self) -> str | None: ...
    @property
    def interval(self) -> float: ...
    @property
    def timeout(self) -> float | None: ...
    @property
    def tls_skip_verify(self) -> bool: ...
    @property
    def deregister_after(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class RegistrationRules:
    """
    How the operator wants services to be written down.

    :ivar scope: Marks what is ours among several daemons: the host's name, as a rule.
    :ivar dns_names: Whether names are to be fit for DNS, instead of the original's.
    :ivar tags: Tags of every service.
    :ivar checks: Checks by search term.
    """

    scope: str
    dns_names: bool = False
    tags: tuple[str, ...] = ()
    checks: Mapping[str, CheckRule] = field(default_factory=dict)

    def registration(self, advertisement: Advertisement) -> Registration:
        """Say how a live service is to be registered."""
        name = dns_name if self.dns_names else seed_name
        service_id = self.service_id(advertisement.device_id, advertisement.urn)
        meta = {
            "external-source": SOURCE,
            "ssdpreg-scope": self.scope,
            "ssdp-device": advertisement.device_id,
            "ssdp-usn": advertisement.usn,
            "ssdp-nt": advertisement.nt,
            "ssdp-location": advertisement.location,
            "ssdp-server": advertisement.server,
            "ssdp-max-age": str(advertisement.max_age),
        }
        return Registration(
            service_id=service_id,
            name=name(advertisement.term.tag, advertisement.urn),
            address=advertisement.endpoint.host,
            port=advertisement.endpoint.port,
            tags=self.tags,
            meta={key: _meta_value(value) for key, value in meta.items()},
            checks=frozenset(self._checks(service_id, advertisement)),
        )

    def service_id(self, device_id: str, urn: str) -> str:
        """
        Name a service for good: by the device and the type, and nothing that changes.

        A stranger's text becomes letters, digits and hyphens, which every URL takes, and a digest, so that no two
        services share an ID.
        """
        return _service_id(self.scope, device_id.casefold(), urn)

    def _checks(self, service_id: str, advertisement: Advertisement) -> list[Check]:
        checks = [Check(f"{service_id}-alive", kind="alive")]
        rule = self.checks.get(advertisement.term.urn)
        if rule is not None:
            netloc = advertisement.endpoint.netloc
            target = netloc if rule.http is None else f"{advertisement.endpoint.scheme}://{netloc}{rule.http}"
            kind = "tcp" if rule.http is None else "http"
            check = Check("", kind, target, rule.interval, rule.timeout, rule.tls_skip_verify, rule.deregister_after)
            digest = hashlib.sha256(repr(check).encode()).hexdigest()[:8]
            checks.append(replace(check, check_id=f"{service_id}-{kind}-{digest}"))
        return checks


@lru_cache(8192)
def _service_id(*identity: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", identity[-1].split(":", 2)[-1].lower())[:_SLUG_LIMIT].strip("-")
    digest = hashlib.sha256("\0".join(identity).encode()).hexdigest()[:16]
    return f"{ID_PREFIX}{slug}-{digest}"


def _meta_value(value: str) -> str:
    """Make a stranger's text fit to be stored and shown: no control characters, and no more than Consul takes."""
    if not value.isprintable():
        value = "".join(character for character in value if character.isprintable())
    return value.encode()[:_META_LIMIT].decode(errors="ignore")
