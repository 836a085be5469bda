"""Nodes of scopes in memory, for tests of the reaper and of ``ssdpreg purge``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ssdpreg.backends.catalog.format import Operation
from ssdpreg.backends.scopes.holder import Holder, scope_key
from ssdpreg.backends.scopes.nodes import Removal, ScopeNode, ScopeNodes
from ssdpreg.backends.scopes.session import LockKey
from ssdpreg.backends.scopes.transactions import FenceError
from ssdpreg.errors import BackendError


class MemoryScopes(ScopeNodes):
    """
    Nodes of scopes in memory.

    :ivar keys: Locks by scope.
    :ivar nodes: Names of the nodes by scope.
    :ivar used: Names of the nodes that other programs use.
    :ivar marked: Names of the nodes that have the mark.
    :ivar outputs: Texts of the marks by name of the node.
    :ivar reaper: Session that holds the lock of the reaper.
    :ivar error: Error of every method, or None.
    :ivar calls: Names of the methods that were called.
    """

    def __init__(self) -> None:
        self.keys: dict[str, LockKey] = {}
        self.nodes: dict[str, list[str]] = {}
        self.used: set[str] = set()
        self.marked: set[str] = set()
        self.outputs: dict[str, str] = {}
        self.reaper = "mine"
        self.error: BackendError | None = None
        self.calls: list[str] = []
        self.index = 100

    def hold(self, scope: str, session: str, reap_after: float | None = None) -> None:
        """Let a session hold the lock of a scope; an empty one releases it. The key keeps the value of its holder."""
        before = self.keys.get(scope)
        self.index += 1
        holder = Holder(reap_after=reap_after)
        self.keys[scope] = LockKey(session, self.index, (before.lock_index if before else 0) + bool(session), holder)

    async def list_scopes(self) -> dict[str, LockKey]:
        self._call("list_scopes")
        return dict(self.keys)

    async def list_nodes(self, scope: str) -> list[ScopeNode]:
        self._call("list_nodes")
        return [ScopeNode(name, 1, {}) for name in self.nodes.get(scope, ())]

    async def list_marks(self, scope: str) -> list[str]:
        self._call("list_marks")
        return [name for name in self.nodes.get(scope, ()) if name in self.marked]

    async def find_unmarked(self, scope: str, nodes: Iterable[ScopeNode]) -> list[ScopeNode]:
        return [node for node in nodes if node.name not in self.marked]

    async def mark(self, nodes: Sequence[ScopeNode], fences: Sequence[Operation], output: str) -> list[str]:
        self._call("mark")
        self._check(fences)
        self.marked.update(node.name for node in nodes)
        self.outputs.update((node.name, output) for node in nodes)
        return [node.name for node in nodes]

    async def remove_marks(self, names: Iterable[str], fences: Sequence[Operation]) -> list[str]:
        self._call("remove_marks")
        self.marked.difference_update(names)
        return list(names)

    async def remove(
        self, scope: str, nodes: Sequence[ScopeNode], fences: Sequence[Operation], removal: Removal
    ) -> None:
        self._call("remove")
        self._check(fences)
        for node in nodes:
            if node.name in self.used:
                removal.kept.append(node.name)
            else:
                self.nodes[scope].remove(node.name)
                removal.removed.append(node.name)

    async def is_used(self, scope: str, name: str) -> bool:
        return name in self.used

    async def remove_lock(self, scope: str, index: int | None, fences: Sequence[Operation]) -> None:
        self._call("remove_lock")
        self._check(fences)
        self.keys.pop(scope, None)

    async def close(self) -> None:
        self._call("close")

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.error is not None:
            raise self.error

    def _check(self, fences: Sequence[Operation]) -> None:
        """Check the operations at the beginning of a transaction."""
        keys = {scope_key(scope): key for scope, key in self.keys.items()}
        for number, fence in enumerate(fences):
            check = fence["KV"]
            key = keys.get(check["Key"])
            match check["Verb"]:
                case "check-session":
                    valid = check["Session"] == self.reaper
                case "check-index":
                    valid = key is not None and key.index == check["Index"]
                case _:
                    valid = key is None
            if not valid:
                raise FenceError(number, f"failed {check['Verb']} on {check['Key']}")
