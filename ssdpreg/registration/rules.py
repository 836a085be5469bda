"""Rules of the operator by which a live service is registered."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.hosts import IPNetwork
from ssdpreg.discovery.probing import may_probe
from ssdpreg.discovery.standing import Standing
from ssdpreg.registration.announced import AnnouncedRegistration, CheckRule
from ssdpreg.registration.meta import NO_FACTS
from ssdpreg.registration.names import dns_name, seed_name

#: Beginning of all service IDs of this program.
ID_PREFIX = "ssdpreg-"

_SLUG_LIMIT = 32


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
    ) -> AnnouncedRegistration:
        """
        Return the registration of a live service.

        :param standing: Standing of its claim. The configured check is registered for direct and confirmed claims, and
            for addresses in the networks that the operator named: otherwise any sender could aim Consul's checks.
        :param facts: Facts that the device states about itself: see :func:`ssdpreg.registration.meta.make_facts`.
        """
        make_name = dns_name if self.dns_names else seed_name
        return AnnouncedRegistration.make(
            self.service_id(advertisement.device_id, advertisement.urn),
            make_name(advertisement.term.tag, advertisement.urn),
            self.tags,
            advertisement,
            self.scope,
            self._check_rule(advertisement, standing) if self.checks else None,
            facts,
        )

    def service_id(self, device_id: str, urn: str) -> str:
        """
        Return the ID of a service, which depends on nothing that changes while the device offers it.

        Text from the network is reduced to letters, digits and hyphens, which need no quoting in URLs. A digest makes
        the ID unique.
        """
        digest = hashlib.sha256(f"{self.scope}\0{device_id.casefold()}\0{urn}".encode()).hexdigest()[:16]
        return f"{ID_PREFIX}{_slug(urn)}-{digest}"

    def _check_rule(self, advertisement: Advertisement, standing: Standing) -> CheckRule | None:
        rule = self.checks.get(advertisement.term.urn)
        if rule is None:
            return None
        is_direct = standing is not Standing.INDIRECT
        return rule if may_probe(advertisement.endpoint, is_direct, self.named_networks) else None


@lru_cache(1024)
def _slug(urn: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", urn.split(":", 2)[-1].lower())[:_SLUG_LIMIT].strip("-")
