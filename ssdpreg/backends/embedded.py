"""Backend for a catalogue inside the daemon, in memory or in a SQLite file, for networks without Consul."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from ssdpreg.backends import sqlite
from ssdpreg.interfaces import IRegistryBackend, ISharedRegistrations
from ssdpreg.registration import Outcome, Plan, Registration

if TYPE_CHECKING:
    from ssdpreg.config import EmbeddedConfig


@implementer(IRegistryBackend)
class EmbeddedBackend:
    """
    Backend that stores registrations in the memory of this process.

    :ivar registrations: The registrations by service ID.
    """

    def __init__(self) -> None:
        self.registrations: dict[str, Registration] = {}

    async def read(self) -> Mapping[str, Registration]:
        return dict(self.registrations)

    async def apply(self, plan: Plan) -> Outcome:
        for registration in plan.deregister:
            self.registrations.pop(registration.service_id, None)
        for registration in plan.register:
            self.registrations[registration.service_id] = registration
        return Outcome(applied=frozenset(each.service_id for each in (*plan.register, *plan.deregister)))

    async def keep_alive(self) -> None:
        """Do nothing: the registrations disappear with the daemon."""

    async def retire(self) -> None:
        """Do nothing: the daemon has no registration for itself."""

    async def close(self) -> None:
        """Do nothing: there are no connections and no files."""


@implementer(ISharedRegistrations)
class SharedEmbeddedBackend(EmbeddedBackend):
    """Backend of which the reconciler needs no copy: a second dictionary takes 38 bytes for each service."""


def make_backend(reactor: Any, config: EmbeddedConfig, scope: str) -> IRegistryBackend:
    """See :meth:`ssdpreg.interfaces.IBackendMaker.make_backend`."""
    return SharedEmbeddedBackend() if config.path is None else sqlite.make_backend(reactor, config.path, scope)
