"""The parts of the daemon that the HTTP server reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ssdpreg.interfaces import ILockedBackend, IRequestStatistics
from ssdpreg.reconciler import Reconciler
from ssdpreg.registry import Registry

if TYPE_CHECKING:
    from ssdpreg.description.describer import Describer

#: Characters of a reason that are shown. It may contain text from an answer of the backend.
_LONGEST_REASON = 200


@dataclass(frozen=True)
class View:
    """
    The parts of the daemon that the HTTP server reads, and the names that it shows.

    :ivar registry: Source of the live services.
    :ivar reconciler: Source of their states in the backend.
    :ivar backend: Name of the backend, such as ``Consul at 127.0.0.1:8500``.
    :ivar datacenter: The only datacenter that ``?dc=`` accepts.
    :ivar node: Name of this daemon, normally the host name.
    :ivar requests: Statistics of the backend's requests, or None for a backend without them.
    :ivar locked: The backend, if only the holder of a lock writes to it; otherwise None.
    :ivar describer: Fetches facts from devices; None if it is switched off.
    """

    registry: Registry
    reconciler: Reconciler
    backend: str
    datacenter: str
    node: str
    requests: IRequestStatistics | None = None
    locked: ILockedBackend | None = None
    describer: Describer | None = None

    @property
    def backend_fault(self) -> str:
        """Text that says that the backend is unavailable, with the reason if it is known; empty if it is available."""
        if self.reconciler.available:
            return ""
        error = self.reconciler.error
        reason = "" if error is None else " ".join(str(error).split())
        if self.reconciler.waiting and self.locked is not None and not self.locked.lock.held:
            # The error is that of the latest attempt to write. Meanwhile, another daemon may hold the lock.
            reason = self.writer
        if len(reason) > _LONGEST_REASON:
            reason = reason[:_LONGEST_REASON] + "…"
        if self.reconciler.waiting:
            return f"waiting, this daemon does not write to {self.backend}: {reason}"
        return f"{self.backend} is unavailable{': ' if reason else ''}{reason}"

    @property
    def writer(self) -> str:
        """Text that states the daemon that holds the lock of the backend; empty for a backend without a lock."""
        return "" if self.locked is None else self.locked.lock.description
