"""Tests for a reconciler and a backend that share the registrations."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from ssdpreg.backends.embedded import SharedEmbeddedBackend
from ssdpreg.interfaces import IRegistryBackend, ISharedRegistrations
from ssdpreg.reconciler import Reconciler
from ssdpreg.registration import Registration
from ssdpreg.testing import make_registration

ONE, TWO = make_registration(1), make_registration(2)
MOVED = replace(ONE, address="192.0.2.99")


class SharedRegistrationsTests(SynchronousTestCase):
    """Tests for a reconciler whose backend provides :class:`~ssdpreg.interfaces.ISharedRegistrations`."""

    def setUp(self) -> None:
        self.clock, self.backend = Clock(), SharedEmbeddedBackend()
        self.desired: dict[str, Registration] = {}
        self.reconciler = Reconciler(
            self.clock, self.backend, self.desired, lambda _: None, deregister_on_stop=True, random=Random(1)
        )
        self.observer = EventLoggingObserver()
        globalLogPublisher.addObserver(self.observer)
        self.addCleanup(globalLogPublisher.removeObserver, self.observer)
        self.reconciler.startService()
        self.advance()

    def advance(self, seconds: float = 1.0) -> None:
        """Advance the clock in small steps."""
        self.clock.pump([0.1] * round(seconds / 0.1))

    def lines(self) -> list[str]:
        """Return the verbs of the changes that were logged."""
        verbs = [str(event["log_format"]).partition(" ")[0] for event in self.observer]
        return [verb for verb in verbs if verb in ("Registered", "Updated", "Deregistered")]

    def test_interfaces(self) -> None:
        """The backend provides both interfaces."""
        for interface in (IRegistryBackend, ISharedRegistrations):
            verifyObject(interface, self.backend)

    def test_changes(self) -> None:
        """Each change is applied and logged once, with the right verb, also after further comparisons."""
        for each in (ONE, TWO):
            self.desired[each.service_id] = each
            self.reconciler.appeared(each)
        self.advance()
        self.desired[ONE.service_id] = MOVED
        self.reconciler.changed(MOVED, ONE)
        self.advance()
        del self.desired[TWO.service_id]
        self.reconciler.left(TWO, "byebye")
        self.assertEqual(self.reconciler.pending, 1)
        self.advance(65)
        self.assertEqual(self.backend.registrations, {ONE.service_id: MOVED})
        self.assertEqual(self.lines(), ["Registered", "Registered", "Updated", "Deregistered"])
        self.assertEqual((self.reconciler.pending, self.reconciler.state(ONE.service_id).name), (0, "registered"))
        self.successResultOf(self.reconciler.stopService())
        self.assertEqual((self.backend.registrations, self.lines()[4:]), ({}, ["Deregistered"]))

    def test_no_copy(self) -> None:
        """The reconciler has no copy of the registrations."""
        self.advance(35)
        self.assertIs(self.reconciler._differences.actual, self.backend.registrations)
        self.successResultOf(self.reconciler.stopService())
