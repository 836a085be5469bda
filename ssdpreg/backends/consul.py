"""Backends for Consul: with the local agent, or with the catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ssdpreg.backends import consul_agent
from ssdpreg.backends.catalog import locked as locked_catalog

if TYPE_CHECKING:
    from ssdpreg.config import ConsulConfig
    from ssdpreg.interfaces import IRegistryBackend


def make_backend(reactor: Any, config: ConsulConfig, scope: str) -> IRegistryBackend:
    """See :meth:`ssdpreg.interfaces.IBackendMaker.make_backend`."""
    if config.mode == "catalog":
        return locked_catalog.make_backend(reactor, config, scope)
    return consul_agent.make_backend(reactor, config, scope)
