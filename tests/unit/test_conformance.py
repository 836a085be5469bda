"""Tests for the table in docs/conformance.md."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from tests.support.paths import ROOT

#: Number, level and further cells of a row of the requirements; number and further cells of one of the errata.
_REQUIREMENT = re.compile(r"^\| (\d+) \| (M|S|O|—) \| (.+) \| (yes|no) \|(.*)\|$", re.MULTILINE)
_ERRATUM = re.compile(r"^\| E(\d+) \| (.+) \| (yes|no) \|(.*)\|$", re.MULTILINE)
_TEST = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


class ConformanceTests(SynchronousTestCase):
    """The table is complete, and names tests that exist."""

    def setUp(self) -> None:
        self.text = (ROOT / "docs/conformance.md").read_text()

    def test_tests_exist(self) -> None:
        """Each test that the table names exists in its module."""
        named = _TEST.findall(self.text)
        self.assertGreater(len(named), 150)
        sources: dict[str, str] = {}
        for path, name in named:
            source = sources.setdefault(path, (ROOT / "tests" / path).read_text())
            self.assertRegex(source, rf"def {name}\(", f"{path} has no {name}")
        # Nothing in the table looks like a test without being found by the pattern.
        self.assertEqual(self.text.count("::test_"), len(named))

    def test_all_requirements(self) -> None:
        """Each requirement and each erratum has a row, in order."""
        self.assertEqual([int(row[0]) for row in _REQUIREMENT.findall(self.text)], list(range(1, 117)))
        self.assertEqual([int(row[0]) for row in _ERRATUM.findall(self.text)], list(range(1, 31)))
        self.assertEqual(self.text.count("\n| "), 116 + 30 + self.text.count("\n| no. |"))

    def test_evidence(self) -> None:
        """A requirement that is met has a test. One that is not met has a reason, and is no must."""
        for number, level, _, done, rest in _REQUIREMENT.findall(self.text):
            if done == "yes":
                self.assertRegex(rest, _TEST, number)
            else:
                self.assertIn(rest.split()[0], ("Not",), number)
                self.assertTrue(level != "M" or rest.startswith(" Not needed: "), number)
        for number, _, done, rest in _ERRATUM.findall(self.text):
            self.assertEqual(done, "yes", number)
            self.assertRegex(rest, _TEST, number)
