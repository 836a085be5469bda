"""Random attacks on one device: it has its service back after the end of each."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.adversary.attack import ATTACKS, Attack, AttackKind
from tests.adversary.hosts import DEVICES, DeviceKind

#: Number of attacks of each kind on each kind of device. ``python -m tests.adversary`` runs more of them.
_RUNS = 4


class AdversaryTests(SynchronousTestCase):
    """Attacks that are drawn from seeds."""

    def attack(self, kind: AttackKind, device: DeviceKind) -> None:
        """Run some attacks of one kind."""
        for seed in range(1, _RUNS + 1):
            outcome = Attack(kind, device, seed).run()
            record = "\n".join([f"{kind.name} {device.name} {seed}", *outcome.record])
            self.assertFalse(outcome.is_late, record)
            # One in 10 s: see docs/operations.md.
            self.assertLessEqual(outcome.contests, outcome.duration / 10 + 1, record)
            self.assertLessEqual(outcome.searches, 10 + outcome.duration / 5, record)

    def test_attacks(self) -> None:
        """The device has its service within 60 s of its first message after the attack."""
        for kind in ATTACKS:
            for device in DEVICES:
                with self.subTest(kind=kind.name, device=device.name):
                    self.attack(kind, device)

    def test_excuse(self) -> None:
        """Only devices that never reply to searches are excused."""
        for kind in ATTACKS:
            for device in DEVICES:
                if device.replies:
                    outcomes = [Attack(kind, device, seed).run() for seed in range(1, 3)]
                    self.assertEqual([each.excused for each in outcomes], ["", ""])
