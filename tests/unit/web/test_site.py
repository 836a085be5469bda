"""Tests for :mod:`ssdpreg.web.site` and :mod:`ssdpreg.web.channel`, on connections in memory."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web import http
from twisted.web.server import Request

from ssdpreg.web.connections import Connections
from ssdpreg.web.hosts import AcceptedHosts
from ssdpreg.web.resources import Folder, ReadOnlyResource
from ssdpreg.web.site import LimitedSite
from ssdpreg.web.slices import RequestCooperator


class Transport(StringTransportWithDisconnection):
    """
    A transport in memory.

    :ivar aborted: Whether the server has aborted the connection.
    :ivar write_closed: Whether the server has closed its direction.
    """

    aborted = False
    write_closed = False

    def loseConnection(self) -> None:
        # The parser looks at this, as on a real transport.
        self.disconnecting = True
        super().loseConnection()

    def loseWriteConnection(self) -> None:  # noqa: N802
        self.write_closed = True

    def abortConnection(self) -> None:  # noqa: N802
        if self.connected:
            self.connected, self.aborted = False, True
            self.protocol.connectionLost(Failure(ConnectionAborted()))


class Page(ReadOnlyResource):
    """
    A resource.

    :ivar body: Its response, or None for one that never ends.
    """

    body: bytes | None = b"page"

    async def respond(self, request: Request) -> bytes:
        if self.body is None:
            await Deferred()
        return self.body or b""


class SiteTestCase(SynchronousTestCase):
    """A server with one page."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.page = Page()
        root = Folder()
        for path in (b"page", b"events"):
            root.putChild(path, self.page)
        self.connections = Connections(16)
        self.site: Any = LimitedSite(
            self.clock, root, self.connections, AcceptedHosts(["status.example"], "rack-7", lambda: "")
        )

    def connect(self, client: str = "10.0.0.1") -> Transport:
        """Connect a client."""
        protocol = self.site.buildProtocol(IPv4Address("TCP", client, 50000))
        transport = Transport(IPv4Address("TCP", client, 50000))
        transport.protocol = protocol
        protocol.makeConnection(transport)
        return transport

    def send(self, transport: Transport, *lines: str) -> bytes:
        """Send a header, and return what has been received since the last time."""
        transport.clear()
        transport.protocol.dataReceived("\r\n".join([*lines, "", ""]).encode())
        received: bytes = transport.value()
        return received

    def get(self, transport: Transport) -> bytes:
        """Request the page."""
        return self.send(transport, "GET /page HTTP/1.1", "Host: localhost")


