"""Services whose registration in the backend may have to change, in the order in which to change them. Pure."""

from __future__ import annotations

from collections import OrderedDict
from enum import IntEnum
from itertools import islice

from ssdpreg.values import plain_members


@plain_members
class Urgency(IntEnum):
    """Kinds of changes, the most urgent one first."""

    DEPARTURE = 0
    CHANGE = 1
    NEW = 2


class PendingChanges:
    """
    Ordered set of service IDs. It contains no operations: the operation follows from the state of the service at the
    time when it is taken.

    The order within the shares of :meth:`take` is: departures, changes of registered services, new services of the
    highest priority, other new services. Among services of the same place in this order, the hosts take turns: first
    the hosts that had no turn yet, beginning with the latest one. Each host begins with its own latest change. Thus the
    single service of a new host does not wait for thousands of services of other hosts.
    """

    def __init__(self) -> None:
        # By place: services by host. The last host has the next turn.
        self._queues: dict[tuple[int, int], OrderedDict[str, dict[str, None]]] = {}
        self._places: dict[str, tuple[tuple[int, int], str]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, service_id: object) -> bool:
        return service_id in self._places

    def add(self, service_id: str, host: str, urgency: Urgency, priority: int = 0) -> None:
        """
        Add a service, or change its place: it is the latest change now.

        :param host: Address of the service.
        :param priority: Among services of the same urgency, those of a higher priority come first.
        """
        if service_id in self._places:
            self.discard(service_id)
        place = (int(urgency), -priority)
        queue = self._queues.get(place)
        if queue is None:
            queue = self._queues[place] = OrderedDict()
        services = queue.get(host)
        if services is None:
            services = queue[host] = {}
        services[service_id] = None
        self._places[service_id] = (place, host)

    def discard(self, service_id: str) -> None:
        """Remove a service, if it is contained."""
        found = self._places.pop(service_id, None)
        if found is None:
            return
        place, host = found
        queue = self._queues[place]
        services = queue[host]
        del services[service_id]
        if not services:
            del queue[host]
        if not queue:
            del self._queues[place]

    def clear(self) -> None:
        """Remove all services."""
        self._queues.clear()
        self._places.clear()

    def take(self, count: int) -> list[str]:
        """
        Remove and return the next services, at most so many, in the order of their urgency.

        A quarter of them are changes, and a quarter new services. The rest of a share is for the most urgent
        other ones. Thus thousands of departures or moves, which a single sender can cause, do not delay the others.
        """
        share = count // 4
        shares = {Urgency.DEPARTURE: count - 2 * share, Urgency.CHANGE: share, Urgency.NEW: share}
        taken: dict[Urgency, list[str]] = {urgency: [] for urgency in shares}
        for urgency, services in taken.items():
            self._take_of(urgency, shares[urgency], services)
        for urgency, services in taken.items():
            left = count - sum(map(len, taken.values()))
            self._take_of(urgency, len(services) + left, services)
        return [service_id for services in taken.values() for service_id in services]

    def _take_of(self, urgency: Urgency, count: int, taken: list[str]) -> None:
        """Take services of one urgency until there are so many."""
        for place in sorted(place for place in self._queues if place[0] == urgency):
            self._take_from(place, count, taken)

    def _take_from(self, place: tuple[int, int], count: int, taken: list[str]) -> None:
        queue = self._queues[place]
        while queue and len(taken) < count:
            for host in list(islice(reversed(queue), count - len(taken))):
                services = queue[host]
                service_id, _ = services.popitem()
                del self._places[service_id]
                taken.append(service_id)
                if services:
                    queue.move_to_end(host, last=False)
                else:
                    del queue[host]
        if not queue:
            del self._queues[place]
