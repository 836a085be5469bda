"""Guard against the removal of most registrations by mistake. Pure."""

from __future__ import annotations

from collections.abc import Callable

from ssdpreg.registration.model import Plan

#: Number of removals that are never suspicious.
_HARMLESS = 5
#: Reasons of a departure that were received from the network.
_RECEIVED = ("byebye", "expired")


class MassRemovalGuard:
    """
    Guard that holds back a mass removal without a received reason until a second full comparison confirms it.

    An empty table, or a backend whose listing is wrong, must not remove the services of a whole rack.

    :ivar held: Number of removals held back from the latest plan.
    """

    def __init__(self) -> None:
        self._suspects: frozenset[str] = frozenset()
        self.held = 0

    def check(self, changes: Plan, total: int, reason: Callable[[str], str | None], *, full: bool) -> Plan:
        """
        Return a plan without suspicious removals: more than five, and more than half of all.

        :param changes: The plan.
        :param total: Number of registrations in the backend.
        :param reason: Returns the reason why a service left, by its ID, or None.
        :param full: Whether the plan comes from a comparison with everything that the backend holds. Only such a plan
            can confirm an earlier one.
        """
        unannounced = frozenset(
            found.service_id for found in changes.deregister if reason(found.service_id) not in _RECEIVED
        )
        suspicious = len(unannounced) > _HARMLESS and len(unannounced) > total / 2
        if suspicious and not (full and unannounced <= self._suspects):
            self._suspects = unannounced
            self.held = len(unannounced)
            remaining = tuple(found for found in changes.deregister if found.service_id not in unannounced)
            return Plan(changes.register, remaining)
        self.held = 0
        if full:
            self._suspects = frozenset()
        return changes
