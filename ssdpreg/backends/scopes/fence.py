"""Interface of the lock that fences every write to Consul's catalog."""

from __future__ import annotations

from typing import Any, Protocol


class Fence(Protocol):
    """
    Lock of a scope, as the writer of the catalog uses it.

    The first operation of every write checks in Consul that the session of this daemon holds the lock. A daemon that
    lost the lock cannot write, also if its clock is wrong.
    """

    def operation(self) -> dict[str, Any]:
        """
        Return the operation that begins every write: KV ``check-session`` on the lock.

        :raise NotHolderError: If this daemon does not hold the lock.
        """
        ...

    def lost(self) -> None:
        """Record that Consul rejected the operation: another session holds the lock, or none."""
        ...
