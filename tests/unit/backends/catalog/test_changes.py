"""Tests for :mod:`ssdpreg.backends.catalog.changes` and :mod:`ssdpreg.backends.catalog.nodes`."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import chain
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.backends.catalog.changes import NodeChange, Step, choose_content, group_changes, make_step
from ssdpreg.backends.catalog.format import CatalogFormat, NodeContent
from ssdpreg.backends.catalog.nodes import CatalogNode, CatalogNodes
from ssdpreg.backends.catalog.transactions import Room
from ssdpreg.registration import Check, Registration
from ssdpreg.testing import make_registration

FORMAT = CatalogFormat("test")
ROOM = Room(63, 500_000)


def service(letter: str, **changes: Any) -> Registration:
    """Return a registration of one device, whose ID and name end in a letter."""
    service_id = f"ssdpreg-{letter}-0123456789abcdef"
    defaults = {"checks": frozenset({Check(f"{service_id}-alive", "alive")}), "name": f"RackHD-{letter}"}
    return make_registration(0, service_id=service_id, **{**defaults, **changes})


def verbs(step: Step) -> list[str]:
    """Return the operations of a step as ``kind verb name``."""
    result = []
    for piece in () if step.unit is None else step.unit.pieces:
        ((kind, body),) = json.loads(piece).items()
        name = body[kind].get("CheckID") or body[kind].get("ID") or body[kind].get("Node")
        result.append(f"{kind} {body['Verb']} {name}")
    return result


def step_of(
    node: CatalogNode | None,
    register: tuple[Registration, ...] = (),
    remove: tuple[Registration, ...] = (),
    room: Room = ROOM,
    **options: Any,
) -> Step:
    """Return the step for a change of one node."""
    change = NodeChange("d", {each.service_id: each for each in register}, {each.service_id: each for each in remove})
    return make_step(FORMAT, node, change, room, **options)


def node_with(*services: Registration, **fields: Any) -> CatalogNode:
    """Return a node that has some services."""
    return CatalogNode(choose_content(None, services), 9, services, **fields)


class MakeStepTests(SynchronousTestCase):
    """Tests for :func:`make_step`."""

    def test_new_node(self) -> None:
        """A new device needs three operations: nothing can be on a node that did not exist."""
        step = step_of(None, (service("a"),))
        self.assertEqual(verbs(step), ["Node cas d", "Service set RackHD-a", "Check set ssdpreg:RackHD-a"])
        self.assertEqual((step.done, step.services), ({service("a").service_id}, (service("a"),)))

    def test_new_service(self) -> None:
        """A service is added to an existing node only if the node has no service with its ID."""
        step = step_of(node_with(service("a")), (service("b"),))
        self.assertEqual(verbs(step), ["Node cas d", "Service cas RackHD-b", "Check set ssdpreg:RackHD-b"])
        assert step.unit is not None
        self.assertEqual(json.loads(step.unit.pieces[0])["Node"]["Node"]["ModifyIndex"], 9)

    def test_removal(self) -> None:
        """The last service is removed with its node, unless the node may not be deleted."""
        node = node_with(service("a"), service("b"))
        step = step_of(node, remove=(service("a"),), delete=True)
        self.assertEqual(verbs(step), ["Node cas d", "Service delete RackHD-a"])
        both = (service("a"), service("b"))
        self.assertEqual(verbs(step_of(node, remove=both, delete=True)), ["Node delete-cas d"])
        step = step_of(node, remove=both)
        self.assertEqual(verbs(step), ["Node cas d", "Service delete RackHD-a", "Service delete RackHD-b"])
        self.assertEqual(step.content, node.content)

    def test_unknown_removal(self) -> None:
        """The removal of a service that is not on the node needs no operation."""
        for node in (None, node_with(service("b"))):
            step = step_of(node, remove=(service("a"),))
            self.assertEqual((step.unit, step.done), (None, {service("a").service_id}))

    def test_rename(self) -> None:
        """A service with another name replaces the earlier one, also if only the case differs."""
        step = step_of(node_with(service("a")), (service("a", name="RackHD-z"),))
        self.assertEqual(
            verbs(step),
            ["Node cas d", "Service delete RackHD-a", "Service cas RackHD-z", "Check set ssdpreg:RackHD-z"],
        )
        step = step_of(node_with(service("a")), (service("a", name="RackHD-A"),))
        self.assertEqual(verbs(step)[1:3], ["Service delete RackHD-a", "Service set RackHD-A"])

    def test_checks(self) -> None:
        """A configured check is written once, and removed when it is not configured any more."""
        plain = service("a")
        http = Check(f"{plain.service_id}-http-1a", "http", "http://h/", 15.0)
        checked = replace(plain, checks=plain.checks | {http})
        added = "Check set ssdpreg-http-1a:RackHD-a"
        self.assertIn(added, verbs(step_of(None, (checked,))))
        self.assertIn(added, verbs(step_of(node_with(plain), (checked,))))
        self.assertNotIn(added, verbs(step_of(node_with(checked), (replace(checked, port=1),))))
        step = step_of(node_with(checked), (plain,))
        self.assertIn("Check delete ssdpreg-http-1a:RackHD-a", verbs(step))
        assert step.content is not None
        self.assertFalse(step.content.external)
        node = CatalogNode(NodeContent("h"), 9, (), (checked.service_id,))
        step = step_of(node, (checked,))
        assert step.unit is not None
        statuses = [json.loads(piece)["Check"]["Check"]["Status"] for piece in step.unit.pieces if "CheckID" in piece]
        self.assertEqual(statuses, ["passing", "critical"])

    def test_collision(self) -> None:
        """A name that another live service of the device has is rejected, also if its case differs."""
        one, two = service("a"), service("b", name="RACKHD-A")
        step = step_of(node_with(one), (two,))
        self.assertEqual((step.unit, step.done, step.refused.keys()), (None, set(), {two.service_id}))
        step = step_of(node_with(one), (two,), (one,))
        self.assertEqual((step.done, step.services), ({one.service_id, two.service_id}, (two,)))
        self.assertEqual(verbs(step)[1], "Service set RACKHD-A")
        unknown = replace(one, service_id="ssdpreg-unknown-0123456789abcdef")
        self.assertEqual(step_of(node_with(unknown), (two,)).services, (two,))

    def test_many_services(self) -> None:
        """The services of a device that do not fit into one transaction are written by several."""
        services = tuple(service(f"s{number}") for number in range(50))
        node, done, steps = None, set(), 0
        change: NodeChange | None = NodeChange("d", {each.service_id: each for each in services})
        while change is not None:
            step = make_step(FORMAT, node, change, ROOM)
            assert step.unit is not None and step.content is not None
            self.assertLessEqual(len(step.unit.pieces), ROOM.operations)
            done |= step.done
            node, change, steps = CatalogNode(step.content, 9, step.services), step.rest, steps + 1
        self.assertEqual((len(done), steps), (50, 2))
        assert node is not None
        removal = step_of(node, remove=services[:40], room=Room(20, 500_000))
        self.assertEqual((len(removal.done), len(removal.services)), (19, 31))

    def test_too_long(self) -> None:
        """A registration that is too long for any transaction is rejected, and the others are not."""
        long, short = service("a", name="x" * 3000), service("b")
        step = step_of(None, (long, short), room=Room(63, 4000))
        self.assertEqual(step.refused.keys(), {long.service_id})
        assert step.rest is not None
        self.assertEqual(step.rest.register, {short.service_id: short})
        self.assertIsNotNone(make_step(FORMAT, None, step.rest, Room(63, 4000)).unit)

    def test_address(self) -> None:
        """A node keeps its address while one of its services has it."""
        one, two = service("a", address="192.0.2.1"), service("b", address="192.0.2.2")
        self.assertEqual(choose_content(None, (two, one)).address, "192.0.2.2")
        before = NodeContent("192.0.2.1", extra=(("ID", "x"),))
        self.assertEqual(choose_content(before, (two, one)), before)
        self.assertEqual(choose_content(before, (two,)), NodeContent("192.0.2.2", extra=(("ID", "x"),)))
        self.assertEqual(choose_content(before, ()), before)


class CatalogNodesTests(SynchronousTestCase):
    """Tests for :class:`CatalogNodes`."""

    def setUp(self) -> None:
        self.nodes = CatalogNodes(FORMAT)
        for number in range(10):
            registration = make_registration(number)
            self.nodes.by_name[f"device-{number}"] = node_with(registration)

    def read(self, known: dict[str, Registration] | None = None) -> dict[str, Registration]:
        """Return what a backend's ``read`` would return."""
        found = self.nodes.registrations(list(self.nodes.by_name), known or {})
        return {each.service_id: each for each in found}

    def test_rounds(self) -> None:
        """Each round has every node once, in about as many parts as the share says."""
        parts = [self.nodes.next_round(0.25) for _ in range(4)]
        self.assertEqual(sorted(chain(*parts)), sorted(self.nodes.by_name))
        self.assertEqual([len(part) for part in parts], [3, 3, 3, 1])
        self.nodes.next_round(0.25)
        self.nodes.remove("device-0")
        self.assertNotIn("device-0", list(chain(*(self.nodes.next_round(0.25) for _ in range(4)))))

    def test_empty(self) -> None:
        """Without nodes, there is nothing to compare."""
        self.nodes.clear()
        self.assertEqual(self.nodes.next_round(0.05), [])

    def test_round_with_removals(self) -> None:
        """A round does not become longer if the nodes that were compared are removed."""
        for number in range(1000):
            self.nodes.by_name[f"device-{number}"] = CatalogNode(NodeContent("h"), 1)
        for _ in range(20):
            for name in self.nodes.next_round(0.05):
                self.nodes.remove(name)
        self.assertEqual(len(self.nodes), 0)
        self.assertEqual(self.read(), {})

    def test_node_becomes_wrong(self) -> None:
        """A node that was right is examined again when its content or its services are replaced."""
        node = self.nodes.by_name["device-3"]
        content, services = node.content, node.services
        for address in (content.address, "192.0.2.99", content.address):
            node.content = replace(content, address=address)
            self.assertEqual(node.is_right, address == content.address)
        node.services = (replace(services[0], address="192.0.2.98"),)
        self.assertFalse(node.is_right)
        node.services = ()
        self.assertTrue(node.is_right)

    def test_known(self) -> None:
        """An equal registration of the caller replaces the one that was read."""
        other = make_registration(3)
        self.assertIs(self.read({other.service_id: other})[other.service_id], other)
        self.assertIs(self.read()[other.service_id], other)
        moved = make_registration(3, port=1)
        self.assertIs(self.read({other.service_id: moved})[other.service_id], other)

    def test_wrong_node(self) -> None:
        """The services of a node with wrong fields differ from all live ones, so that they are written again."""
        for content in (NodeContent("10.1.1.1"), NodeContent(make_registration(1).address, True)):
            self.nodes.by_name["device-1"].content = content
            found = self.read()
            self.assertNotEqual(found[make_registration(1).service_id], make_registration(1))
            self.assertEqual(found[make_registration(2).service_id], make_registration(2))

    def test_other_place(self) -> None:
        """A service on another node than that of its device is written again, and removed from that node."""
        registration = make_registration(77)
        self.nodes.by_name["old-name"] = CatalogNode(NodeContent(registration.address), 3)
        self.nodes.set_services("old-name", [registration])
        self.assertNotEqual(self.read()[registration.service_id], registration)
        changes = group_changes([registration], [], self.nodes.misplaced, FORMAT)
        self.assertEqual(list(changes), ["old-name", "device-77"])
        self.assertEqual(changes["old-name"].remove, {registration.service_id: registration})
        self.assertEqual(list(group_changes([], [registration], self.nodes.misplaced, FORMAT)), ["old-name"])
        self.nodes.remove("old-name")
        self.assertEqual(self.nodes.misplaced, {})
