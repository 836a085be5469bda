"""Findings of ``ssdpreg doctor``. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

#: Results of a check, the worst last. ``skipped`` is a check that could not be made, or that does not apply.
OK, SKIPPED, WARNING, FAULT = RESULTS = ("ok", "skipped", "warning", "fault")


@dataclass(frozen=True, slots=True)
class Finding:
    """
    Result of one check.

    :ivar check: Name of the check, such as ``interface``.
    :ivar subject: Object of the check, such as ``eth0``; empty if the name of the check is enough.
    :ivar result: One of :data:`RESULTS`.
    :ivar finding: State of the object.
    :ivar advice: Instruction for the operator; empty if there is nothing to do.
    """

    check: str
    subject: str
    result: str
    finding: str
    advice: str = ""

    def document(self) -> dict[str, str]:
        """Return the finding in the format of ``ssdpreg doctor --json``."""
        return {
            "check": self.check,
            "subject": self.subject,
            "result": self.result,
            "finding": self.finding,
            "advice": self.advice,
        }


@dataclass(frozen=True, slots=True)
class HostCheck:
    """
    Maker of the findings of one check.

    :ivar name: Name of the check.
    """

    name: str

    def ok(self, subject: str, finding: str, advice: str = "") -> Finding:
        """Return the finding that there is no fault."""
        return Finding(self.name, subject, OK, finding, advice)

    def skipped(self, subject: str, finding: str, advice: str = "") -> Finding:
        """Return the finding that the check was not made."""
        return Finding(self.name, subject, SKIPPED, finding, advice)

    def warning(self, subject: str, finding: str, advice: str) -> Finding:
        """Return the finding of a state that can lose services under some conditions."""
        return Finding(self.name, subject, WARNING, finding, advice)

    def fault(self, subject: str, finding: str, advice: str) -> Finding:
        """Return the finding of a state that keeps the daemon from working."""
        return Finding(self.name, subject, FAULT, finding, advice)


@dataclass(frozen=True, slots=True)
class Section:
    """
    Findings about one part of the host.

    :ivar title: Heading in the text output.
    """

    title: str
    findings: tuple[Finding, ...]


def exit_status(sections: Iterable[Section]) -> int:
    """Return 1 if there is a fault, otherwise 0."""
    return int(any(finding.result == FAULT for section in sections for finding in section.findings))
