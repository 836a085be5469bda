"""Tests for :mod:`ssdpreg.web.view`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.errors import BackendInUseError, BackendUnavailableError
from ssdpreg.web.view import View


@dataclass
class StubReconciler:
    """A reconciler with a state."""

    available: bool
    error: Exception | None
    waiting: bool = False


class BackendFaultTests(SynchronousTestCase):
    """Tests for :attr:`View.backend_fault`."""

    def fault(self, available: bool, error: Exception | None, *, waiting: bool = False) -> str:
        """Return the text for a state of the reconciler."""
        unused: Any = None
        reconciler: Any = StubReconciler(available, error, waiting)
        return View(unused, reconciler, "Consul", "dc1", "rack-7").backend_fault

    def test_texts(self) -> None:
        """The text has the reason, if it is known, in one line."""
        self.assertEqual(self.fault(True, None), "")
        self.assertEqual(self.fault(False, None), "Consul is unavailable")
        error = BackendUnavailableError("no\nanswer")
        self.assertEqual(self.fault(False, error), "Consul is unavailable: no answer")
        self.assertEqual(
            self.fault(False, BackendInUseError("the lock is held by b"), waiting=True),
            "waiting, this daemon does not write to Consul: the lock is held by b",
        )

    def test_long_reason(self) -> None:
        """A long reason is cut: it may contain text from an answer of the backend."""
        self.assertEqual(
            len(self.fault(False, BackendUnavailableError("x" * 5000))), len("Consul is unavailable: ") + 201
        )
