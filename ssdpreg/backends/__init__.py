"""
Places where services are written down: one module each, with a function ``make_backend(reactor, config, scope)``.

The drop-in of every ``twistd`` imports this module, so it imports next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from twisted.plugin import IPlugin, getPlugins
from twisted.python.reflect import namedAny
from zope.interface import implementer

from ssdpreg.errors import ConfigError, Fault
from ssdpreg.interfaces import IBackendMaker

if TYPE_CHECKING:
    from ssdpreg.interfaces import IRegistryBackend


@implementer(IPlugin, IBackendMaker)
class BackendMaker:
    """
    Makes a backend by calling a function that it knows by name, and imports no sooner.

    :param type: What ``backend.type`` says in the configuration.
    :param maker: Where the function is, such as ``ssdpreg.backends.embedded.make_backend``.
    """

    def __init__(self, type: str, maker: str) -> None:
        self.type = type
        self._maker = maker

    def make_backend(self, reactor: Any, config: Any, scope: str) -> IRegistryBackend:
        return cast("IRegistryBackend", namedAny(self._maker)(reactor, config, scope))


def find_backend(type: str) -> IBackendMaker:
    """
    Find the plugin that makes a backend.

    :param type: What ``backend.type`` says in the configuration.
    :raise ConfigError: If there is none.
    """
    makers = {maker.type: maker for maker in getPlugins(IBackendMaker)}
    if type not in makers:
        raise ConfigError(Fault("backend.type", f"no plugin is called {type!r}, but {', '.join(sorted(makers))}"))
    return makers[type]
