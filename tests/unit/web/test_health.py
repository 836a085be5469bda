"""Tests for :mod:`ssdpreg.web.health`."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from ssdpreg.backends.embedded import EmbeddedBackend
from ssdpreg.errors import BackendUnavailableError
from ssdpreg.interfaces import IRegistryBackend
from ssdpreg.registration import Registration
from tests.support.memory_daemon import Daemon, Reader
from tests.support.memory_reactor import MemoryMulticastReactor


@implementer(IRegistryBackend)
class BrokenBackend(EmbeddedBackend):
    """A backend that cannot be read."""

    async def read(self) -> Mapping[str, Registration]:
        raise BackendUnavailableError("nobody there")


class HealthTests(SynchronousTestCase):
    """Tests for :class:`Healthz` and :class:`Readyz`, through HTTP in memory."""

    def start(self, backend: IRegistryBackend | None = None) -> None:
        """Start a daemon."""
        self.reactor = MemoryMulticastReactor()
        self.daemon = Daemon(self.reactor, backend)
        self.daemon.start()
        self.addCleanup(self.daemon.stop)
        self.reactor.advance(0)

    def read(self, path: str) -> tuple[int | None, bytes]:
        """Ask for something."""
        reader = Reader(self.daemon.root, self.reactor, path)
        return reader.status, reader.body

    def test_healthy(self) -> None:
        """A daemon that answers is healthy, whatever its backend does."""
        self.start(BrokenBackend())
        self.assertEqual(self.read("/healthz"), (200, b"ok\n"))

    def test_ready(self) -> None:
        """It is ready when the first search is over."""
        self.start()
        self.assertEqual(self.read("/readyz"), (503, b"not ready: the first search is not over yet\n"))
        self.reactor.advance(10)
        self.assertEqual(self.read("/readyz"), (200, b"ready\n"))

    def test_backend_unavailable(self) -> None:
        """It is not ready while the backend does not answer."""
        self.start(BrokenBackend())
        self.reactor.advance(10)
        self.assertEqual(self.read("/readyz"), (503, b"not ready: memory is unavailable\n"))
