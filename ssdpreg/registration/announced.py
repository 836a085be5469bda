"""Registrations of live services, which keep the advertisement in place of what can be derived from it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

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


class SharedValues(NamedTuple):
    """
    Values that all registrations of one type have in common, unless only some of them have a check.

    :ivar name: Name of the services.
    :ivar tags: Tags of the services.
    :ivar scope: Scope of the daemon.
    :ivar rule: The configured check, or None if there is only the check ``alive``.
    """

    name: str
    tags: tuple[str, ...]
    scope: str
    rule: CheckRule | None


class AnnouncedRegistration(Registration):
    """
    Registration of a live service. It is equal to a :class:`Registration` with the same fields.

    It keeps the service ID, the advertisement, which the table of live services has anyway, and the values that most
    registrations share. Everything else is derived from them whenever it is read. Thus a registration has 64 bytes in
    place of 800, and the daemon keeps one for each live service.

    :ivar advertisement: The advertisement.
    """

    __slots__ = ("_facts", "_shared", "advertisement", "service_id")

    advertisement: Advertisement
    _facts: Mapping[str, str]
    _shared: SharedValues

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
        set_field(self, "advertisement", advertisement)
        set_field(self, "_shared", _shared_values(name, tags, scope, rule))
        set_field(self, "_facts", facts)
        return self

    @property
    def name(self) -> str:
        return self._shared.name

    @property
    def tags(self) -> tuple[str, ...]:
        return self._shared.tags

    @property
    def address(self) -> str:
        return self.advertisement.host

    @property
    def port(self) -> int:
        return self.advertisement.port

    @property
    def meta(self) -> dict[str, str]:
        """See :func:`ssdpreg.registration.meta.to_meta`."""
        return to_meta(self.advertisement, self._shared.scope, self._facts)

    @property
    def checks(self) -> frozenset[Check]:
        """The ``alive`` check and the configured check, if there is one."""
        alive = Check(f"{self.service_id}-alive", kind="alive")
        rule = self._shared.rule
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


@lru_cache(1024)
def _shared_values(name: str, tags: tuple[str, ...], scope: str, rule: CheckRule | None) -> SharedValues:
    """Return the same object for the same arguments."""
    return SharedValues(name, tags, scope, rule)


def _configured_check(service_id: str, rule: CheckRule, endpoint: Endpoint) -> Check:
    target = endpoint.netloc if rule.http is None else f"{endpoint.scheme}://{endpoint.netloc}{rule.http}"
    kind = "tcp" if rule.http is None else "http"
    values = kind, target, rule.interval, rule.timeout, rule.tls_skip_verify, rule.deregister_after
    digest = hashlib.sha256(repr(Check("", *values)).encode()).hexdigest()[:8]
    return Check(f"{service_id}-{kind}-{digest}", *values)
