"""Simulated servers of Consul in catalog mode: catalog, transactions, keys, and sessions that expire."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from random import Random
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from ssdpreg.backends.scopes.holder import SCOPES
from ssdpreg.testing.catalog_state import CatalogState, OperationError
from ssdpreg.testing.fake_catalog import FakeConsulCatalog
from ssdpreg.testing.fake_consul import FakeResponseError
from tests.simulation.catalog_view import CatalogView
from tests.simulation.clock import ProcessClock, WorldClock
from tests.simulation.consul import Answer

#: Seconds between two searches for sessions whose TTL is over.
_TICK = 0.5
#: Multiple of the TTL after which Consul ends a session: at least, and at most.
_TTL_FACTOR = (1.0, 2.0)

Respond = Callable[[int, bytes, "str | None"], None]
Operations = list[dict[str, Any]]


@dataclass
class Session:
    """
    Session.

    :ivar process: Process that created it.
    :ivar node: Node to which it belongs.
    :ivar ttl: Seconds of its TTL.
    :ivar lock_delay: Seconds in which its keys cannot be acquired after Consul ended it.
    :ivar expires_at: Time at which it ends without a renewal.
    """

    process: ProcessClock | None
    node: str
    ttl: float
    lock_delay: float
    expires_at: float


class _State(CatalogState):
    """Content of the catalog, with the operations on keys that the reaper needs."""

    def transact(self, operations: Operations) -> tuple[list[Any], Operations]:
        before = dict(self.keys)
        results, errors = super().transact(operations)
        if errors:
            self.keys = before
        return results, errors

    def _apply_kv(self, body: Mapping[str, Any]) -> Any:
        name, key = body["Key"], self.keys.get(body["Key"])
        if body["Verb"] == "check-index":
            if key is None or key["ModifyIndex"] != body["Index"]:
                raise OperationError(f'failed index check for key "{name}"')
            return key
        if body["Verb"] == "delete-cas":
            if key is None or key["ModifyIndex"] != body["Index"]:
                raise OperationError(f'failed to delete key "{name}", index is stale')
            del self.keys[name]
            return None
        return super()._apply_kv(body)


class _Server(FakeConsulCatalog):
    """
    Fake of the catalog whose sessions belong to processes, and expire on the simulated clock.

    :ivar process: Process that sent the present request.
    """

    def __init__(self, clock: WorldClock, random: Random) -> None:
        super().__init__()
        self.state = _State()
        self._clock, self._random = clock, random
        self._created = 0
        self._free_at: dict[str, float] = {}
        self.by_id: dict[str, Session] = {}
        self.process: ProcessClock | None = None
        self.lock_changed: Callable[[], None] = lambda: None
        self.transacted: Callable[[Operations, dict[str, Any], dict[Any, Any]], None] = lambda *_: None

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> bytes:
        """Return the response to a request. It may raise :class:`FakeResponseError`."""
        # The public fake keeps all of them for tests.
        self.requests.clear()
        self.transactions.clear()
        request = type("_Request", (), {"content": BytesIO(body)})()
        return json.dumps(self._answer(request, method, path, query)).encode()

    def end_session(self, session_id: str, *, delayed: bool) -> None:
        """End a session, and free its keys, with the lock-delay or without."""
        session = self.by_id.pop(session_id, None)
        if session is None:
            return
        for name, key in self.state.keys.items():
            if key.get("Session") == session_id:
                self.state.index += 1
                self.state.keys[name] = {**key, "Session": "", "ModifyIndex": self.state.index}
                self._free_at[name] = self._clock.seconds() + (session.lock_delay if delayed else 0.0)
        self.lock_changed()

    def end_expired(self) -> None:
        """End the sessions whose TTL is over, and those whose node does not exist."""
        now = self._clock.seconds()
        for session_id, session in list(self.by_id.items()):
            if session.expires_at <= now or session.node.lower() not in self.state.nodes:
                self.end_session(session_id, delayed=True)

    def restart_sessions(self) -> None:
        """Begin the TTL of every session again, as a new leader does."""
        for session in self.by_id.values():
            session.expires_at = self._expiry(session.ttl)

    def _expiry(self, ttl: float) -> float:
        return self._clock.seconds() + ttl * self._random.uniform(*_TTL_FACTOR)

    def _transact(self, content: bytes, query: dict[str, str]) -> Any:
        nodes, services = dict(self.state.nodes), dict(self.state.services)
        answer = super()._transact(content, query)
        operations = json.loads(content)
        if touched(operations):
            self.transacted(operations, nodes, services)
            # The node of a session may be removed.
            self.end_expired()
        return answer

    def _create_session(self, content: bytes, query: dict[str, str]) -> Any:
        body = json.loads(content)
        if body["Node"].lower() not in self.state.nodes:
            raise FakeResponseError(500, "rpc error making call: Missing node registration")
        self._created += 1
        session_id = f"{self._created:08x}-0000-0000-0000-000000000000"
        ttl, delay = (float(body[key].removesuffix("s")) for key in ("TTL", "LockDelay"))
        self.by_id[session_id] = Session(self.process, body["Node"], ttl, delay, self._expiry(ttl))
        self.state.index += 1
        return {"ID": session_id}

    def _renew_session(self, content: bytes, query: dict[str, str], session: str) -> Any:
        if session not in self.by_id:
            raise FakeResponseError(404, f"Session id '{session}' not found")
        self.by_id[session].expires_at = self._expiry(self.by_id[session].ttl)
        return [{"ID": session}]

    def _destroy_session(self, content: bytes, query: dict[str, str], session: str) -> Any:
        self.end_session(session, delayed=True)
        return True

    def _write_key(self, content: bytes, query: dict[str, str], name: str) -> Any:
        key = self.state.keys.get(name)
        if "release" in query:
            if key is None or key.get("Session") != query["release"]:
                return False
            self.state.index += 1
            self.state.keys[name] = {**key, "Session": "", "ModifyIndex": self.state.index}
            self.lock_changed()
            return True
        session = query["acquire"]
        if session not in self.by_id:
            raise FakeResponseError(500, f'rpc error making call: invalid session "{session}"')
        holder = "" if key is None else key.get("Session", "")
        if holder not in ("", session) or (not holder and self._clock.seconds() < self._free_at.get(name, 0.0)):
            return False
        self.state.index += 1
        locks = (0 if key is None else key["LockIndex"]) + (holder != session)
        self.state.keys[name] = {
            "Key": name,
            "Flags": 0,
            "Value": b64encode(content).decode(),
            "LockIndex": locks,
            "Session": session,
            "ModifyIndex": self.state.index,
        }
        self.lock_changed()
        return True

    def _read_key(self, content: bytes, query: dict[str, str], name: str) -> Any:
        if "recurse" in query:
            found = [key for each, key in sorted(self.state.keys.items()) if each.startswith(name)]
        else:
            found = [self.state.keys[name]] if name in self.state.keys else []
        if not found or self.unreadable:
            raise FakeResponseError(404, "")
        return [{key: value for key, value in each.items() if key != "Session" or value} for each in found]


class SimulatedCatalog(CatalogView):
    """
    Servers of Consul, with the attributes of :class:`tests.simulation.consul.SimulatedConsul` that faults set.

    :param clock: Clock of the world.
    :param random: Source of the latency and of the times of expiry.
    :ivar cut_off: Processes whose requests do not arrive, and whether they arrive at the end of that.
    :ivar lose_answers: Probability that the response to a transaction is lost.
    :ivar leader_lost: Probability that a transaction fails with an unknown outcome.
    :ivar applied: Called with the process and the operations of a transaction that was accepted, and with the nodes
        and services before. It returns ``daemon``, ``reaper`` or ``operator``.
    """

    def __init__(self, clock: WorldClock, random: Random) -> None:
        super().__init__()
        self._clock, self._random = clock, random
        self.server = _Server(clock, random)
        self.state = self.server.state
        self.fault: Callable[[str, str, bytes], str | None] | None = None
        self.reachable, self.silent, self.only_own = True, False, False
        self.latency = (0.001, 0.02)
        self.lose_answers = self.leader_lost = 0.0
        self.requests = self._session_writes = 0
        self.cut_off: dict[ProcessClock, bool] = {}
        self._held_back: list[Callable[[], None]] = []
        self._blocked: dict[Callable[[], None], None] = {}
        self.applied: Callable[[ProcessClock | None, Operations, dict[str, Any], dict[Any, Any]], str] = lambda *_: ""
        self.locks_changed: Callable[[], None] = lambda: None
        self.server.lock_changed = self._lock_changed
        self.server.transacted = self._transacted
        clock.callLater(_TICK, self._tick)

    # State for the world.

    @property
    def hidden(self) -> bool:
        """Whether listings are empty, as with a token that may not read."""
        return self.server.unreadable

    @hidden.setter
    def hidden(self, hidden: bool) -> None:
        self.server.unreadable = hidden

    @property
    def writes(self) -> int:
        """Number of writes to the raft log so far."""
        return self.state.index

    @property
    def healthy(self) -> bool:
        """Whether requests succeed soon."""
        lossy = self.lose_answers or self.leader_lost
        return self.reachable and not self.silent and self.fault is None and self.latency[1] < 1.0 and not lossy

    def holder(self, scope: str) -> ProcessClock | None:
        """Return the process whose session holds the lock of a scope."""
        return self.holder_of_key(SCOPES + scope)

    def holder_of_key(self, name: str) -> ProcessClock | None:
        """Return the process whose session holds a key."""
        session = self.server.by_id.get(self.state.keys.get(name, {}).get("Session", ""))
        return None if session is None else session.process

    def transact(self, operations: Operations) -> None:
        """Apply a transaction of an operator."""
        self.server.process = None
        self.server.answer("PUT", "/v1/txn", {}, json.dumps(operations).encode())

    def wipe(self) -> None:
        """Remove everything, as a restart of all servers without their data does."""
        before = dict(self.state.nodes), dict(self.state.services)
        self.state.wipe()
        for session_id in list(self.server.by_id):
            self.server.end_session(session_id, delayed=False)
        self.update({name for name, _ in before[1]} | set(before[0]), "agent")

    def end_session_of(self, scope: str) -> None:
        """End the session that holds the lock of a scope."""
        self.server.end_session(self.state.keys.get(SCOPES + scope, {}).get("Session", ""), delayed=True)

    def delete_lock(self, scope: str) -> None:
        """Remove the key that is the lock of a scope, while its session goes on."""
        if self.state.keys.pop(SCOPES + scope, None) is not None:
            self.state.index += 1
            self.server.lock_changed()

    def reconnect(self, process: ProcessClock) -> None:
        """Let the requests of a process arrive again, and also those that were held back."""
        self.cut_off.pop(process, None)
        held, self._held_back = self._held_back, []
        for arrive in held:
            self._clock.callLater(self.delay(), arrive)

    # Requests.

    def delay(self) -> float:
        """Return the seconds that the next request or response takes."""
        return self._random.uniform(*self.latency) / 2

    def send(self, process: ProcessClock, arrive: Callable[[], None]) -> None:
        """Carry a request of a process. A process that is killed now has sent it all the same."""
        self.requests += 1
        keep = self.cut_off.get(process)
        if keep is None:
            self._clock.callLater(self.delay(), arrive)
        elif keep:
            self._held_back.append(arrive)

    def serve(self, process: ProcessClock, method: str, url: str, body: bytes, respond: Respond) -> None:
        """Process a request. ``respond`` is called with the status, the body and Retry-After, or not at all."""
        parts = urlsplit(url)
        path, query = unquote(parts.path), dict(parse_qsl(parts.query, keep_blank_values=True))
        try:
            replaced = None if self.fault is None else self.fault(method, path, body)
            if replaced is not None:
                respond(200, replaced.encode(), None)
                return
            if "index" in query and self._index_of(path) <= int(query["index"]):
                self._block(process, method, url.replace("index=", "was="), body, respond, query)
                return
            unknown = path == "/v1/txn" and b'"check-session"' in body and self._random.random() < self.leader_lost
            if unknown and self._random.random() < 0.5:
                raise Answer(500, "leadership lost while committing log")
            self.server.process = process
            answer = self.server.answer(method, path, query, body)
            if unknown:
                raise Answer(500, "leadership lost while committing log")
            if path == "/v1/txn" and self._random.random() < self.lose_answers:
                return
            respond(200, answer, None)
        except Answer as error:
            respond(error.status, error.text.encode(), error.retry_after)
        except FakeResponseError as failed:
            respond(failed.status, failed.text.encode(), None)

    def _index_of(self, path: str) -> int:
        return int(self.state.keys.get(path.removeprefix("/v1/kv/"), {}).get("ModifyIndex", self.state.index))

    def _block(
        self, process: ProcessClock, method: str, url: str, body: bytes, respond: Respond, query: Mapping[str, str]
    ) -> None:
        def answer() -> None:
            if self._blocked.pop(answer, answer) is None:
                self.serve(process, method, url, body, respond)

        self._blocked[answer] = None
        self._clock.callLater(float(query["wait"].removesuffix("s")), answer)

    def _lock_changed(self) -> None:
        self.locks_changed()
        for answer in list(self._blocked):
            self._clock.callLater(0.0, answer)

    def _transacted(self, operations: Operations, nodes: dict[str, Any], services: dict[Any, Any]) -> None:
        process = self.server.process
        self.update(touched(operations), self.applied(process, operations, nodes, services))

    def _tick(self) -> None:
        self._clock.callLater(_TICK, self._tick)
        self.server.end_expired()


def touched(operations: Operations) -> set[str]:
    """Return the names of the nodes that operations change, in lower case."""
    names = set()
    for operation in operations:
        ((kind, body),) = operation.items()
        if kind != "KV" and body["Verb"] != "get":
            names.add(str(body["Node"] if kind == "Service" else body[kind]["Node"]).lower())
    return names
