"""Search terms of the operator, matched with announced types. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

#: A type whose later versions are compatible with earlier ones: UPnP Device Architecture 2.0, section 1.2.2. For dotted
#: versions, such as ``api:2.0``, no standard defines compatibility.
_VERSIONED = re.compile(r"(urn:[^:]+:(?:service|device):[^:]+):([1-9]\d{0,8})", re.ASCII)

#: A Redfish service announces a minor version, and is searched for without it: DSP0266, section 12.4.3.
REDFISH = "urn:dmtf-org:service:redfish-rest:1"
_REDFISH_MINOR = re.compile(re.escape(REDFISH) + r":\d{1,2}", re.ASCII)

#: Text that a pattern matches: ASCII characters, and blanks, which URNs may not have (RFC 8141). Devices send them
#: nevertheless: ``urn:schemas-mbs upnp device:service:URLService:1``.
_PRINTABLE = re.compile(r"[ -~]{1,255}")


@dataclass(frozen=True, slots=True)
class SearchTerm:
    """
    A type of service or device to register.

    :ivar urn: A URN, or a pattern that ends in ``*``.
    :ivar tag: Beginning of the names of its services.
    """

    urn: str
    tag: str

    @property
    def is_pattern(self) -> bool:
        """Whether the term matches every type with a common beginning."""
        return self.urn.endswith("*")

    def identity(self, nt: str) -> str:
        """
        Return the URN that identifies a service within its device.

        All versions that one exact term matches are one service. Each type that a pattern matches is a service.

        :param nt: Announced URN that matches the term.
        """
        return nt if self.is_pattern else self.urn


class SearchTerms:
    """
    Set of search terms. Immutable: a change of the terms creates a new set.

    :param tags: Tag by URN or pattern.
    """

    def __init__(self, tags: Mapping[str, str]) -> None:
        self.tags = dict(tags)
        terms = [SearchTerm(urn, tag) for urn, tag in tags.items()]
        self._exact = {term.urn: term for term in terms if not term.is_pattern}
        self._patterns = sorted((term for term in terms if term.is_pattern), key=lambda term: -len(term.urn))
        self._versions: dict[str, list[tuple[int, SearchTerm]]] = {}
        for term in self._exact.values():
            if versioned := _VERSIONED.fullmatch(term.urn):
                self._versions.setdefault(versioned[1], []).append((int(versioned[2]), term))
        # Most announced types match no term, and each is announced again and again.
        self._cached_match = lru_cache(4096)(self._match)

    def match(self, nt: str) -> SearchTerm | None:
        """
        Return the term that matches an announced type, or None.

        The same URN takes precedence over an earlier version, a version over a pattern, a longer pattern over a shorter
        one.

        :param nt: NT of an advertisement or ST of a reply.
        """
        return self._cached_match(nt) if len(nt) <= 255 else None

    def _match(self, nt: str) -> SearchTerm | None:
        return self._exact.get(nt) or self._match_version(nt) or self._match_pattern(nt)

    def _match_version(self, nt: str) -> SearchTerm | None:
        if _REDFISH_MINOR.fullmatch(nt):
            return self._exact.get(REDFISH)
        versioned = _VERSIONED.fullmatch(nt)
        if versioned is None:
            return None
        earlier = [entry for entry in self._versions.get(versioned[1], ()) if entry[0] <= int(versioned[2])]
        return max(earlier, key=lambda entry: entry[0])[1] if earlier else None

    def _match_pattern(self, nt: str) -> SearchTerm | None:
        if not _PRINTABLE.fullmatch(nt):
            return None
        return next((term for term in self._patterns if nt.startswith(term.urn[:-1])), None)


def search_target(term: SearchTerm, nt: str) -> str:
    """
    Return the search target (ST) that a known service replies to.

    :param term: Term that matches the service.
    :param nt: Type that the service announced.
    """
    if not term.is_pattern:
        return term.urn
    return REDFISH if _REDFISH_MINOR.fullmatch(nt) else nt
