"""Plan of changes that makes the registrations of a backend equal to the desired ones. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from ssdpreg.registration.model import Plan, Registration


def plan(desired: Mapping[str, Registration], actual: Mapping[str, Registration]) -> Plan:
    """
    Return the changes that make ``actual`` equal to ``desired``. The plan is empty if they are equal.

    :param desired: Registrations by service ID that the backend should hold.
    :param actual: Registrations by service ID that the backend holds.
    """
    return Plan(
        register=tuple(
            wanted
            for service_id, wanted in desired.items()
            # No comparison with None, which would call the comparison of registrations.
            if service_id not in actual or actual[service_id] != wanted
        ),
        deregister=tuple(found for service_id, found in actual.items() if service_id not in desired),
    )
