"""Tests for :mod:`ssdpreg.cli.doctor.findings` and :mod:`ssdpreg.cli.doctor.text`."""

from __future__ import annotations

from ssdpreg.cli.doctor.findings import HostCheck, Section, exit_status
from ssdpreg.cli.doctor.text import make_document, print_sections, summarize
from tests.support.command import CommandTestCase

_CHECK = HostCheck("interface")
SECTIONS = [
    Section("Network", (_CHECK.ok("eth0", "up"), _CHECK.fault("e\x1b[2J", "absent", "Create it"))),
    Section("Empty", ()),
    Section(
        "Limits", (HostCheck("clock").warning("", "5 s behind", "Set it"), HostCheck("drops").skipped("", "unknown"))
    ),
]


class FindingsTests(CommandTestCase):
    """Tests for the output of findings."""

    def test_exit_status(self) -> None:
        """A fault is status 1. A warning is not."""
        self.assertEqual(exit_status(SECTIONS), 1)
        self.assertEqual(exit_status(SECTIONS[1:]), 0)

    def test_text(self) -> None:
        """Each finding is one line, in columns that are the same in all sections, and without control characters."""
        output = self.capture("stdout")
        print_sections(SECTIONS)
        self.assertEqual(
            output.getvalue().splitlines(),
            [
                "Network",
                "  ok       interface eth0      up",
                "  fault    interface e\\x1b[2J  absent. Create it",
                "Limits",
                "  warning  clock               5 s behind. Set it",
                "  skipped  drops               unknown",
            ],
        )

    def test_no_finding(self) -> None:
        """Without a finding there is no output."""
        output = self.capture("stdout")
        print_sections([Section("Empty", ())])
        self.assertEqual(output.getvalue(), "")

    def test_document(self) -> None:
        """The document has all findings, each with the same five members."""
        self.assertEqual(
            make_document(SECTIONS)[2],
            {"check": "clock", "subject": "", "result": "warning", "finding": "5 s behind", "advice": "Set it"},
        )
        self.assertEqual([each["result"] for each in make_document(SECTIONS)], ["ok", "fault", "warning", "skipped"])

    def test_summary(self) -> None:
        """The summary counts the findings, the worst first."""
        self.assertEqual(summarize(SECTIONS), "1 fault, 1 warning, 1 skipped, 1 ok")
        self.assertEqual(summarize([]), "0 faults, 0 warnings, 0 skipped, 0 ok")
