"""Test case for the checks of ``ssdpreg doctor``."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.cli.doctor.findings import Finding


class CheckTestCase(SynchronousTestCase):
    """Test case that evaluates facts."""

    def assert_results(self, findings: Sequence[Finding], *expected: tuple[str, str]) -> None:
        """
        Assert the subjects and the results of some findings. A warning and a fault must have advice.

        :param expected: Subject and result of each finding.
        """
        self.assertEqual([(each.subject, each.result) for each in findings], list(expected))
        for each in findings:
            self.assertTrue(each.check and each.finding)
            if each.result in ("warning", "fault"):
                self.assertTrue(each.advice, each)

    def assert_one(self, findings: Sequence[Finding], result: str, *words: str) -> None:
        """Assert that there is one finding, with some words in its text or advice."""
        ((text, found),) = ((f"{each.finding}. {each.advice}", each) for each in findings)
        self.assertEqual(found.result, result, text)
        for word in words:
            self.assertIn(word, text)
        if result in ("warning", "fault"):
            self.assertTrue(found.advice)
