"""
Backends, which store registrations: one module each, with a function ``make_backend(reactor, config, scope)``.

The drop-in of every ``twistd`` imports this module, so it imports as little as possible.
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
    Plugin that makes a backend by calling a function. The module of the function is imported at the first call.

    :param type: Value of ``backend.type`` in the configuration that selects this plugin.
    :param maker: Qualified name of the function, such as ``ssdpreg.backends.embedded.make_backend``.
    """

    def __init__(self, type: str, maker: str) -> None:
        self.type = type
        self._maker = maker

    def make_backend(self, reactor: Any, config: Any, scope: str) -> IRegistryBackend:
        return cast("IRegistryBackend", namedAny(self._maker)(reactor, config, scope))


def find_backend(type: str) -> IBackendMaker:
    """
    Return the plugin that makes backends of a type.

    :param type: Value of ``backend.type`` in the configuration.
    :raise ConfigError: If no plugin has this type.
    """
    makers = {maker.type: maker for maker in getPlugins(IBackendMaker)}
    if type not in makers:
        raise ConfigError(Fault("backend.type", f"no plugin is called {type!r}, but {', '.join(sorted(makers))}"))
    return makers[type]
