"""What services are called. Pure."""

from __future__ import annotations

import re

#: The longest label of a DNS name: RFC 1035, 2.3.4.
_LABEL_LIMIT = 63


def seed_name(tag: str, urn: str) -> str:
    """
    Name a service by its tag and what follows the second colon of its URN, as in ``RackHD-service:api:2.0``.

    :param tag: The operator's word for services of the kind.
    :param urn: A URN. One of fewer than three colons is taken whole, as in ``Inservice-urn:MalformedData``.
    """
    return f"{tag}-{urn.split(':', 2)[2] if urn.count(':') >= 3 else urn}"


def dns_name(tag: str, urn: str) -> str:
    """
    Name a service so that DNS can serve it: one label of ``a`` to ``z``, digits and hyphens.

    Two URNs may come to share a name, as ``api:2.0`` and ``api:2-0`` do.

    :param tag: The operator's word for services of the kind.
    :param urn: A URN.
    """
    label = re.sub(r"[^a-z0-9]+", "-", seed_name(tag, urn).lower()).strip("-")
    # A name in another script leaves nothing behind.
    return label[:_LABEL_LIMIT].rstrip("-") or "unnamed"