class TimeTests(SiteTestCase):
    """Tests for the time limits."""

    def test_slow_header(self) -> None:
        """A header has to be complete 10 s after its beginning, however it arrives."""
        client = self.connect()
        for byte in b"GET":
            client.protocol.dataReceived(bytes([byte]))
            self.assertFalse(client.aborted)
            self.clock.advance(4)
        self.assertTrue(client.aborted)
        self.assertEqual(self.connections.closed, {"header": 1})

    def test_slow_second_header(self) -> None:
        """The header of a further request has 10 s from its first byte."""
        client = self.connect()
        self.get(client)
        self.clock.advance(59)
        client.protocol.dataReceived(b"G")
        self.clock.advance(9.9)
        self.assertFalse(client.aborted)
        self.clock.advance(0.1)
        self.assertTrue(client.aborted)

    def test_no_request(self) -> None:
        """A connection without a request is closed after 10 s."""
        client = self.connect()
        self.clock.advance(10)
        self.assertTrue(client.aborted)

    def test_idle(self) -> None:
        """A connection is open for 60 s after each response."""
        client = self.connect()
        for _ in range(3):
            self.assertIn(b"200 OK", self.get(client))
            self.clock.advance(59)
        self.assertFalse(client.aborted)
        self.clock.advance(1)
        self.assertTrue(client.aborted)
        self.assertEqual(self.connections.closed, {"idle": 1})

    def test_long_request(self) -> None:
        """A request that is under way has no time limit, and ends when the client is gone."""
        self.page.body = None
        client = self.connect()
        self.get(client)
        self.clock.advance(600)
        self.assertFalse(client.aborted)
        client.loseConnection()
        self.assertEqual((len(self.connections), self.clock.getDelayedCalls()), (0, []))

    def test_reader(self) -> None:
        """A client that does not take its response for 30 s is disconnected."""
        self.page.body = None
        client = self.connect()
        self.get(client)
        producer: Any = client.protocol
        producer.pauseProducing()
        self.clock.advance(29)
        producer.resumeProducing()
        self.clock.advance(29)
        producer.pauseProducing()
        producer.pauseProducing()
        self.clock.advance(29.9)
        self.assertFalse(client.aborted)
        self.clock.advance(0.1)
        self.assertTrue(client.aborted)
        self.assertEqual(self.connections.closed, {"reader": 1})

    def test_requests_of_a_client_that_does_not_read(self) -> None:
        """While a client does not take responses, its further requests are neither read nor processed."""
        client = self.connect()
        channel: Any = client.protocol
        channel.pauseProducing()
        self.assertEqual(client.producerState, "paused")
        self.assertEqual(self.get(client), b"")
        self.assertEqual(self.get(client), b"")
        self.clock.advance(29)
        self.assertFalse(client.aborted)
        channel.resumeProducing()
        self.assertEqual(client.producerState, "producing")
        self.assertEqual(client.value().count(b"200 OK"), 2)
        self.clock.advance(60)
        self.assertEqual(self.connections.closed, {"idle": 1})

    def test_no_log(self) -> None:
        """A client that exceeds a limit causes no line in the log."""
        with capturedLogs() as events:
            for data in (
                b"",
                b"G",
                b"nonsense\r\n\r\n",
                b"GET / HTTP/1.1\r\nHost: evil\r\n\r\n",
                b"PUT / HTTP/1.1\r\n",
            ):
                self.connect().protocol.dataReceived(data)
            self.get(self.connect())
            self.clock.pump([1] * 100)
        self.assertEqual(events, [])
        self.assertEqual((len(self.connections), self.clock.getDelayedCalls()), (0, []))


