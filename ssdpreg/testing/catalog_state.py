"""Consul's catalog, keys and sessions in memory, with the rules and errors of Consul 1.8."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

#: Operations of a transaction that Consul 1.8 accepts.
MOST_OPERATIONS = 64


class OperationError(Exception):
    """An operation of a transaction fails. The text is Consul's."""


class CatalogState:
    """
    Nodes, services, checks, keys and sessions.

    Names of nodes, IDs of services and IDs of checks are compared without regard to case.

    :ivar nodes: Nodes by name in lower case, in the format of the catalog's listing.
    :ivar services: Services by name of the node and ID, both in lower case, as a transaction returns them.
    :ivar checks: Checks by name of the node and ID, both in lower case.
    :ivar keys: Keys: ``Session``, ``LockIndex``, ``Value`` and indexes.
    :ivar sessions: Names of the sessions by ID.
    :ivar index: Index of the latest entry of the raft log.
    :ivar denied: Called with the kind and the body of an operation that writes. Returns whether it lacks a permission.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, dict[str, Any]] = {}
        self.services: dict[tuple[str, str], dict[str, Any]] = {}
        self.checks: dict[tuple[str, str], dict[str, Any]] = {}
        self.keys: dict[str, dict[str, Any]] = {}
        self.sessions: dict[str, str] = {}
        self.index = 10
        self.denied: Callable[[str, Mapping[str, Any]], bool] = lambda kind, body: False

    def wipe(self) -> None:
        """Remove everything, as a restart of the only server without its data does."""
        for each in (self.nodes, self.services, self.checks, self.keys, self.sessions):
            each.clear()

    # Sessions and keys.

    def create_session(self, node: str) -> str:
        """Create a session, and return its ID."""
        session = str(uuid.uuid4())
        self.sessions[session] = node
        return session

    def destroy_session(self, session: str) -> None:
        """Destroy a session, and release its keys."""
        self.sessions.pop(session, None)
        for key in self.keys.values():
            if key.get("Session") == session:
                del key["Session"]

    def acquire(self, name: str, session: str) -> bool:
        """Acquire a key for a session."""
        if session not in self.sessions:
            raise OperationError(f'invalid session "{session}"')
        key = self.keys.setdefault(name, {"Key": name, "LockIndex": 0, "Flags": 0, "Value": None})
        if key.get("Session", session) != session:
            return False
        if "Session" not in key:
            self.index += 1
            key |= {"Session": session, "LockIndex": key["LockIndex"] + 1, "ModifyIndex": self.index}
        return True

    def release(self, name: str, session: str) -> bool:
        """Release a key that a session holds."""
        key = self.keys.get(name, {})
        if key.get("Session") != session:
            return False
        self.index += 1
        del key["Session"]
        key["ModifyIndex"] = self.index
        return True

    # Transactions.

    def transact(self, operations: list[dict[str, Any]]) -> tuple[list[Any], list[dict[str, Any]]]:
        """
        Apply a transaction, completely or not at all.

        :return: Results, and errors.
        """
        denied = [
            {"OpIndex": index, "What": "Permission denied"}
            for index, operation in enumerate(operations)
            for kind, body in operation.items()
            if body.get("Verb") not in ("get", None) and self.denied(kind, body)
        ]
        if denied:
            return [], denied
        # Entries are replaced, and never changed.
        before = (dict(self.nodes), dict(self.services), dict(self.checks), self.index)
        self.index += 1
        results: list[Any] = []
        errors: list[dict[str, Any]] = []
        for index, operation in enumerate(operations):
            ((kind, body),) = operation.items()
            try:
                result = getattr(self, f"_apply_{kind.lower()}")(body)
            except OperationError as error:
                errors.append({"OpIndex": index, "What": str(error)})
            else:
                if result is not None:
                    results.append({kind: result})
        if errors:
            self.nodes, self.services, self.checks, self.index = before
            return [], errors
        if (self.nodes, self.services, self.checks) == before[:3]:
            self.index = before[3]
        return results, []

    def _apply_kv(self, body: Mapping[str, Any]) -> Any:
        name, key = body["Key"], self.keys.get(body["Key"])
        if body["Verb"] == "check-not-exists":
            if key is not None:
                raise OperationError(f'key "{name}" exists')
            return None
        if body["Verb"] != "check-session":
            raise OperationError(f'unknown KV verb "{body["Verb"]}"')
        if key is None:
            raise OperationError(f'failed to check session, key "{name}" doesn\'t exist')
        current = key.get("Session", "")
        if current != body["Session"]:
            raise OperationError(
                f'failed session check for key "{name}", current session "{current}" != "{body["Session"]}"'
            )
        return key

    def _apply_node(self, body: Mapping[str, Any]) -> Any:
        verb, node = body["Verb"], body["Node"]
        name = node["Node"]
        found = self.nodes.get(name.lower())
        index = 0 if found is None else found["ModifyIndex"]
        if verb == "get":
            if found is None:
                raise OperationError(f'node "{name}" doesn\'t exist')
            return found
        if verb in ("cas", "delete-cas") and node.get("ModifyIndex", 0) != index:
            raise OperationError(f'failed to {"set" if verb == "cas" else "delete"} node "{name}", index is stale')
        if verb in ("delete", "delete-cas"):
            self._delete_node(name.lower())
            return None
        stored = {
            "ID": node.get("ID", ""),
            "Node": name,
            "Address": node["Address"],
            "Datacenter": node.get("Datacenter") or "dc1",
            "TaggedAddresses": node.get("TaggedAddresses"),
            "Meta": node.get("Meta"),
        }
        return self._store(self.nodes, name.lower(), stored)

    def _delete_node(self, name: str) -> None:
        self.nodes.pop(name, None)
        for entries in (self.services, self.checks):
            for key in [key for key in entries if key[0] == name]:
                del entries[key]

    def _apply_service(self, body: Mapping[str, Any]) -> Any:
        verb, node, service = body["Verb"], body["Node"], body["Service"]
        service_id = service.get("ID") or service.get("Service")
        key = (node.lower(), service_id.lower())
        found = self.services.get(key)
        if verb == "get":
            if found is None:
                raise OperationError(f'service "{service_id}" on node "{node}" doesn\'t exist')
            return found
        if verb == "delete-cas" and service.get("ModifyIndex", 0) != (0 if found is None else found["ModifyIndex"]):
            raise OperationError(f'failed to delete service "{service_id}" on node "{node}", index is stale')
        if verb in ("delete", "delete-cas"):
            if not service.get("Service"):
                raise OperationError("Must provide service name with ID")
            self.services.pop(key, None)
            for each, check in list(self.checks.items()):
                if each[0] == key[0] and check["ServiceID"].lower() == key[1]:
                    del self.checks[each]
            return None
        if key[0] not in self.nodes:
            raise OperationError("Missing node registration")
        if verb == "cas" and service.get("ModifyIndex", 0) != (0 if found is None else found["ModifyIndex"]):
            raise OperationError(f'failed to set service "{service_id}" on node "{node}", index is stale')
        for name, value in (service.get("Meta") or {}).items():
            if len(value.encode()) > 512:
                raise OperationError(
                    f"Invalid Service Meta for node {node} and serviceID {service_id}: Couldn't load metadata pair"
                    f" ('{name}', '{value}'): Value is too long (limit: 512 characters)"
                )
        stored = {
            "ID": service_id,
            "Service": service["Service"],
            "Tags": service.get("Tags"),
            "Address": service.get("Address", ""),
            "Meta": service.get("Meta"),
            "Port": service.get("Port", 0),
            "Weights": {"Passing": 1, "Warning": 1},
            "EnableTagOverride": False,
            "Proxy": {"MeshGateway": {}, "Expose": {}},
            "Connect": {},
        }
        return self._store(self.services, key, stored)

    def _apply_check(self, body: Mapping[str, Any]) -> Any:
        verb, check = body["Verb"], body["Check"]
        node, check_id = check["Node"], check["CheckID"]
        key = (node.lower(), check_id.lower())
        if verb == "get":
            if key not in self.checks:
                raise OperationError(f'check "{check_id}" on node "{node}" doesn\'t exist')
            return self.checks[key]
        if verb == "delete":
            self.checks.pop(key, None)
            return None
        if key[0] not in self.nodes:
            raise OperationError("Missing node registration")
        service = self.services.get((key[0], check.get("ServiceID", "").lower()))
        if check.get("ServiceID") and service is None:
            raise OperationError("Missing service registration")
        stored = {
            "Node": node,
            "CheckID": check_id,
            "Name": check.get("Name", ""),
            "Status": check.get("Status") or "critical",
            "Notes": check.get("Notes", ""),
            "Output": check.get("Output", ""),
            "ServiceID": check.get("ServiceID", ""),
            "ServiceName": "" if service is None else service["Service"],
            "ServiceTags": [] if service is None else service["Tags"],
            "Type": "",
            "Definition": check.get("Definition") or {},
        }
        return self._store(self.checks, key, stored)

    def _store(self, entries: dict[Any, dict[str, Any]], key: Any, stored: dict[str, Any]) -> dict[str, Any]:
        """Store an entry. One that is equal to the stored one keeps its index."""
        found = entries.get(key)
        created = self.index if found is None else found["CreateIndex"]
        if found is None or {**found, "CreateIndex": 0, "ModifyIndex": 0} != {
            **stored,
            "CreateIndex": 0,
            "ModifyIndex": 0,
        }:
            entries[key] = {**stored, "CreateIndex": created, "ModifyIndex": self.index}
        return entries[key]
