"""An advertisement becomes a registration: its name, ID, address, port, meta data and checks. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ssdpreg.errors import BackendRefusedError, BackendUnavailableError

#: What every service ID of ours begins with.
ID_PREFIX = "ssdpreg-"
#: The name, and the value of ``external-source``, by which the daemon is known.
SOURCE = "ssdpreg"


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
