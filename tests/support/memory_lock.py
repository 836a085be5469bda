"""Lock for tests of its users, without Consul."""

from __future__ import annotations

from collections.abc import Callable

from zope.interface import implementer

from ssdpreg.backends.embedded import EmbeddedBackend
from ssdpreg.errors import NotHolderError
from ssdpreg.interfaces import ILockedBackend, IScopeReaper, IWriterLock
from ssdpreg.registration import Registration


@implementer(IWriterLock)
class MemoryLock:
    """
    Lock that a test gives and takes.

    :ivar holder: Name of the daemon that holds the lock while this one does not.
    :ivar listeners: Functions that are called after each change.
    """

    scope = "rack"

    def __init__(self, *, held: bool = False) -> None:
        self.held, self.holder = held, "other"
        self.others_wrote, self.unreachable = True, False
        self.acquisitions = self.losses = self.refusals = 0
        self.listeners: list[Callable[[], None]] = []

    @property
    def waiting(self) -> bool:
        return not self.held

    @property
    def description(self) -> str:
        return "this daemon holds the lock" if self.held else f"the lock is held by {self.holder}"

    def subscribe(self, changed: Callable[[], None]) -> None:
        self.listeners.append(changed)

    def acquire(self, *, others_wrote: bool = True) -> None:
        """Give the lock to this daemon."""
        self.held, self.others_wrote = True, others_wrote
        self.acquisitions += 1
        self._notify()

    def lose(self) -> None:
        """Take the lock from this daemon."""
        self.held = False
        self.losses += 1
        self._notify()

    def _notify(self) -> None:
        for changed in self.listeners:
            changed()


@implementer(IScopeReaper)
class MemoryReaper:
    """Numbers of a reaper."""

    elected = True
    scopes, dead_scopes, marked, removed, kept, failures = 7, 2, 40, 30, 1, 3


@implementer(ILockedBackend)
class LockedBackend(EmbeddedBackend):
    """
    Backend in memory to which only the holder of a lock writes.

    :ivar reads: Number of listings so far.
    """

    def __init__(self, *, held: bool = False) -> None:
        super().__init__()
        self.lock, self.reaper = MemoryLock(held=held), MemoryReaper()
        self.reads = 0

    async def read(self) -> dict[str, Registration]:
        self._check()
        self.reads += 1
        return dict(await super().read())

    async def keep_alive(self) -> None:
        self._check()

    def _check(self) -> None:
        if not self.lock.held:
            raise NotHolderError(self.lock.description)
