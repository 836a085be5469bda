"""Registrations of live services, which keep the advertisement in place of what can be derived from it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Protocol

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.location import Endpoint
from ssdpreg.registration.meta import NO_FACTS, sanitize, to_meta
from ssdpreg.registration.model import Check, Registration


class CheckRule(Protocol):
    """Configuration of a check: see :class:`ssdpreg.config.CheckConfig`."""

    def __hash__(self) -> int: ...
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


class AnnouncedRegistration(Registration):
    """
    Registration of a live service. It is equal to a :class:`Registration` with the same fields.

    Meta and checks are made whenever they are read. With them, a registration has 800 bytes, and the daemon keeps one
    for each live service. Without them it has 112, because the table of live services has the advertisement anyway.

    :ivar advertisement: The advertisement.
    """

    __slots__ = ("_facts", "_origin", "advertisement")

    advertisement: Advertisement
    _facts: Mapping[str, str]
    # Scope, and the configured check. Most registrations share the pair.
    _origin: tuple[str, CheckRule | None]

    def __new__(cls, **values: Any) -> Any:
        """Return an ordinary registration: :func:`dataclasses.replace` calls the class with all fields."""
        return Registration(**values)

    @classmethod
    def make(
        cls,
        service_id: str,
        name: str,
        tags: tuple[str, ...],
        advertisement: Advertisement,
        scope: str,
        rule: CheckRule | None,
        facts: Mapping[str, str] = NO_FACTS,
    ) -> AnnouncedRegistration:
        """
        Return the registration of a live service.

        :param rule: The configured check, or None if there is only the check ``alive``.
        :param facts: Facts that the device states about itself: see :func:`ssdpreg.registration.meta.make_facts`.
        """
        self = object.__new__(cls)
        set_field = object.__setattr__
        set_field(self, "service_id", service_id)
        set_field(self, "name", name)
        set_field(self, "address", advertisement.host)
        set_field(self, "port", advertisement.port)
        set_field(self, "tags", tags)
        set_field(self, "advertisement", advertisement)
        set_field(self, "_origin", _shared_origin(scope, rule))
        set_field(self, "_facts", facts)
        return self

    @property
    def meta(self) -> dict[str, str]:
        """See :func:`ssdpreg.registration.meta.to_meta`."""
        return to_meta(self.advertisement, self._origin[0], self._facts)

    @property
    def checks(self) -> frozenset[Check]:
        """The ``alive`` check and the configured check, if there is one."""
        alive = Check(f"{self.service_id}-alive", kind="alive")
        rule = self._origin[1]
        if rule is None:
            return frozenset((alive,))
        return frozenset((alive, _configured_check(self.service_id, rule, self.advertisement.endpoint)))

    # The facts that readers need most often, without the other values of Meta.

    @property
    def device_id(self) -> str:
        return sanitize(self.advertisement.device_id)

    @property
    def location(self) -> str:
        return sanitize(self.advertisement.location)

    @property
    def nt(self) -> str:
        return sanitize(self.advertisement.nt)


@lru_cache(128)
def _shared_origin(scope: str, rule: CheckRule | None) -> tuple[str, CheckRule | None]:
    """Return the same pair for the same arguments."""
    return scope, rule


def _configured_check(service_id: str, rule: CheckRule, endpoint: Endpoint) -> Check:
    target = endpoint.netloc if rule.http is None else f"{endpoint.scheme}://{endpoint.netloc}{rule.http}"
    kind = "tcp" if rule.http is None else "http"
    values = kind, target, rule.interval, rule.timeout, rule.tls_skip_verify, rule.deregister_after
    digest = hashlib.sha256(repr(Check("", *values)).encode()).hexdigest()[:8]
    return Check(f"{service_id}-{kind}-{digest}", *values)
