"""Tests for :mod:`ssdpreg.web.health`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.interfaces import IRegistryBackend
from tests.support.memory_daemon import Daemon, Exchange, UnavailableBackend
from tests.support.memory_lock import LockedBackend
from tests.support.memory_reactor import MemoryMulticastReactor


class HealthTests(SynchronousTestCase):
    """Tests for :class:`Healthz` and :class:`Readyz`, through HTTP in memory."""

    def start(self, backend: IRegistryBackend | None = None) -> None:
        """Start a daemon."""
        self.reactor = MemoryMulticastReactor()
        self.daemon = Daemon(self.reactor, backend)
        self.daemon.start()
        self.addCleanup(self.daemon.stop)
        self.reactor.advance(0)

    def get(self, path: str) -> tuple[int | None, bytes]:
        """Return status and body of a response."""
        exchange = Exchange(self.daemon.root, self.reactor, path)
        return exchange.status, exchange.body

    def test_healthz(self) -> None:
        """/healthz is 200 also while the backend is unavailable."""
        self.start(UnavailableBackend())
        self.assertEqual(self.get("/healthz"), (200, b"ok\n"))

    def test_readyz(self) -> None:
        """/readyz is 503 until the first search is over, then 200."""
        self.start()
        self.assertEqual(self.get("/readyz"), (503, b"not ready: the first search is not over yet\n"))
        self.reactor.advance(10)
        self.assertEqual(self.get("/readyz"), (200, b"ready\n"))

    def test_backend_unavailable(self) -> None:
        """/readyz is 503 while the backend is unavailable."""
        self.start(UnavailableBackend())
        self.reactor.advance(10)
        status, body = self.get("/readyz")
        self.assertEqual(status, 503)
        self.assertIn(b"not ready: memory is unavailable", body)

    def test_writer(self) -> None:
        """/readyz names the daemon that holds the lock: 200 for the holder, 503 for another daemon."""
        backend = LockedBackend()
        self.start(backend)
        self.reactor.advance(10)
        status, body = self.get("/readyz")
        self.assertEqual(
            (status, body),
            (503, b"not ready: waiting, this daemon does not write to memory: the lock is held by other\n"),
        )
        backend.lock.holder = "third"
        self.assertIn(b"the lock is held by third", self.get("/readyz")[1])
        backend.lock.acquire()
        self.reactor.advance(1)
        self.assertEqual(self.get("/readyz"), (200, b"ready: this daemon holds the lock\n"))
