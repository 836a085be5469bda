"""Registrations, checks, plans and outcomes, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ssdpreg.errors import BackendRefusedError, BackendUnavailableError
from ssdpreg.registration.meta import META_DEVICE, META_LOCATION, META_NT, META_SCOPE, META_SERVER, META_USN


@dataclass(frozen=True, slots=True)
class Check:
    """
    Health check of a service.

    The ID contains a digest of all other attributes, so two checks are equal if their IDs are. A check that was read
    from a backend, which stores only the ID, can be compared with a configured one.

    :ivar check_id: ``<service ID>-<kind>`` and a digest of the other attributes.
    :ivar kind: ``alive`` (this daemon is alive), ``http`` or ``tcp``.
    :ivar target: URL or ``host:port`` to connect to; empty for ``alive``.
    :ivar interval: Seconds between two runs of the check.
    :ivar timeout: Seconds that one run may take, or None for the backend's default.
    :ivar tls_skip_verify: Whether any TLS certificate is accepted, such as the self-signed one of a BMC.
    :ivar deregister_after: Seconds in a critical state after which the backend removes the service, or None for never.
    """

    check_id: str
    kind: str = field(default="", compare=False)
    target: str = field(default="", compare=False)
    interval: float = field(default=0.0, compare=False)
    timeout: float | None = field(default=None, compare=False)
    tls_skip_verify: bool = field(default=False, compare=False)
    deregister_after: float | None = field(default=None, compare=False)


@dataclass(frozen=True, eq=False)
class Registration:
    """
    A service as a backend stores it. Two registrations are equal if all their fields are.

    The class has no slots, so that a subclass can derive fields from other values in place of storing them: see
    :class:`~ssdpreg.registration.announced.AnnouncedRegistration`. A call of the class returns a
    :class:`StoredRegistration`.

    :ivar service_id: ``ssdpreg-<slug>-<16 hex digits>``. It does not change while the device offers the service.
    :ivar name: Name of the service for readers, such as ``RackHD-service:api:2.0``.
    :ivar address: IP address, without brackets or zone, or host name.
    :ivar port: 1 to 65535.
    :ivar tags: Tags, in the order of the configuration.
    :ivar meta: Facts of the advertisement, see :mod:`ssdpreg.registration.meta`. Nothing in it changes from one
        advertisement to the next.
    :ivar checks: The ``alive`` check and the configured check, if there is one.
    """

    __slots__ = ()

    service_id: str
    name: str
    address: str
    port: int
    tags: tuple[str, ...]
    meta: Mapping[str, str]
    checks: frozenset[Check]

    def __new__(cls, *_: Any, **__: Any) -> Any:
        """Return a registration without values. They are set by the initializer of the dataclass."""
        return object.__new__(StoredRegistration)

    def __eq__(self, other: object) -> bool:
        # Not that of a dataclass, which compares only objects of the same class.
        if not isinstance(other, Registration):
            return NotImplemented
        return self is other or (
            self.service_id == other.service_id
            and self.address == other.address
            and self.port == other.port
            and self.name == other.name
            and self.tags == other.tags
            and self.meta == other.meta
            and self.checks == other.checks
        )

    # Meta has no hash.
    __hash__ = None  # type: ignore[assignment]

    @property
    def device_id(self) -> str:
        """ID of the device."""
        return self.meta.get(META_DEVICE, "")

    @property
    def location(self) -> str:
        """URL as announced."""
        return self.meta.get(META_LOCATION, "")

    @property
    def nt(self) -> str:
        """Type as announced."""
        return self.meta.get(META_NT, "")

    @property
    def usn(self) -> str:
        """USN as announced."""
        return self.meta.get(META_USN, "")

    @property
    def server(self) -> str:
        """Software of the device, as announced."""
        return self.meta.get(META_SERVER, "")

    @property
    def scope(self) -> str:
        """Scope of the daemon that registered the service."""
        return self.meta.get(META_SCOPE, "")


@dataclass(frozen=True, slots=True, eq=False)
class StoredRegistration(Registration):
    """Registration that stores all its fields."""


@dataclass(frozen=True, slots=True)
class Plan:
    """
    Changes to a backend.

    :ivar register: Registrations to create or replace.
    :ivar deregister: Registrations to remove.
    """

    register: tuple[Registration, ...] = ()
    deregister: tuple[Registration, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.register or self.deregister)

    def __len__(self) -> int:
        return len(self.register) + len(self.deregister)

    @property
    def service_ids(self) -> list[str]:
        """IDs of all services."""
        return [registration.service_id for registration in (*self.register, *self.deregister)]


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    Result of a plan.

    :ivar applied: IDs of the services whose state in the backend is now the planned one.
    :ivar refused: Error by ID of the services whose change the backend rejected.
    :ivar unavailable: Reason why the remaining changes were not tried or not answered; None if nothing remains.
    """

    applied: frozenset[str] = frozenset()
    refused: Mapping[str, BackendRefusedError] = field(default_factory=dict)
    unavailable: BackendUnavailableError | None = None