class SizeTests(SiteTestCase):
    """Tests for the limits of what a client sends."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(http, "_getContentFile", self._store)
        self.stored: list[object] = []

    def _store(self, length: object) -> Any:
        if length != 0:
            self.stored.append(length)
        raise AssertionError(f"A body of {length} bytes would be stored")

    def test_body(self) -> None:
        """A request with a body is refused at its header for every method, and nothing of the body is kept."""
        for method, header, status in (
            ("PUT", "Content-Length: 300000000", b"405 Method Not Allowed"),
            ("POST", "Content-Length: 1", b"405 Method Not Allowed"),
            ("FOO", "Transfer-Encoding: chunked", b"405 Method Not Allowed"),
            ("GET", "Content-Length: 5", b"413 Request Entity Too Large"),
            ("HEAD", "Transfer-Encoding: chunked", b"413 Request Entity Too Large"),
        ):
            client = self.connect()
            response = self.send(client, f"{method} /page HTTP/1.1", "Host: localhost", header)
            self.assertIn(b"HTTP/1.1 " + status, response)
            self.assertIn(b"Connection: close", response)
            self.assertEqual(b"requests with a body" in response, method != "HEAD")
            self.assertTrue(client.write_closed)
            for _ in range(10):
                client.protocol.dataReceived(b"x" * 65536)
            self.assertEqual(client.value(), response)
            self.clock.advance(2)
            self.assertTrue(client.aborted)
        self.assertEqual(self.stored, [])
        self.assertEqual(self.connections.refused_requests, {"body": 5})

    def test_header(self) -> None:
        """A header of more than 16 kB is refused."""
        client = self.connect()
        client.protocol.dataReceived(b"GET /page HTTP/1.1\r\n" + b"X: " + b"y" * 1000 + b"\r\n")
        for _ in range(16):
            client.protocol.dataReceived(b"X: " + b"y" * 1000 + b"\r\n")
        self.assertIn(b"400 Bad Request", client.value())
        self.assertFalse(client.connected)

    def test_line(self) -> None:
        """A line that does not end is refused after 16 kB."""
        client = self.connect()
        for _ in range(5):
            client.protocol.dataReceived(b"G" * 4096)
        self.assertFalse(client.connected)

    def test_pipelined(self) -> None:
        """A client that sends more than 16 kB during a request is disconnected: its end would not be noticed."""
        self.patch(http, "_getContentFile", lambda _: BytesIO())
        self.page.body = None
        for size, aborted in ((16384, False), (16385, True)):
            first, second = self.connect(), self.connect()
            first.protocol.dataReceived(b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n" + b"x" * size)
            self.get(second)
            second.protocol.dataReceived(b"x" * 16384)
            second.protocol.dataReceived(b"x" * (size - 16384))
            self.assertEqual((first.aborted, second.aborted), (aborted, aborted))


class RequestTests(SiteTestCase):
    """Tests for the checks of a request."""

    def test_host(self) -> None:
        """A request for another host is refused, with a line that names the key of the configuration."""
        client = self.connect()
        for host in ("localhost:8580", "127.0.0.1", "[::1]:8580", "RACK-7", "status.example"):
            self.assertIn(b"200 OK", self.send(client, "GET /page HTTP/1.1", f"Host: {host}"), host)
        response = self.send(client, "GET /page HTTP/1.1", "Host: evil.example")
        self.assertIn(b"403 Forbidden", response)
        self.assertTrue(response.endswith(b"add it to web.hosts in registry.json\n"))
        self.assertNotIn(b"evil", response)
        self.assertEqual(self.connections.refused_requests, {"host": 1})

    def test_absolute_form(self) -> None:
        """The target may be a URL. Its host replaces the Host header, also for the comparison with Origin."""
        for target, headers, status in (
            ("http://localhost/page", ["Host: localhost"], b"200 OK"),
            ("HTTP://10.0.0.5:8580/page?x=http://evil.example/", ["Host: evil.example"], b"200 OK"),
            ("https://status.example/page", ["Host: status.example"], b"200 OK"),
            ("http://[::1]:8580/page", ["Host: "], b"200 OK"),
            ("http://evil.example/page", ["Host: localhost"], b"403 Forbidden"),
            ("http://user@localhost/page", ["Host: localhost"], b"403 Forbidden"),
            ("http://localhost:80:80/page", ["Host: localhost"], b"403 Forbidden"),
            ("http:///page", ["Host: localhost"], b"403 Forbidden"),
            ("http://localhost\\@evil.example/page", ["Host: localhost"], b"403 Forbidden"),
            ("http://localhost\xe9/page", ["Host: localhost"], b"400 Bad Request"),
            ("http://10.0.0.5/page", ["Host: localhost", "Origin: http://10.0.0.5"], b"200 OK"),
            ("http://10.0.0.5/page", ["Host: evil", "Origin: http://evil"], b"403 Forbidden"),
            ("http://localhost", ["Host: localhost"], b"404 Not Found"),
            ("http://localhost?page", ["Host: localhost"], b"404 Not Found"),
            ("http://localhost/page", [], b"400 Bad Request"),
            ("http://localhost/page", ["Host: localhost", "Host: localhost"], b"400 Bad Request"),
            ("ftp://localhost/page", ["Host: localhost"], b"400 Bad Request"),
            ("localhost:80", ["Host: localhost"], b"400 Bad Request"),
            ("xpage", ["Host: localhost"], b"400 Bad Request"),
            ("*", ["Host: localhost"], b"405 Method Not Allowed"),
        ):
            for method in ("GET", "HEAD", "OPTIONS"):
                self.clock.advance(0)
                response = self.send(self.connect(), f"{method} {target} HTTP/1.1", *headers)
                wanted = b"200 OK" if (method, target) == ("OPTIONS", "*") else status
                self.assertIn(b"HTTP/1.1 " + wanted, response, (method, target, headers))

    def test_absolute_form_without_host(self) -> None:
        """HTTP/1.0 needs no Host header. The host of the target is checked."""
        for host, status in (("localhost", b"200 OK"), ("evil.example", b"403 Forbidden")):
            self.assertIn(status, self.send(self.connect(), f"GET http://{host}/page HTTP/1.0"))

    def test_headers_outside_ascii(self) -> None:
        """A header that is not ASCII or not UTF-8 is refused like any other wrong value, without a line in the log."""
        for header in (b"Host: local\xe9", b"Host: \xff", b"Host: localho\xc5\xbft"):
            client = self.connect()
            client.protocol.dataReceived(b"GET /page HTTP/1.1\r\n" + header + b"\r\n\r\n")
            self.assertIn(b"403 Forbidden", client.value(), header)
        for header in (b"Origin: http://localhost\xe9", b"Origin: \xff"):
            client = self.connect()
            client.protocol.dataReceived(b"GET /page HTTP/1.1\r\nHost: localhost\r\n" + header + b"\r\n\r\n")
            self.assertIn(b"403 Forbidden", client.value(), header)
        client = self.connect()
        client.protocol.dataReceived(b"GET /page HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: \xff\r\n\r\n")
        self.assertIn(b"200 OK", client.value())

    def test_no_time(self) -> None:
        """A request that arrives when all requests have used their time of one turn is answered in another turn."""
        cooperator = RequestCooperator(self.clock)
        self.site.resource.putChild(b"slow", Page(cooperator))
        cooperator.has_time()
        self.clock.rightNow += 0.02
        client = self.connect()
        self.assertEqual(self.send(client, "GET /slow HTTP/1.1", "Host: localhost"), b"")
        self.clock.advance(0)
        self.assertIn(b"200 OK", client.value())

    def test_missing_host(self) -> None:
        """Only HTTP/1.0 needs no Host header, and there is at most one."""
        self.assertIn(b"200 OK", self.send(self.connect(), "GET /page HTTP/1.0"))
        self.assertIn(b"400 Bad Request", self.send(self.connect(), "GET /page HTTP/1.1"))
        hosts = ("Host: localhost", "Host: evil.example")
        self.assertIn(b"400 Bad Request", self.send(self.connect(), "GET /page HTTP/1.1", *hosts))
        self.assertIn(b"403 Forbidden", self.send(self.connect(), "GET /page HTTP/1.0", "Host: evil.example"))

    def test_origin(self) -> None:
        """A page of another site may neither read nor keep a stream open, and there are no CORS headers."""
        for headers, status in (
            (["Origin: http://localhost:8580"], b"200 OK"),
            (["Origin: https://status.example"], b"200 OK"),
            (["Origin: http://evil.example"], b"403 Forbidden"),
            (["Origin: null"], b"403 Forbidden"),
            (["Sec-Fetch-Site: cross-site"], b"403 Forbidden"),
            (["Sec-Fetch-Site: same-origin"], b"200 OK"),
        ):
            response = self.send(
                self.connect(f"10.0.0.{len(headers)}"), "GET /events HTTP/1.1", "Host: localhost", *headers
            )
            self.assertIn(status, response, headers)
            self.assertNotIn(b"Access-Control", response)
        # A link on a page of another site works.
        response = self.send(self.connect(), "GET /page HTTP/1.1", "Host: localhost", "Sec-Fetch-Site: cross-site")
        self.assertIn(b"200 OK", response)


class NumberTests(SiteTestCase):
    """Tests for the number of connections."""

    def test_oldest_idle(self) -> None:
        """Beyond the limit of a client, its oldest connection without a request is closed."""
        clients = [self.connect() for _ in range(5)]
        self.assertEqual([client.aborted for client in clients], [True, False, False, False, False])
        self.assertIn(b"200 OK", self.get(clients[-1]))

    def test_accepted_in_one_turn(self) -> None:
        """
        More connections than the limit are closed at once if they are accepted in one turn of the reactor.

        Descriptors of connections that are closed in favour of new ones are still in use in that turn.
        """
        self.connections.limit = 4
        for number in range(4):
            self.connect(f"10.0.0.{number}")
        address = IPv4Address("TCP", "10.0.0.9", 50000)
        self.assertIsNone(self.site.buildProtocol(address))
        self.assertEqual(self.connections.refused, {"connections": 1})
        self.clock.advance(0)
        self.assertIsNotNone(self.site.buildProtocol(address))

    def test_refused(self) -> None:
        """If all connections of a client have a request, a further one is refused with 503."""
        self.page.body = None
        clients = [self.connect() for _ in range(4)]
        for client in clients:
            self.get(client)
        refused = self.connect()
        self.assertIn(b"503 Service Unavailable", refused.value())
        self.assertTrue(refused.value().endswith(b"too many connections\n"))
        self.assertFalse(refused.connected)
        self.assertEqual([client.aborted for client in clients], [False] * 4)
        self.page.body = b"page"
        self.assertIn(b"200 OK", self.get(self.connect("10.0.0.2")))
        clients[0].protocol.connectionLost(Failure(ConnectionDone()))
        self.assertIn(b"200 OK", self.get(self.connect()))
