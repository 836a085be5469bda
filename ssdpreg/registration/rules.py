"""Rules of the operator by which a live service is registered."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Protocol

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.hosts import IPNetwork
from ssdpreg.discovery.probing import may_probe
from ssdpreg.discovery.standing import Standing
from ssdpreg.registration.meta import NO_FACTS, to_meta
from ssdpreg.registration.model import Check, Registration
from ssdpreg.registration.names import dns_name, seed_name

#: Beginning of all service IDs of this program.
ID_PREFIX = "ssdpreg-"

_SLUG_LIMIT = 32


class CheckRule(Protocol):
    """Configuration of a check: see :class:`ssdpreg.config.CheckConfig`."""

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
    Rules that turn an advertisement into a registration.

    :ivar scope: Distinguishes the registrations of several daemons: by default the host name.
    :ivar dns_names: Whether service names are DNS labels instead of the original's names.
    :ivar tags: Tags of every service.
    :ivar checks: Checks by search term.
    :ivar named_networks: Networks that the operator named in ``ssdp.allow``.
    """

    scope: str
    dns_names: bool = False
    tags: tuple[str, ...] = ()
    checks: Mapping[str, CheckRule] = field(default_factory=dict)
    named_networks: tuple[IPNetwork, ...] = ()

    def registration(
        self,
        advertisement: Advertisement,
        standing: Standing = Standing.DIRECT,
        facts: Mapping[str, str] = NO_FACTS,
    ) -> Registration:
        """
        Return the registration of a live service.

        :param standing: Standing of its claim. The configured check is registered for direct and confirmed claims, and
            for addresses in the networks that the operator named: otherwise any sender could aim Consul's checks.
        :param facts: Facts that the device states about itself: see :func:`ssdpreg.registration.meta.make_facts`.
        """
        name = dns_name if self.dns_names else seed_name
        service_id = self.service_id(advertisement.device_id, advertisement.urn)
        return Registration(
            service_id=service_id,
            name=name(advertisement.term.tag, advertisement.urn),
            address=advertisement.endpoint.host,
            port=advertisement.endpoint.port,
            tags=self.tags,
            meta=to_meta(advertisement, self.scope, facts),
            checks=frozenset(self._checks(service_id, advertisement, standing)),
        )

    def service_id(self, device_id: str, urn: str) -> str:
        """
        Return the ID of a service, which depends on nothing that changes while the device offers it.

        Text from the network is reduced to letters, digits and hyphens, which need no quoting in URLs. A digest makes
        the ID unique.
        """
        return _service_id(self.scope, device_id.casefold(), urn)

    def _checks(self, service_id: str, advertisement: Advertisement, standing: Standing) -> list[Check]:
        checks = [Check(f"{service_id}-alive", kind="alive")]
        rule = self.checks.get(advertisement.term.urn)
        if rule is not None and may_probe(
            advertisement.endpoint, standing is not Standing.INDIRECT, self.named_networks
        ):
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
