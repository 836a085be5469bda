"""Operations that change the services of one device in Consul's catalog. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ssdpreg.backends.catalog.format import (
    UNKNOWN_ID,
    CatalogFormat,
    NodeContent,
    Operation,
    catalog_check_id,
    has_definition,
)
from ssdpreg.backends.catalog.nodes import CatalogNode
from ssdpreg.backends.catalog.transactions import Room, Unit, encode_operation
from ssdpreg.errors import BackendRefusedError
from ssdpreg.registration import Check, Registration


@dataclass(slots=True)
class NodeChange:
    """
    Changes of the services of one node.

    :ivar name: Name of the node.
    :ivar register: Registrations to create or replace, by service ID.
    :ivar remove: Registrations to remove, by service ID.
    :ivar attempts: Number of times that the node had changed when the operations were sent.
    """

    name: str
    register: dict[str, Registration] = field(default_factory=dict)
    remove: dict[str, Registration] = field(default_factory=dict)
    attempts: int = 0

    @property
    def service_ids(self) -> set[str]:
        """IDs of all services."""
        return {*self.register, *self.remove}


@dataclass(slots=True)
class Step:
    """
    Operations for a change, or for a part of it that fits into a transaction, and their effect.

    :ivar unit: The operations; None if nothing has to be written.
    :ivar done: IDs of the services that are as planned after the operations.
    :ivar refused: Services that cannot be registered.
    :ivar services: All registrations on the node after the operations.
    :ivar content: Fields of the node after the operations; None if it is deleted.
    :ivar rest: The part of the change that did not fit; None if nothing is left.
    """

    unit: Unit | None = None
    done: set[str] = field(default_factory=set)
    refused: dict[str, BackendRefusedError] = field(default_factory=dict)
    services: tuple[Registration, ...] = ()
    content: NodeContent | None = None
    rest: NodeChange | None = None


def leaves_nothing(node: CatalogNode | None, change: NodeChange) -> bool:
    """Return whether a change removes all services of an existing node."""
    return node is not None and not change.register and all(each.service_id in change.remove for each in node.services)


def make_step(
    format: CatalogFormat,
    node: CatalogNode | None,
    change: NodeChange,
    room: Room,
    *,
    delete: bool = False,
    batch: str = "",
) -> Step:
    """
    Return the operations for a change.

    :param node: The node as it is known; None if it does not exist.
    :param room: Space for the operations.
    :param delete: Whether to delete the node: see :func:`leaves_nothing`.
    :param batch: Batch in which the node is to be deleted later, if the change removes all its services.
    """
    if delete and node is not None and leaves_nothing(node, change):
        piece = encode_operation(format.delete_node(change.name, node.index))
        return Step(Unit(change.name, (piece,)), set(change.remove))
    return _StepMaker(format, node, change, room, batch).make()


class _StepMaker:
    def __init__(
        self, format: CatalogFormat, node: CatalogNode | None, change: NodeChange, room: Room, batch: str
    ) -> None:
        self._format, self._node, self._change, self._room, self._batch = format, node, change, room, batch
        self._services = {} if node is None else {each.service_id: each for each in node.services}
        # Consul compares the IDs of services without regard to case.
        self._slots = {each.name.lower(): each for each in self._services.values()}
        self._taken = {each.name.lower() for each in change.register.values()}
        self._pieces: list[str] = []
        # The operation of the node comes first. Its length depends on the others by a few bytes only.
        self._length = len(change.name) + 1024
        self._step = Step()

    def make(self) -> Step:
        change, step = self._change, self._step
        rest = NodeChange(change.name, attempts=change.attempts)
        for service_id, registration in change.remove.items():
            if rest.remove or not self._add(self._remove_operations(service_id)):
                rest.remove[service_id] = registration
                continue
            self._services.pop(service_id, None)
            step.done.add(service_id)
        for service_id, registration in change.register.items():
            error = self._find_collision(registration)
            if error is not None:
                step.refused[service_id] = error
            elif rest.remove or rest.register or not self._add(self._register_operations(registration)):
                rest.register[service_id] = registration
            else:
                before = self._services.get(service_id, registration)
                if before.name.lower() not in self._taken:
                    self._slots.pop(before.name.lower(), None)
                occupant = self._slots.get(registration.name.lower(), registration)
                if occupant.service_id != service_id:
                    self._services.pop(occupant.service_id, None)
                self._services[service_id] = registration
                self._slots[registration.name.lower()] = registration
                step.done.add(service_id)
        self._finish(rest)
        return step

    def _finish(self, rest: NodeChange) -> None:
        step, change, node = self._step, self._change, self._node
        if (rest.register or rest.remove) and not self._pieces and not step.done and not step.refused:
            too_long = next(iter(rest.remove or rest.register))
            rest.remove.pop(too_long, None)
            rest.register.pop(too_long, None)
            step.refused[too_long] = BackendRefusedError(413, "the registration is too long for a transaction")
        if rest.register or rest.remove:
            step.rest = rest
        step.services = tuple(self._services.values())
        if not self._pieces:
            return
        step.content = choose_content(None if node is None else node.content, step.services)
        if not step.services:
            step.content = replace(step.content, batch=self._batch)
        first = self._format.set_node(change.name, step.content, 0 if node is None else node.index)
        step.unit = Unit(change.name, (encode_operation(first), *self._pieces))

    def _add(self, operations: Iterable[Operation]) -> bool:
        """Add operations, and return True; or return False if they do not fit."""
        pieces = [encode_operation(operation) for operation in operations]
        length = self._length + sum(map(len, pieces)) + len(pieces)
        if 1 + len(self._pieces) + len(pieces) > self._room.operations or length > self._room.bytes:
            return False
        self._pieces += pieces
        self._length = length
        return True

    def _find_collision(self, registration: Registration) -> BackendRefusedError | None:
        occupant = self._slots.get(registration.name.lower())
        if (
            occupant is None
            or occupant.service_id == registration.service_id
            or occupant.service_id in self._change.remove
            or occupant.service_id.startswith(UNKNOWN_ID)
        ):
            return None
        return BackendRefusedError(409, f"another service of the device is registered as {registration.name}")

    def _remove_operations(self, service_id: str) -> list[Operation]:
        found = self._services.get(service_id)
        # A service that is registered with the same name replaces this one.
        if found is None or found.name.lower() in self._taken:
            return []
        return [self._format.delete_service(self._change.name, found.name)]

    def _register_operations(self, registration: Registration) -> list[Operation]:
        format, node = self._format, self._change.name
        before = self._services.get(registration.service_id)
        operations = []
        if before is not None and before.name != registration.name:
            if before.name.lower() == registration.name.lower() or before.name.lower() not in self._taken:
                operations.append(format.delete_service(node, before.name))
            before = None
        occupied = registration.name.lower() in self._slots
        create = self._node is not None and not occupied
        operations.append(format.set_service(node, registration, create=create))
        kinds_before = set() if before is None else {_kind(before, check) for check in before.checks}
        for check in sorted(registration.checks, key=lambda each: each.check_id):
            kind = _kind(registration, check)
            # consul-esm owns the status of a check with a definition, so that check is written only at its creation.
            if kind == "alive" or kind not in kinds_before:
                operations.append(format.set_check(node, registration, check, self._status(registration, kind)))
        if before is not None:
            kinds = {_kind(registration, check) for check in registration.checks}
            for check in sorted(before.checks, key=lambda each: each.check_id):
                if _kind(before, check) not in kinds:
                    check_id = catalog_check_id(before, check)
                    operations.append(format.delete_check(node, check_id, registration.name))
        return operations

    def _status(self, registration: Registration, kind: str) -> str:
        # consul-esm removed the service because this check was critical.
        lost = self._node is not None and registration.service_id in self._node.lost
        return "critical" if lost and kind != "alive" else "passing"


def choose_content(before: NodeContent | None, services: Iterable[Registration]) -> NodeContent:
    """
    Return the fields of a node with some services.

    The services of a device may have different addresses. The node keeps its address while one of them has it.

    :param before: Fields of the node as it is; None if it does not exist.
    """
    services = tuple(services)
    addresses = [each.address for each in services]
    if before is None:
        return NodeContent(addresses[0], has_definition(services))
    address = before.address if not addresses or before.address in addresses else addresses[0]
    return NodeContent(address, has_definition(services), before.extra)


def group_changes(
    register: Iterable[Registration],
    deregister: Iterable[Registration],
    misplaced: Mapping[str, str],
    format: CatalogFormat,
) -> dict[str, NodeChange]:
    """
    Group changes by node, in the order of their first change.

    :param misplaced: Nodes of services that are not on the node of their device, by service ID.
    """
    changes: dict[str, NodeChange] = {}

    def of(name: str) -> NodeChange:
        if name not in changes:
            changes[name] = NodeChange(name)
        return changes[name]

    for registration in deregister:
        name = misplaced.get(registration.service_id) or format.node_name(registration)
        of(name).remove[registration.service_id] = registration
    for registration in register:
        name = format.node_name(registration)
        old = misplaced.get(registration.service_id)
        if old is not None and old != name:
            of(old).remove[registration.service_id] = registration
        of(name).register[registration.service_id] = registration
    return changes


def _kind(registration: Registration, check: Check) -> str:
    return check.check_id.removeprefix(f"{registration.service_id}-")
