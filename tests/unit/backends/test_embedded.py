"""Tests for :mod:`ssdpreg.backends`, and for the choice of the embedded backend."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from ssdpreg.backends import BackendMaker
from ssdpreg.backends.consul_agent import ConsulAgent
from ssdpreg.backends.embedded import SharedEmbeddedBackend
from ssdpreg.backends.sqlite import SQLiteBackend
from ssdpreg.config import ConsulConfig, EmbeddedConfig
from ssdpreg.interfaces import IBackendMaker


class BackendMakerTests(SynchronousTestCase):
    """Tests for :class:`BackendMaker`."""

    def test_interface(self) -> None:
        """``BackendMaker`` provides the interfaces of a plugin and of a backend maker."""
        maker = BackendMaker("embedded", "ssdpreg.backends.embedded.make_backend")
        verifyObject(IBackendMaker, maker)
        verifyObject(IPlugin, maker)
        self.assertEqual(maker.type, "embedded")

    def test_make_backend(self) -> None:
        """``make_backend`` calls the named function."""
        for maker, config, backend in [
            ("ssdpreg.backends.embedded.make_backend", EmbeddedConfig(), SharedEmbeddedBackend),
            ("ssdpreg.backends.embedded.make_backend", EmbeddedConfig(path=self.mktemp()), SQLiteBackend),
            ("ssdpreg.backends.consul_agent.make_backend", ConsulConfig(), ConsulAgent),
        ]:
            made = BackendMaker("x", maker).make_backend(Clock(), config, "scope")
            self.assertIsInstance(made, backend)
