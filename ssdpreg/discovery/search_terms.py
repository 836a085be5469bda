"""Which of the announced types the operator asked for. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

#: A type whose later versions must serve the clients of earlier ones: UPnP Device Architecture 2.0, 1.2.2. Dotted
#: versions, such as ``api:2.0``, promise nothing of the kind.
_VERSIONED = re.compile(r"(urn:[^:]+:(?:service|device):[^:]+):([1-9]\d{0,8})", re.ASCII)

#: A Redfish service announces its minor version too, and is searched for without: DSP0266, 12.4.3.
REDFISH = "urn:dmtf-org:service:redfish-rest:1"
_REDFISH_MINOR = re.compile(re.escape(REDFISH) + r":\d{1,2}", re.ASCII)

#: What a pattern may make of a stranger's text: the characters of RFC 8141 and other visible ones; no blanks.
_PLAIN = re.compile(r"[!-~]{1,255}")


@dataclass(frozen=True, slots=True)
class SearchTerm:
    """
    One thing that the operator asked for.

    :ivar urn: A URN, or a pattern that ends in ``*``.
    :ivar tag: What names of its services begin with.
    """

    urn: str
    tag: str

    @property
    def is_pattern(self) -> bool:
        """Whether it stands for every type that begins like it."""
        return self.urn.endswith("*")


class SearchTerms:
    """
    All that the operator asked for: a value, replaced as a whole when it changes.

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
        # Most of what a network announces is asked for by nobody.
        self._remembered = lru_cache(4096)(self._match)

    def match(self, nt: str) -> SearchTerm | None:
        """
        Find the term that an announced type meets.

        The same URN wins over an earlier version, a version over a pattern, a longer pattern over a shorter one.

        :param nt: NT of an advertisement or ST of a reply.
        """
        return self._remembered(nt) if len(nt) <= 255 else None

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
        if not _PLAIN.fullmatch(nt):
            return None
        return next((term for term in self._patterns if nt.startswith(term.urn[:-1])), None)


def search_target(term: SearchTerm, nt: str) -> str:
    """
    Say what to search for, to be answered by a service that was once heard.

    :param term: The term that it meets.
    :param nt: The type that it announced.
    """
    if not term.is_pattern:
        return term.urn
    return REDFISH if _REDFISH_MINOR.fullmatch(nt) else nt
