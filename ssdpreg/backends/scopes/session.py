"""Requests for a lock in Consul: the session, the node that the session belongs to, and the key that is the lock."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from ssdpreg.backends.catalog.transactions import is_denied
from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.backends.scopes.holder import LOCK_NODE_ADDRESS, Holder, format_holder, parse_holder
from ssdpreg.errors import BackendError, BackendForgotError, BackendRefusedError, BackendUnavailableError

if TYPE_CHECKING:
    from ssdpreg.interfaces import IRequestStatistics

#: Seconds of the session's TTL: the shortest that Consul accepts by default. Consul ends a session 10 to 20 s after its
#: last renewal.
SESSION_TTL = 10.0

#: Seconds in which no session can acquire the lock after Consul ended the session of its holder. The fence of every
#: transaction makes it unnecessary. Consul's default of 15 s would delay the take-over, and 0 selects that default.
_LOCK_DELAY = 1.0

#: Seconds until a request for the lock is cancelled. Three renewals fit into the TTL.
REQUEST_TIMEOUT = 3.0

#: Seconds that a blocking query waits for a change of the key. Afterwards it is sent again: a server that was cut off
#: would never respond.
_WAIT = 10.0

#: Text of Consul's response (status 500) to a TTL that is shorter than the ``session_ttl_min`` of its configuration.
_SHORT_TTL = re.compile(r"Invalid Session TTL .{1,30}, must be between \[([0-9a-z.]{1,20})=")

#: Text of Consul's response (status 500) to a request for a lock with a session that does not exist.
_INVALID_SESSION = "invalid session"


class InvalidSessionError(BackendUnavailableError):
    """The session does not exist any more."""


@dataclass(frozen=True, slots=True)
class LockKey:
    """
    State of the key that is a lock.

    :ivar session: ID of the session that holds it; empty if the lock is free.
    :ivar index: Index of its last change.
    :ivar lock_index: Number of times that it was acquired.
    :ivar holder: Description of its latest holder.
    """

    session: str
    index: int
    lock_index: int
    holder: Holder


class LockRequests:
    """
    Requests for locks.

    :param http: Client of Consul, with connections that no other request uses.
    :param datacenter: Datacenter of the locks; None for that of the agent.
    """

    def __init__(self, http: ConsulHTTP, datacenter: str | None) -> None:
        self._http = http
        self.datacenter = datacenter
        self._dc: dict[str, Any] = {} if datacenter is None else {"dc": datacenter}

    @property
    def url(self) -> str:
        """URL of the server."""
        return self._http.url

    @property
    def statistics(self) -> IRequestStatistics:
        """Statistics of the requests."""
        return cast("IRequestStatistics", self._http)

    async def ensure_node(self, name: str, meta: Mapping[str, str]) -> None:
        """
        Create the node to which sessions belong, unless it exists.

        A session that belongs to the node of an agent ends when the agent leaves.

        :raise BackendRefusedError: If another program registered a node with this name, or the token may not write it.
        """
        _, found = await self._exchange("lock-node", "GET", f"/v1/catalog/node/{quote(name, safe='')}")
        if found is None:
            node: dict[str, Any] = {"Node": name, "Address": LOCK_NODE_ADDRESS, "Meta": dict(meta), "ModifyIndex": 0}
            if self.datacenter is not None:
                node["Datacenter"] = self.datacenter
            # With the index 0, the node is created only if it does not exist. Otherwise the status is 409.
            operation = {"Node": {"Verb": "cas", "Node": node}}
            status, answer = await self._exchange("lock-node", "PUT", "/v1/txn", [operation], accept=409)
            if status == 409 and is_denied(str(answer)):
                raise BackendRefusedError(403, f"the ACL token may not write the node {name}")
            return
        found_meta = (
            found["Node"].get("Meta") if isinstance(found, dict) and isinstance(found.get("Node"), dict) else None
        )
        if not isinstance(found_meta, dict) or any(found_meta.get(key) != value for key, value in meta.items()):
            raise BackendRefusedError(
                409, f"another program registered the node {name} in the catalog: remove that node"
            )

    async def create_session(self, node: str) -> str:
        """
        Create a session, and return its ID. Its TTL is :data:`SESSION_TTL`, or the shortest one that Consul accepts.

        :param node: Node to which the session belongs. It must exist.
        """
        try:
            answer = await self._create_session(node, f"{SESSION_TTL:g}s")
        except BackendError as error:
            shortest = _SHORT_TTL.search(str(error))
            if shortest is None:
                raise
            answer = await self._create_session(node, shortest[1])
        session_id = answer.get("ID") if isinstance(answer, dict) else None
        if not isinstance(session_id, str) or not session_id:
            raise BackendUnavailableError(f"{self.url}: the response to the creation of a session is malformed")
        return session_id

    async def _create_session(self, node: str, ttl: str) -> Any:
        session = {
            "Name": node,
            "Node": node,
            "TTL": ttl,
            "LockDelay": f"{_LOCK_DELAY:g}s",
            "Behavior": "release",
            # With the default, the health of the agent would end the session.
            "NodeChecks": [],
        }
        _, answer = await self._exchange("session-create", "PUT", "/v1/session/create", session)
        return answer

    async def renew(self, session_id: str) -> None:
        """
        Renew a session.

        :raise InvalidSessionError: If it does not exist any more.
        """
        try:
            await self._exchange("session-renew", "PUT", f"/v1/session/renew/{session_id}")
        except BackendRefusedError as error:
            if error.status == 404:
                raise InvalidSessionError(f"{self.url}: {error.reason}") from error
            raise

    async def destroy(self, session_id: str) -> None:
        """Destroy a session. Locks that it still holds are free after the lock-delay."""
        await self._exchange("session-destroy", "PUT", f"/v1/session/destroy/{session_id}")

    async def read(self, key: str, after: int | None = None) -> LockKey | None:
        """
        Return the state of a lock, or None if there is no such key, or if the token may not read it.

        :param after: Index of the last known change. The response waits up to 10 s for a later one. None: do not wait.
        """
        query, timeout = {}, REQUEST_TIMEOUT
        if after is not None:
            # Consul adds up to a sixteenth of the wait.
            query, timeout = {"index": str(after), "wait": f"{_WAIT:g}s"}, _WAIT * 17 / 16 + REQUEST_TIMEOUT
        try:
            _, entries = await self._exchange("lock-read", "GET", _path(key), timeout=timeout, **query)
        except BackendRefusedError as error:
            if error.status == 404:
                return None
            raise
        try:
            (entry,) = entries
            return parse_key(entry)
        except (TypeError, ValueError) as error:
            raise BackendUnavailableError(f"{self.url}{_path(key)}: the response is malformed: {error}") from error

    async def acquire(self, key: str, session_id: str, holder: Holder) -> bool:
        """
        Acquire a lock. Idempotent.

        :return: Whether the session holds the lock now. Otherwise another one holds it, or the lock-delay is not over.
        :raise InvalidSessionError: If the session does not exist any more.
        """
        try:
            _, acquired = await self._exchange(
                "lock-acquire", "PUT", _path(key), format_holder(holder), acquire=session_id
            )
        except BackendUnavailableError as error:
            if _INVALID_SESSION in str(error):
                raise InvalidSessionError(str(error)) from error
            raise
        return acquired is True

    async def release(self, key: str, session_id: str, holder: Holder) -> None:
        """Release a lock that a session holds, without a lock-delay. Nothing happens if it does not hold the lock."""
        await self._exchange("lock-release", "PUT", _path(key), format_holder(holder), release=session_id)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def _exchange(
        self, operation: str, method: str, path: str, body: Any = None, timeout: float = REQUEST_TIMEOUT, **options: Any
    ) -> tuple[int, Any]:
        try:
            return await self._http.exchange(operation, method, path, body, timeout=timeout, **self._dc, **options)
        except BackendForgotError as error:
            # Consul does not send this response to these requests.
            raise BackendUnavailableError(f"{self.url}{path}: the response is: {error}") from error


def parse_key(entry: object) -> LockKey:
    """
    Parse a key as Consul returns it.

    :raise ValueError: If it is malformed.
    """
    if not isinstance(entry, dict):
        raise ValueError("a key is not an object")
    session, index, lock_index = entry.get("Session", ""), entry.get("ModifyIndex"), entry.get("LockIndex")
    if not isinstance(session, str) or not isinstance(index, int) or not isinstance(lock_index, int):
        raise ValueError("a key has no Session, ModifyIndex or LockIndex")
    return LockKey(session, index, lock_index, parse_holder(entry.get("Value")))


def _path(key: str) -> str:
    return f"/v1/kv/{quote(key)}"
