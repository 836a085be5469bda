"""Services that a query to the catalogue selects, in slices. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ssdpreg.web import consul_json
from ssdpreg.web.catalogue import SLICE, Catalogue, Entry, Topic
from ssdpreg.web.filter import Predicate


@dataclass(frozen=True, slots=True)
class Result:
    """
    The services that a query selects.

    :ivar catalogue: The live services.
    :ivar topic: Topic of the query.
    :ivar tags: Tags that a service must have, in lower case.
    :ivar node_meta: Meta that the node of a service must have.
    :ivar filter: The filter expression of the query, or None.
    :ivar portion: Number of services in a slice, at most.
    """

    catalogue: Catalogue
    topic: Topic
    tags: frozenset[str] = frozenset()
    node_meta: Mapping[str, str] = field(default_factory=dict)
    filter: Predicate | None = None
    portion: int = SLICE

    def slices(self) -> Iterator[list[Entry]]:
        """Iterate over the services, in slices of which some may be empty."""
        return self._select(self.slices_of_topic())

    def slices_of_topic(self) -> Iterator[list[Entry]]:
        """Iterate over the services of the topic, also those that the query does not select."""
        return self._divide(self.catalogue.slices(self.topic))

    def names(self) -> Iterator[list[tuple[str, list[str]]]]:
        """Iterate over the names of the services and all tags of each name, in slices."""
        if not self._selects:
            yield from self.catalogue.names()
            return
        tags: defaultdict[str, set[str]] = defaultdict(set)
        last = ""
        for entries in self._select(self._divide(self.catalogue.slices_by_name())):
            complete: list[tuple[str, list[str]]] = []
            for entry in entries:
                name = entry.registration.name
                # Names that differ in case only come together, mixed.
                if name.casefold() != last:
                    complete += _sorted_tags(tags)
                    tags.clear()
                    last = name.casefold()
                tags[name].update(entry.registration.tags)
            yield complete
        yield _sorted_tags(tags)

    def matches(self, entry: Entry) -> bool:
        """Return whether a service is selected."""
        if self.tags and not self.tags <= {tag.casefold() for tag in entry.registration.tags}:
            return False
        if self.node_meta and not self.node_meta.items() <= consul_json.node_meta(entry).items():
            return False
        return self.filter is None or self.filter(entry)

    @property
    def _selects(self) -> bool:
        return bool(self.tags or self.node_meta or self.filter)

    def _divide(self, slices: Iterator[list[Entry]]) -> Iterator[list[Entry]]:
        for entries in slices:
            # An empty slice stays: it is an end of a step too.
            for first in range(0, max(1, len(entries)), self.portion):
                yield entries[first : first + self.portion]

    def _select(self, slices: Iterator[list[Entry]]) -> Iterator[list[Entry]]:
        for entries in slices:
            yield [entry for entry in entries if self.matches(entry)] if self._selects else entries


def _sorted_tags(tags: Mapping[str, set[str]]) -> list[tuple[str, list[str]]]:
    return [(name, sorted(each)) for name, each in sorted(tags.items())]
