"""Removal of the services that this scope registered with the local agent, before it was switched to catalog mode."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from twisted.logger import Logger

from ssdpreg.errors import BackendError, BackendRefusedError
from ssdpreg.interfaces import IRegistryBackend
from ssdpreg.registration import Plan, Registration


class Migration(Protocol):
    """Removal of services that the catalog has, too."""

    async def read(self) -> Collection[Registration]:
        """Return the services that are still to be removed. Never raises :class:`BackendError`."""
        ...

    async def run(self, registered: Collection[str]) -> None:
        """
        Remove services from the agent. Never raises :class:`BackendError`.

        :param registered: IDs of the services in the catalog.
        """
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


class AgentMigration:
    """
    Removal of the services of agent mode: until then, Consul lists each of these services twice.

    A service is removed after its node exists, so that no reader misses it. Until then, the agent keeps it for a minute
    and a half after the end of the daemon that registered it. A device may be silent for longer, so the services are
    adopted.

    :param agent: Backend of the agent.
    :ivar finished: Whether nothing is left to be removed.
    """

    log = Logger()

    def __init__(self, agent: IRegistryBackend) -> None:
        self._agent = agent
        self.finished = False
        self._failed = False
        self._removed = 0

    async def read(self) -> Collection[Registration]:
        """See :meth:`Migration.read`."""
        if self.finished:
            return ()
        try:
            return (await self._agent.read()).values()
        except BackendError:
            # The next run logs it.
            return ()

    async def run(self, registered: Collection[str]) -> None:
        """See :meth:`Migration.run`."""
        if self.finished:
            return
        try:
            await self._remove(registered)
        except BackendRefusedError as error:
            self.finished = True
            self.log.warn("Not removing services from the agent: {error}", error=error)
        except BackendError as error:
            if not self._failed:
                self._failed = True
                self.log.warn("Could not remove services from the agent, trying again: {error}", error=error)

    async def close(self) -> None:
        """See :meth:`Migration.close`."""
        await self._agent.close()

    async def _remove(self, registered: Collection[str]) -> None:
        found = await self._agent.read()
        present = tuple(each for service_id, each in found.items() if service_id in registered)
        if present:
            outcome = await self._agent.apply(Plan(deregister=present))
            self._removed += len(outcome.applied)
            if outcome.unavailable is not None:
                raise outcome.unavailable
            for error in outcome.refused.values():
                raise error
        if len(present) == len(found):
            self.finished = True
            if self._removed:
                self.log.info("Removed {count} services from the agent", count=self._removed)
                await self._agent.retire()
