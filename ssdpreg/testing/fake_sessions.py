"""Sessions, keys and lock nodes of Consul in memory, with the responses of Consul 1.8, on a simulated clock."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

#: Multiple of the TTL after which Consul ends a session that was not renewed.
_TTL_FACTOR = 2.0


@dataclass
class FakeSession:
    """
    Session.

    :ivar session_id: Its ID.
    :ivar node: Node that it belongs to. The session ends with it.
    :ivar ttl: Seconds of its TTL.
    :ivar lock_delay: Seconds.
    :ivar renewed_at: Time of the latest renewal.
    """

    session_id: str
    node: str
    ttl: float
    lock_delay: float
    renewed_at: float


@dataclass
class FakeKey:
    """Key with its value, and the session that holds it."""

    value: bytes
    create_index: int
    modify_index: int
    lock_index: int = 0
    session: str = ""
    free_at: float = 0.0


@dataclass(eq=False)
class FakeSessions(Resource):
    """
    The part of Consul that locks need. Several clients can use it.

    :param clock: Clock of the TTLs, of the lock-delays and of the blocking queries.
    :ivar sessions: Sessions by ID.
    :ivar keys: Keys by name.
    :ivar nodes: Nodes of the catalog by name.
    :ivar requests: Method and path with query of every request so far.
    :ivar faults: Statuses and texts of error responses, by prefix of the path.
    :ivar silent: Prefixes of paths whose requests are not processed, and get no response.
    :ivar delays: Seconds until the response is sent, by prefix of the path.
    :ivar losing: Prefixes of paths whose requests are processed, and get no response.
    :ivar shortest_ttl: Seconds of the shortest TTL that is accepted.
    """

    clock: Clock
    sessions: dict[str, FakeSession] = field(default_factory=dict)
    keys: dict[str, FakeKey] = field(default_factory=dict)
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    faults: dict[str, tuple[int, str]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    losing: set[str] = field(default_factory=set)
    delays: dict[str, float] = field(default_factory=dict)
    shortest_ttl: float = 10.0
    index: int = 10
    created: int = 0

    isLeaf = True

    def __post_init__(self) -> None:
        super().__init__()
        self._blocked: list[Callable[[], None]] = []
        self._routes: list[tuple[str, str, Callable[..., Any]]] = [
            ("PUT", "/v1/session/create", self._create),
            ("PUT", "/v1/session/renew/([^/]*)", self._renew),
            ("PUT", "/v1/session/destroy/([^/]*)", self._destroy),
            ("GET", "/v1/kv/(.*)", self._read),
            ("PUT", "/v1/kv/(.*)", self._write),
            ("GET", "/v1/catalog/node/([^/]*)", self._show_node),
            ("PUT", "/v1/txn", self._transact),
        ]

    # Changes by tests.

    def wipe(self) -> None:
        """Remove all data, as a restart of the only server without its data does."""
        self.sessions.clear()
        self.keys.clear()
        self.nodes.clear()
        self._change()

    def end_session(self, session_id: str) -> None:
        """End a session as Consul does: its locks are free after the lock-delay."""
        session = self.sessions.pop(session_id)
        for key in self.keys.values():
            if key.session == session_id:
                key.session, key.free_at = "", self.clock.seconds() + session.lock_delay
                key.modify_index = self._next_index()
        self._change()

    def end_expired(self) -> None:
        """End the sessions whose TTL is over. Tests call it when they advance the clock."""
        now = self.clock.seconds()
        for session in list(self.sessions.values()):
            if now - session.renewed_at >= session.ttl * _TTL_FACTOR:
                self.end_session(session.session_id)

    def holder(self, key: str) -> str:
        """Return the session that holds a key; empty if there is none."""
        return self.keys[key].session if key in self.keys else ""

    # Requests.

    def render(self, request: Any) -> Any:
        method, path = request.method.decode(), request.path.decode()
        self.requests.append((method, request.uri.decode()))
        self.end_expired()
        if any(path.startswith(start) for start in self.silent):
            return NOT_DONE_YET
        status, answer = self._answer(request, method, path)
        if answer is NOT_DONE_YET or any(path.startswith(start) for start in self.losing):
            return NOT_DONE_YET
        delay = max((seconds for start, seconds in self.delays.items() if path.startswith(start)), default=0.0)
        if delay:
            call = self.clock.callLater(delay, self._respond, request, status, answer)
            request.notifyFinish().addErrback(lambda _: _cancel(call))
            return NOT_DONE_YET
        return self._finish(request, status, answer)

    def _respond(self, request: Any, status: int, answer: Any) -> None:
        request.write(self._finish(request, status, answer))
        request.finish()

    def _finish(self, request: Any, status: int, answer: Any) -> bytes:
        request.setResponseCode(status)
        return answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()

    def _answer(self, request: IRequest, method: str, path: str) -> tuple[int, Any]:
        for start, fault in self.faults.items():
            if path.startswith(start):
                return fault
        for allowed, pattern, answer in self._routes:
            match = re.fullmatch(pattern, path)
            if match is not None and method == allowed:
                found: tuple[int, Any] = answer(request, *map(unquote, match.groups()))
                return found
        return 404, ""

    def _create(self, request: Any) -> tuple[int, Any]:
        body = json.loads(request.content.read())
        if body["Node"] not in self.nodes:
            return 500, "rpc error making call: Missing node registration"
        ttl = float(body["TTL"].removesuffix("s"))
        if not self.shortest_ttl <= ttl <= 86400:
            return 500, f"Invalid Session TTL '{ttl * 1e9:.0f}', must be between [{self.shortest_ttl:g}s=24h0m0s]"
        if body.get("NodeChecks", ["serfHealth"]):
            return 500, "Missing check 'serfHealth' registration"
        self.created += 1
        session_id = f"{self.created:08x}-0000-0000-0000-000000000000"
        delay = float(body.get("LockDelay", "15s").removesuffix("s"))
        self.sessions[session_id] = FakeSession(session_id, body["Node"], ttl, delay, self.clock.seconds())
        return 200, {"ID": session_id}

    def _renew(self, request: Any, session_id: str) -> tuple[int, Any]:
        session = self.sessions.get(session_id)
        if session is None:
            return 404, f"Session id '{session_id}' not found"
        session.renewed_at = self.clock.seconds()
        return 200, [{"ID": session_id, "Node": session.node}]

    def _destroy(self, request: Any, session_id: str) -> tuple[int, Any]:
        if session_id in self.sessions:
            self.end_session(session_id)
        return 200, True

    def _read(self, request: Any, name: str) -> tuple[int, Any]:
        after = int(_argument(request, "index") or 0)
        key = self.keys.get(name)
        index = self.index if key is None else key.modify_index
        if after and index <= after:
            self._block(request, name, float(_argument(request, "wait").removesuffix("s")))
            return 200, NOT_DONE_YET
        return self._show(name)

    def _show(self, name: str) -> tuple[int, Any]:
        key = self.keys.get(name)
        if key is None:
            return 404, ""
        entry: dict[str, Any] = {
            "LockIndex": key.lock_index,
            "Key": name,
            "Flags": 0,
            "Value": base64.b64encode(key.value).decode() or None,
            "CreateIndex": key.create_index,
            "ModifyIndex": key.modify_index,
        }
        if key.session:
            entry["Session"] = key.session
        return 200, [entry]

    def _block(self, request: Any, name: str, wait: float) -> None:
        """Respond to a blocking query after the next change, or at the end of its wait."""

        def respond() -> None:
            if respond in self._blocked:
                self._blocked.remove(respond)
                _cancel(call)
                self._respond(request, *self._show(name))

        def cancel(_: object) -> None:
            if respond in self._blocked:
                self._blocked.remove(respond)
            _cancel(call)

        call = self.clock.callLater(wait, respond)
        self._blocked.append(respond)
        request.notifyFinish().addErrback(cancel)

    def _write(self, request: Any, name: str) -> tuple[int, Any]:
        value = request.content.read()
        acquiring, releasing = _argument(request, "acquire"), _argument(request, "release")
        key = self.keys.get(name)
        if acquiring:
            if acquiring not in self.sessions:
                return 500, f'rpc error making call: invalid session "{acquiring}"'
            if key is not None and (
                key.session not in ("", acquiring) or (not key.session and self.clock.seconds() < key.free_at)
            ):
                return 200, False
            if key is None:
                key = self.keys[name] = FakeKey(value, self.index + 1, self.index + 1)
            if key.session != acquiring:
                key.lock_index += 1
            key.session = acquiring
        elif releasing:
            if key is None or key.session != releasing:
                return 200, False
            key.session = ""
        elif key is None:
            key = self.keys[name] = FakeKey(value, self.index + 1, self.index + 1)
        key.value, key.modify_index = value, self._next_index()
        self._change()
        return 200, True

    def _show_node(self, request: Any, name: str) -> tuple[int, Any]:
        node = self.nodes.get(name)
        return 200, None if node is None else {"Node": node, "Services": {}}

    def _transact(self, request: Any) -> tuple[int, Any]:
        """Process a transaction that creates nodes. Other operations belong to the fake of the catalog."""
        operations = json.loads(request.content.read())
        errors = [
            {"OpIndex": number, "What": f'failed to cas node "{node["Node"]}", index is stale'}
            for number, node in enumerate(each["Node"]["Node"] for each in operations)
            if node["Node"] in self.nodes
        ]
        if errors:
            return 409, {"Results": None, "Errors": errors}
        for node in (each["Node"]["Node"] for each in operations):
            index = self._next_index()
            self.nodes[node["Node"]] = {**node, "CreateIndex": index, "ModifyIndex": index}
        return 200, {"Results": [], "Errors": None}

    def _next_index(self) -> int:
        self.index += 1
        return self.index

    def _change(self) -> None:
        """Respond to the blocking queries."""
        for respond in list(self._blocked):
            respond()


def _cancel(call: IDelayedCall) -> None:
    if call.active():
        call.cancel()


def _argument(request: Any, name: str) -> str:
    values: Mapping[bytes, list[bytes]] = request.args
    return values.get(name.encode(), [b""])[0].decode()
