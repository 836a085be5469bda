"""Tests for :mod:`ssdpreg.web.connections`."""

from __future__ import annotations

import resource

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.web.connections import BLOCKING, EVENTS, Connections, client_of, most_connections
from ssdpreg.web.errors import ResponseError


class FakeConnection:
    """
    A connection.

    :ivar displaced: Whether it was closed in favour of another one.
    """

    displaced = False

    def displace(self) -> None:
        self.displaced = True


class ConnectionsTests(SynchronousTestCase):
    """Tests for :class:`Connections`, with a limit of 16 connections, and 4 of one client."""

    def setUp(self) -> None:
        self.connections = Connections(16)

    def open(self, client: str) -> FakeConnection | None:
        """Open a connection, and return it if it is accepted."""
        if not self.connections.make_room(client):
            return None
        connection = FakeConnection()
        self.connections.add(connection, client)
        return connection

    def open_busy(self, client: str) -> FakeConnection:
        """Open a connection with a request."""
        connection = self.open(client)
        assert connection is not None
        self.connections.set_busy(connection)
        return connection

    def test_limit(self) -> None:
        """When all connections are in use, the oldest one without a request is closed in favour of a new one."""
        busy = self.open_busy("10.0.0.0")
        idle = [self.open(f"10.0.0.{number}") for number in range(1, 16)]
        assert idle[0] is not None and idle[1] is not None
        self.connections.set_busy(idle[0])
        self.connections.set_idle(idle[0])
        self.assertEqual(len(self.connections), 16)
        self.assertIsNotNone(self.open("10.0.0.99"))
        self.assertEqual(len(self.connections), 16)
        displaced = [connection for connection in [busy, *idle] if connection is not None and connection.displaced]
        self.assertEqual(displaced, [idle[1]])
        self.assertEqual(self.connections.closed, {"displaced": 1})

    def test_refused(self) -> None:
        """When every connection has a request, a new one is refused until one is closed."""
        busy = [self.open_busy(f"10.0.0.{number}") for number in range(16)]
        self.assertIsNone(self.open("10.0.0.99"))
        self.assertEqual(self.connections.refused, {"connections": 1})
        self.connections.remove(busy[0])
        self.connections.remove(busy[0])
        self.assertIsNotNone(self.open("10.0.0.99"))

    def test_one_client(self) -> None:
        """One client has a quarter of the connections; beyond them, only its own are closed or refused."""
        other = self.open("10.0.0.2")
        first, *_ = [self.open("10.0.0.1") for _ in range(4)]
        assert first is not None and other is not None
        self.assertIsNotNone(self.open("10.0.0.1"))
        self.assertTrue(first.displaced)
        self.assertFalse(other.displaced)
        for connection in self.connections.all():
            self.connections.set_busy(connection)
        self.assertIsNone(self.open("10.0.0.1"))
        self.assertEqual(self.connections.refused, {"client": 1})
        self.assertIsNotNone(self.open("10.0.0.2"))

    def test_held_requests(self) -> None:
        """Streams and blocking queries have limits of their own, in all and for each client."""
        for kind, in_all, of_one in ((EVENTS, 4, 2), (BLOCKING, 8, 4)):
            for number in range(in_all):
                self.connections.hold(kind, f"10.0.0.{number // of_one}")
                if number == of_one - 1:
                    self.assertRaises(ResponseError, self.connections.hold, kind, "10.0.0.0")
            error = self.assertRaises(ResponseError, self.connections.hold, kind, "10.0.0.99")
            self.assertEqual(error.status, 503)
            self.assertEqual(self.connections.refused_requests[kind], 2)
            self.connections.release(kind, "10.0.0.0")
            self.connections.hold(kind, "10.0.0.99")

    def test_memory(self) -> None:
        """Clients that are gone use no memory."""
        for number in range(50):
            connection = self.open_busy(f"10.0.0.{number}")
            with self.connections.holding(BLOCKING, f"10.0.0.{number}"):
                self.connections.set_idle(connection)
            self.connections.remove(connection)
        sizes = {name: len(value) for name, value in vars(self.connections).items() if isinstance(value, dict)}
        self.assertEqual({name for name, size in sizes.items() if size}, {"held_limits", "client_held_limits", "held"})


class ClientTests(SynchronousTestCase):
    """Tests for :func:`client_of`."""

    def test_clients(self) -> None:
        """An IPv4 address is a client, and so is a network of 64 bits of IPv6 addresses."""
        self.assertEqual(client_of("10.0.0.5"), "10.0.0.5")
        self.assertEqual(client_of("::ffff:10.0.0.5"), "10.0.0.5")
        self.assertEqual(client_of("2001:db8::1"), client_of("2001:db8:0:0:ffff::2"))
        self.assertNotEqual(client_of("2001:db8::1"), client_of("2001:db8:0:1::1"))
        self.assertEqual(client_of("fe80::1%eth0"), client_of("fe80::2%eth0"))
        self.assertEqual(client_of(""), "")


class MostConnectionsTests(SynchronousTestCase):
    """Tests for :func:`most_connections`."""

    def test_descriptor_limit(self) -> None:
        """The number is half of the descriptors beyond the reserve, at least 8 and at most 256."""
        for soft, most in ((1024, 256), (264, 100), (64, 8), (1 << 20, 256), (resource.RLIM_INFINITY, 256)):
            self.patch(resource, "getrlimit", lambda _, soft=soft: (soft, soft))
            self.assertEqual(most_connections(), most)
