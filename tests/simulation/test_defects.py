"""Tests for the defects that the simulation notices."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.simulation.defect_list import Defect, Edit
from tests.simulation.defects import DEFECTS, EditError, edit, try_seeds

#: Defects with the options of a short simulation, the seed that notices each, and the invariant that is violated.
NOTICED = {
    "no-home": ("--no-faults --attack answering-usurper", 1, "the home has its service back during an attack"),
    "byebye-inherits": ("--no-faults --attack mover-once", 1, "a device that left is removed"),
    "any-kind-of-reply": ("--no-faults --attack unicast-byebyes", 1, "no unicast datagram is accepted"),
    "one-plan": ("--no-faults --attack flood-from-many", 1, "Consul is the registry"),
    "retry-after-unlimited": ("--no-attacks", 1, "the check of the daemon is passing while Consul accepts keep-alives"),
    "failed-adoption-empties-consul": ("--no-attacks", 2, "a device is not removed while its announcement is valid"),
    "expiry-while-deaf": ("--no-attacks", 2, "a device that answers does not expire before it is searched for"),
}


class EditTests(SynchronousTestCase):
    """Tests for :func:`edit`."""

    def test_all_defects(self) -> None:
        """Every defect fits the code."""
        for defect in DEFECTS:
            self.assertEqual(set(edit(defect)), {each.file for each in defect.edits})

    def test_names(self) -> None:
        """No two defects have the same name, and each has another effect than the others."""
        self.assertEqual(len({defect.name for defect in DEFECTS}), len(DEFECTS))
        self.assertEqual(len({defect.what for defect in DEFECTS}), len(DEFECTS))

    def test_other_code(self) -> None:
        """A defect whose text is not in the code, or whose result is no Python, is an error."""
        for old, new in (("no such text", ""), ("from __future__ import annotations", "from")):
            self.assertRaises(EditError, edit, Defect("x", "", (Edit("errors.py", old, new),)))


class NoticedTests(SynchronousTestCase):
    """Short simulations of code with a defect."""

    def test_known_defects(self) -> None:
        """The simulation notices each defect, by the invariant that it breaks."""
        defects = {defect.name: defect for defect in DEFECTS}
        for name, (options, seed, invariant) in NOTICED.items():
            catch = try_seeds(defects[name], [seed], 2.0, ["--devices", "60", *options.split()])
            self.assertEqual((name, catch.seed), (name, seed))
            self.assertIn(invariant, catch.violation)
