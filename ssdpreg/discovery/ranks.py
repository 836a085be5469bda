"""Services by rank, each rank in the order in which the services got it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ssdpreg.discovery.tracked import TrackedService

#: Number of outdated entries of a rank, in excess of the current ones, at which they are removed.
_SLACK = 64


class Ranks:
    """
    Services by rank.

    The rank of a service is one of its attributes. Each rank has a list of entries, of 8 bytes for each service: in a
    dictionary, a service would take 52 bytes. When a service gets another rank, its entry in the list is outdated and
    is skipped. Outdated entries are removed from the end at once, and all of them when they outnumber the current ones.

    :param count: Number of ranks. They are numbered from 0.
    """

    def __init__(self, count: int) -> None:
        self._entries: list[list[TrackedService]] = [[] for _ in range(count)]
        # Number of current entries.
        self._current = [0] * count

    def __len__(self) -> int:
        return sum(self._current)

    def put(self, service: TrackedService, rank: int) -> None:
        """Give a service a rank, as its latest service, unless the service has that rank already."""
        if service.rank == rank:
            return
        if service.rank is not None:
            self.discard(service)
        service.rank = rank
        self._entries[rank].append(service)
        self._current[rank] += 1

    def discard(self, service: TrackedService) -> None:
        """Remove a service, if it has a rank."""
        rank, service.rank = service.rank, None
        if rank is None:
            return
        self._current[rank] -= 1
        entries = self._entries[rank]
        while entries and entries[-1].rank != rank:
            entries.pop()
        if len(entries) > 2 * self._current[rank] + _SLACK:
            # Of several entries of one service, the latest one counts.
            self._entries[rank] = list(dict.fromkeys(self.latest_first(rank)))[::-1]

    def latest(self, rank: int) -> TrackedService | None:
        """Return the service that got a rank last, or None if no service has it."""
        entries = self._entries[rank]
        return entries[-1] if entries else None

    def latest_first(self, rank: int) -> Iterator[TrackedService]:
        """Yield the services of a rank, the latest one first. A service may be yielded again after others."""
        return (service for service in reversed(self._entries[rank]) if service.rank == rank)
