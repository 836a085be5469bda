"""Tests for :mod:`ssdpreg.description.fetching`, with servers on 127.0.0.1."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any, cast
from unittest import mock

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from ssdpreg.description import fetching
from ssdpreg.description.fetching import MAX_BODY, DocumentFetcher
from ssdpreg.description.source import Source, Target
from ssdpreg.discovery.location import Endpoint
from ssdpreg.errors import DescriptionError
from tests.support.certificates import make_certificate
from tests.support.paths import ROOT

reactor = cast("Any", global_reactor)

FOLDER = ROOT / "tests" / "data" / "descriptions"
DESCRIPTION = b"<root><device><modelName>M</modelName></device></root>"
OK = b"HTTP/1.1 200 OK\r\n"


class Device(Protocol):
    """
    Connection of a device that answers each request in a way that a test defines.

    :ivar received: Bytes of the request.
    :ivar lost: Fires when the connection ends.
    """

    def __init__(self, answer: Callable[[Any], object]) -> None:
        self._answer = answer
        self.received = b""
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if self.received.endswith(b"\r\n\r\n"):
            self._answer(self.transport)

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.lost.callback(None)


class Server(Factory):
    """
    Server of a device.

    :ivar connections: All connections.
    """

    noisy = False

    def __init__(self, answer: Callable[[Any], object]) -> None:
        self._answer = answer
        self.connections: list[Device] = []

    def buildProtocol(self, addr: object) -> Device:
        self.connections.append(Device(self._answer))
        return self.connections[-1]


class DocumentFetcherTests(TestCase):
    """Tests for :class:`DocumentFetcher`."""

    timeout = 20

    def serve(self, answer: bytes | Callable[[Any], object], context: CertificateOptions | None = None) -> Server:
        """
        Start a server.

        :param answer: The answer to each request, or a function that is called with the connection.
        :param context: TLS options, or None for HTTP.
        """

        def write(transport: Any) -> None:
            transport.write(answer)
            transport.loseConnection()

        server = Server(write if isinstance(answer, bytes) else answer)
        if context is None:
            port = reactor.listenTCP(0, server, interface="127.0.0.1")
        else:
            port = reactor.listenSSL(0, server, context, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port
        return server

    def source(self, scheme: str = "http", path: str = "/", *, is_redfish: bool = False) -> Source:
        """Return the document of the server that was started last."""
        endpoint = Endpoint(scheme, "127.0.0.1", self.port)
        return Source(Target("d", "127.0.0.1", is_redfish), endpoint, path, f"{scheme}://{endpoint.netloc}{path}")

    async def assert_fails(self, kind: str, source: Source | None = None) -> None:
        """Assert that a fetch fails in a way."""
        try:
            facts = await DocumentFetcher(reactor)(source or self.source())
        except DescriptionError as error:
            self.assertEqual(error.kind, kind, error)
        else:
            self.fail(f"{facts}")

    async def check_connections(self, server: Server, count: int = 1) -> None:
        """Assert that there was a number of connections, and wait for their end."""
        self.assertEqual(len(server.connections), count)
        for connection in server.connections:
            await connection.lost

    async def test_description(self) -> None:
        """The facts of a description are entries of Meta."""
        server = self.serve(OK + b"\r\n" + (FOLDER / "minidlna-1.3.0.xml").read_bytes())
        facts = await DocumentFetcher(reactor)(self.source(path="/a%20b?c=d"))
        self.assertEqual(
            facts,
            {
                "ssdp-friendly-name": "Rack 7: Films & Music",
                "ssdp-manufacturer": "Justin Maggard",
                "ssdp-model": "Windows Media Connect compatible (MiniDLNA)",
                "ssdp-serial": "12345678",
                "ssdp-presentation-url": f"http://127.0.0.1:{self.port}/",
            },
        )
        lines = server.connections[0].received.decode().split("\r\n")
        self.assertEqual(lines[0], "GET /a%20b?c=d HTTP/1.1")
        names = sorted(line.partition(":")[0].lower() for line in lines[1:] if line)
        self.assertEqual(names, ["accept", "connection", "host", "user-agent"])
        await self.check_connections(server)

    async def test_ipv6(self) -> None:
        """The host may be an IPv6 address."""
        server = Server(lambda transport: (transport.write(OK + b"\r\n" + DESCRIPTION), transport.loseConnection()))
        port = reactor.listenTCP(0, server, interface="::1")
        self.addCleanup(port.stopListening)
        endpoint = Endpoint("http", "::1", port.getHost().port)
        source = Source(Target("d", "::1", is_redfish=False), endpoint, "/", f"http://{endpoint.netloc}/")
        self.assertEqual(await DocumentFetcher(reactor)(source), {"ssdp-model": "M"})
        self.assertIn(f"Host: {endpoint.netloc}\r\n".encode(), server.connections[0].received)

    async def test_service_root(self) -> None:
        """The facts of a service root are entries of Meta."""
        self.serve(OK + b"\r\n" + (FOLDER / "redfish-root.json").read_bytes())
        facts = await DocumentFetcher(reactor)(self.source(is_redfish=True))
        self.assertEqual(
            facts,
            {
                "redfish-vendor": "Example Corp.",
                "redfish-product": "Rack Server 7",
                "redfish-version": "1.15.0",
                "redfish-uuid": "92384634-2938-2342-8820-489239905423",
            },
        )

    async def test_tls(self) -> None:
        """Any certificate is accepted. A device that does not close its connection does not keep it open."""
        certificate = make_certificate("device.example")
        length = f"Content-Length: {len(DESCRIPTION)}\r\n\r\n".encode()
        server = self.serve(lambda transport: transport.write(OK + length + DESCRIPTION), certificate.options())
        facts = await DocumentFetcher(reactor)(self.source("https"))
        self.assertEqual(facts, {"ssdp-model": "M"})
        await self.check_connections(server)

    async def test_tls_without_end(self) -> None:
        """The connection to a device that sends without end, and reads nothing, is aborted."""

        def answer(transport: Any) -> None:
            transport.pauseProducing()
            transport.write(OK + b"\r\n")
            self.repeat(transport, b"x" * 65536, 0)

        server = self.serve(answer, make_certificate("device.example").options())
        await self.assert_fails("too long", self.source("https"))
        await self.check_connections(server)

    async def test_redirects(self) -> None:
        """Redirects are not followed."""
        target = self.serve(OK + b"\r\n" + DESCRIPTION)
        for status in (301, 302, 303, 307, 308):
            location = f"http://127.0.0.1:{self.port}/"
            self.serve(f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())
            await self.assert_fails("status")
        self.assertEqual(target.connections, [])

    async def test_statuses(self) -> None:
        """Another status than 200 is a failure, also with a description."""
        for status in (b"201 Created", b"204 No Content", b"401 Unauthorized", b"404 Not Found", b"500 Error"):
            self.serve(b"HTTP/1.1 " + status + b"\r\n\r\n" + DESCRIPTION)
            await self.assert_fails("status")

    async def test_no_cookies(self) -> None:
        """Cookies are neither kept nor sent."""
        server = self.serve(OK + b"Set-Cookie: a=b\r\nSet-Cookie: c=d; Path=/\r\n\r\n" + DESCRIPTION)
        fetch = DocumentFetcher(reactor)
        for _ in range(2):
            self.assertEqual(await fetch(self.source()), {"ssdp-model": "M"})
        self.assertNotIn(b"ookie", server.connections[1].received)

    async def test_large_body(self) -> None:
        """A body of 10 MB ends at the limit: the device cannot send the rest."""
        size = 10_000_000
        server = self.serve(
            lambda transport: transport.write(OK + f"Content-Length: {size}\r\n\r\n".encode() + b"x" * size)
        )
        await self.assert_fails("too long")
        await self.check_connections(server)

    async def test_longest_body(self) -> None:
        """A body as long as the limit is accepted."""
        content = DESCRIPTION[:-7] + b"<a>x</a>\n" * 1000
        content += b" " * 200 + b"</root>"
        content = content.replace(b"<a>x</a>", b"<a>" + b"x" * 240 + b"</a>")
        content = content[:-7] + b" " * (MAX_BODY - len(content)) + content[-7:]
        self.assertEqual(len(content), MAX_BODY)
        self.serve(OK + b"\r\n" + content)
        self.assertEqual(await DocumentFetcher(reactor)(self.source()), {"ssdp-model": "M"})
        self.serve(OK + b"\r\n" + content + b"\n")
        await self.assert_fails("too long")

    async def test_endless_chunks(self) -> None:
        """A chunked body without an end ends at the limit."""

        def answer(transport: Any) -> None:
            transport.write(OK + b"Transfer-Encoding: chunked\r\n\r\n")
            self.repeat(transport, b"1000\r\n" + b"x" * 4096 + b"\r\n", 0)

        server = self.serve(answer)
        await self.assert_fails("too long")
        await self.check_connections(server)

    async def test_endless_header(self) -> None:
        """A header without an end ends at its limit."""

        def answer(transport: Any) -> None:
            transport.write(OK)
            self.repeat(transport, b"X-Header: " + b"x" * 4000 + b"\r\n", 0)

        server = self.serve(answer)
        await self.assert_fails("unavailable")
        await self.check_connections(server)

    async def test_endless_interim_responses(self) -> None:
        """Interim responses without an end are a failure."""
        server = self.serve(lambda transport: self.repeat(transport, b"HTTP/1.1 102 Processing\r\n\r\n", 0))
        await self.assert_fails("unavailable")
        await self.check_connections(server)

    async def test_slow_body(self) -> None:
        """A device that sends one byte at a time is waited for no longer than for another one."""
        self.patch(fetching, "TIMEOUT", 0.3)

        def answer(transport: Any) -> None:
            transport.write(OK + b"\r\n")
            self.repeat(transport, b"<", 0.05)

        server = self.serve(answer)
        await self.assert_fails("unavailable")
        await self.check_connections(server)

    async def test_silence(self) -> None:
        """A device that accepts the connection and sends nothing is waited for no longer."""
        self.patch(fetching, "TIMEOUT", 0.1)
        server = self.serve(lambda transport: None)
        await self.assert_fails("unavailable")
        await self.check_connections(server)

    async def test_refused(self) -> None:
        """A refused connection is a failure."""
        port = reactor.listenTCP(0, Factory(), interface="127.0.0.1")
        self.port = port.getHost().port
        await port.stopListening()
        await self.assert_fails("unavailable")

    async def test_compressed_body(self) -> None:
        """A compressed body is not decompressed."""
        bomb = gzip.compress(b" " * 10_000_000)
        self.serve(OK + b"Content-Encoding: gzip\r\n\r\n" + bomb)
        with mock.patch("zlib.decompressobj", side_effect=AssertionError):
            await self.assert_fails("invalid")

    async def test_no_http(self) -> None:
        """A server of another protocol is a failure."""
        for answer in (b"SSH-2.0-OpenSSH_9.2p1\r\n", b"\0" * 1000, b"", b"HTTP/1.1 abc\r\n\r\n"):
            self.serve(answer)
            await self.assert_fails("unavailable")

    async def test_no_description(self) -> None:
        """Documents of another kind are failures."""
        self.serve(OK + b"\r\n" + b"[" * 200_000)
        await self.assert_fails("invalid", self.source(is_redfish=True))
        await self.assert_fails("invalid")

    async def test_cancellation(self) -> None:
        """A cancelled fetch closes its connection."""
        requested: Deferred[None] = Deferred()
        server = self.serve(lambda transport: requested.callback(None))
        fetching = Deferred.fromCoroutine(DocumentFetcher(reactor)(self.source()))
        await requested
        fetching.cancel()
        try:
            await fetching
        except CancelledError:
            await self.check_connections(server)
        else:
            self.fail("not cancelled")

    def repeat(self, transport: Any, data: bytes, interval: float) -> None:
        """Send data again and again, until the connection ends."""

        def send() -> None:
            if transport.connected:
                transport.write(data)
            else:
                loop.stop()

        loop = LoopingCall(send)
        loop.start(interval)
        self.addCleanup(lambda: loop.stop() if loop.running else None)
