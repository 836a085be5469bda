"""Service names derived from search terms. Pure functions."""

from __future__ import annotations

import re
from functools import lru_cache

#: Number of names that are kept. The names of a pattern's services come from the network.
_KEPT = 1024

#: Longest label of a DNS name: RFC 1035, section 2.3.4.
_LABEL_LIMIT = 63


# All services of a type share the text of their name.
@lru_cache(_KEPT)
def seed_name(tag: str, urn: str) -> str:
    """
    Return the tag and the part of the URN after its second colon, as in ``RackHD-service:api:2.0``.

    :param tag: Tag of the search term.
    :param urn: URN. One with fewer than three colons is used as a whole, as in ``Inservice-urn:MalformedData``. Blanks
        become hyphens: they would have to be quoted in URLs, and no reader expects them in the name of a service.
    """
    return f"{tag}-{'-'.join((urn.split(':', 2)[2] if urn.count(':') >= 3 else urn).split())}"


@lru_cache(_KEPT)
def dns_name(tag: str, urn: str) -> str:
    """
    Return a name that is one DNS label: ``a`` to ``z``, digits and hyphens, 63 characters at most.

    Two URNs can have the same name, as ``api:2.0`` and ``api:2-0`` do.

    :param tag: Tag of the search term.
    :param urn: URN.
    """
    label = re.sub(r"[^a-z0-9]+", "-", seed_name(tag, urn).lower()).strip("-")
    # Nothing is left of a name in another script.
    return label[:_LABEL_LIMIT].rstrip("-") or "unnamed"
