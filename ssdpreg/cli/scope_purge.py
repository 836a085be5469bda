"""Execution of ``ssdpreg purge``: the nodes of a scope are removed if no daemon of the scope is running."""

from __future__ import annotations

from typing import Any

from ssdpreg.backends.consul_connection import connect
from ssdpreg.backends.scopes.holder import scope_key
from ssdpreg.backends.scopes.nodes import Removal, ScopeNodes
from ssdpreg.backends.scopes.session import LockRequests
from ssdpreg.backends.scopes.transactions import FenceError, key_fence
from ssdpreg.cli.output import escape_invisible, make_console, print_lines, print_message
from ssdpreg.config import ConsulConfig


async def purge_scope(scope: str, config: ConsulConfig, reactor: Any, *, dry_run: bool) -> int:
    """
    Remove the nodes of a scope and its lock.

    :param scope: The scope.
    :param config: Describes Consul.
    :param dry_run: Whether to print what would be removed, and remove nothing.
    :return: Exit status.
    :raise BackendError: If Consul does not respond, or rejects a request.
    """
    locks = LockRequests(connect(reactor, config), config.datacenter)
    nodes = ScopeNodes(connect(reactor, config), config.datacenter)
    try:
        return await purge_nodes(scope, locks, nodes, dry_run=dry_run)
    finally:
        await nodes.close()
        await locks.close()


async def purge_nodes(scope: str, locks: LockRequests, nodes: ScopeNodes, *, dry_run: bool) -> int:
    """
    Remove the nodes of a scope and its lock, in the way of :func:`purge_scope`.

    :param locks: Requests for the lock.
    :param nodes: Requests for the nodes.
    """
    key = await locks.read(scope_key(scope))
    if key is not None and key.session:
        print_message(f"A daemon of scope {scope!r} is running: {key.holder}. Nothing is removed.")
        return 1
    found = await nodes.list_nodes(scope)
    if not found and key is None:
        print_message(f"Consul has no nodes and no lock of scope {scope!r}, or the token may not read them.")
        return 1
    if not found:
        print_message(
            f"Consul has no nodes of scope {scope!r}, or the token may not read them. Only the lock is left to remove."
        )
    if dry_run:
        used = {node.name for node in found if await nodes.is_used(scope, node.name)}
        names = [node.name for node in found if node.name not in used]
        _print("Would remove {}", names)
        _print("Would keep {}, which other programs use, without its services of the scope", sorted(used))
        return 0
    index = None if key is None else key.index
    fences = [key_fence(scope, index)]
    removal = Removal()
    try:
        await nodes.remove(scope, found, fences, removal)
        if not removal.kept and not removal.changed:
            await nodes.remove_lock(scope, index, fences)
    except FenceError:
        print_message(f"A daemon of scope {scope!r} was started. No further nodes are removed.")
        return 1
    finally:
        _print("Removed {}", removal.removed)
        _print("Kept {}, which other programs use, without its services of the scope", removal.kept)
        _print("Kept {}, which another program changed just now", removal.changed)
    return 1 if removal.changed else 0


def _print(text: str, names: list[str]) -> None:
    console = make_console()
    print_lines(console, [text.format(escape_invisible(name, console)) for name in names])
