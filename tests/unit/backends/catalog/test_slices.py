"""Tests for the slices of the reconciler in catalog mode."""

from __future__ import annotations

from ssdpreg.reconciler import Reconciler
from ssdpreg.registration import Registration
from ssdpreg.testing import make_registration
from tests.support.overlapping_plans import OverlapTestCase


class ReconcilerTests(OverlapTestCase):
    """Tests for the reconciler with this backend."""

    def setUp(self) -> None:
        super().setUp()
        self.desired: dict[str, Registration] = {}
        self.reconciler = Reconciler(
            self.clock, self.backend, self.desired, lambda found: None, deregister_on_stop=True
        )
        self.reconciler.startService()
        self.clock.pump([0.1] * 2)
        self.server.holding = True

    def appear(self, *registrations: Registration) -> None:
        """Make services live."""
        for each in registrations:
            self.desired[each.service_id] = each
            self.reconciler.appeared(each)

    def stop(self) -> None:
        """Stop the reconciler, with a Consul that responds."""
        self.server.holding = False
        stopping = self.reconciler.stopService()
        self.clock.pump([0.1] * 5)
        self.successResultOf(stopping)

    def names(self) -> set[str]:
        """Return the names of the nodes of devices."""
        return {name for name in self.state.nodes if name.startswith("device-")}

    def test_stop(self) -> None:
        """The stop with deregistration leaves nothing behind of the slices in progress."""
        self.appear(*(make_registration(number) for number in range(200)))
        self.clock.pump([0.1] * 3)
        while len(self.server.held) < 4 or len(self.names()) < 50:
            self.respond(0)
            self.clock.pump([0.01] * 5)
        for held in list(self.server.held):
            held.apply()
        self.stop()
        self.assertEqual(self.names(), set())

    def test_urgent_change(self) -> None:
        """A departure is written after at most one slice, while 20,000 new services wait."""
        self.server.holding = False
        known = make_registration(30_000)
        self.appear(known)
        self.clock.pump([0.1] * 3)
        self.server.holding = True
        self.appear(*(make_registration(number) for number in range(20_000)))

        def respond_slowly() -> None:
            """Respond to one transaction after 40 ms."""
            self.clock.pump([0.01] * 4)
            self.respond(0)
            self.clock.pump([0.0] * 3)

        self.clock.pump([0.1] * 2)
        for _ in range(60):
            respond_slowly()
        self.assertEqual(len(self.server.held), 4)
        del self.desired[known.service_id]
        self.reconciler.left(known, "byebye")
        began = self.clock.seconds()
        while "device-30000" in self.state.nodes:
            respond_slowly()
        self.assertLess(self.clock.seconds() - began, 2.0)
        self.assertGreater(self.reconciler.pending, 15_000)
        self.stop()
