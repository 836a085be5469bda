"""Log lines of applied changes, within a budget: unsolicited datagrams cause them. Pure: time is an argument."""

from __future__ import annotations

from ssdpreg.discovery.log_limit import LogBudget
from ssdpreg.registration.differences import AppliedChange

#: Format and fields of a line.
Line = tuple[str, dict[str, object]]


class ChangeLines:
    """
    Log lines of applied changes: one for each change, or one for many changes when the budget is used up.

    :param budget: Budget of all lines that unsolicited datagrams cause.
    :ivar summarized: Number of changes without a line of their own.
    """

    def __init__(self, budget: LogBudget) -> None:
        self._budget = budget
        # Count, first and latest change by verb.
        self._waiting: dict[str, tuple[int, AppliedChange, AppliedChange]] = {}
        self.summarized = 0

    def add(self, change: AppliedChange, now: float) -> list[Line]:
        """Return the line of a change, or nothing if it goes into a summary."""
        if not self._waiting and self._budget.take_for_change(now):
            return [_line(change)]
        self.summarized += 1
        count, first, _ = self._waiting.get(change.verb, (0, change, change))
        self._waiting[change.verb] = count + 1, first, change
        return []

    def take_for_refusal(self, now: float) -> bool:
        """Return whether the line of a rejected change may be logged now. Otherwise it counts as summarized."""
        if self._budget.take_for_change(now):
            return True
        self.summarized += 1
        return False

    def summarize(self, now: float) -> list[Line]:
        """Return the lines that summarize the changes since the last one, as far as the budget permits it."""
        lines: list[Line] = []
        while self._waiting and self._budget.take_for_change(now):
            count, first, last = self._waiting.pop(next(iter(self._waiting)))
            if count == 1:
                lines.append(_line(first))
                continue
            fields = {"count": count, "first": first.registration.service_id, "last": last.registration.service_id}
            lines.append((first.verb + " {count} services, first {first}, last {last}", fields))
        return lines


def _line(change: AppliedChange) -> Line:
    registration = change.registration
    fields: dict[str, object] = {
        "service_id": registration.service_id,
        "name": registration.name,
        "address": f"[{registration.address}]" if ":" in registration.address else registration.address,
        "port": registration.port,
    }
    if change.verb == "Deregistered":
        return "Deregistered {service_id} of {name} at {address}:{port}: {reason}", {**fields, "reason": change.reason}
    return change.verb + " {service_id} as {name} at {address}:{port}", fields
