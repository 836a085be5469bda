"""Table of the checks that the daemon has registered with a Consul agent. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

#: Rest of the ID of a check of the daemon, after the service ID: see :mod:`ssdpreg.registration.announced`, and
#: :attr:`ssdpreg.backends.consul_own_service.OwnService.check_suffix`.
_OWN = re.compile(r"-(?:alive|(?:http|tcp)-[0-9a-f]{1,8})(?::[0-9a-f]{8})?", re.ASCII)


class CheckTable:
    """
    IDs of the daemon's checks in a Consul agent, by service ID.

    Consul keeps the checks of a service that is registered again without them. The table knows which of these checks
    have to be deregistered one by one. Consul can also replace all checks, but that ends an operator's maintenance
    mode, which is a check, too.
    """

    def __init__(self) -> None:
        # Tuples are smaller than sets, and most services have one or two checks.
        self._check_ids: dict[str, tuple[str, ...]] = {}

    def load(self, service_id: str, check_id: str) -> None:
        """
        Add a check from a listing of the agent, unless the daemon did not register it.

        :param service_id: Service of the check.
        """
        # An operator may add a check to the service, under any ID. Maintenance mode is a check with another prefix.
        if check_id.startswith(service_id) and _OWN.fullmatch(check_id, len(service_id)):
            self._check_ids[service_id] = (*self._check_ids.get(service_id, ()), check_id)

    def of(self, service_id: str) -> frozenset[str]:
        """Return the IDs of the checks of a service."""
        return frozenset(self._check_ids.get(service_id, ()))

    def add_service(self, service_id: str, check_ids: Iterable[str]) -> list[str]:
        """
        Record that a service was registered.

        :param check_ids: The checks that it was registered with.
        :return: IDs of its earlier checks, which are still there and have to be deregistered.
        """
        before, now = self.of(service_id), frozenset(check_ids)
        self._check_ids[service_id] = tuple(before | now)
        return sorted(before - now)

    def remove_check(self, service_id: str, check_id: str) -> None:
        """Record that a check was deregistered."""
        self._check_ids[service_id] = tuple(self.of(service_id) - {check_id})

    def remove_service(self, service_id: str) -> None:
        """Record that a service was deregistered, with its checks."""
        self._check_ids.pop(service_id, None)
