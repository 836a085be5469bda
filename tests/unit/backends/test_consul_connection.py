"""Tests for :mod:`ssdpreg.backends.consul_connection` with real sockets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

from OpenSSL.crypto import FILETYPE_PEM
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ServerEndpoint, UNIXServerEndpoint
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.ssl import Certificate, PrivateCertificate
from twisted.trial.unittest import TestCase
from twisted.web.server import Site

from ssdpreg.backends.consul_connection import connect
from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.config import ConsulConfig
from ssdpreg.errors import BackendUnavailableError, ConfigError
from tests.support.certificates import make_certificate
from tests.support.scripted_resource import ScriptedResource

reactor = cast("Any", global_reactor)


class ConnectTests(TestCase):
    """Tests for :func:`connect` with real sockets."""

    def setUp(self) -> None:
        self.resource = ScriptedResource(body=b'{"a": 1}')

    async def listen(self, endpoint: IStreamServerEndpoint) -> IListeningPort:
        """Serve the resource until the test ends."""
        port: IListeningPort = await endpoint.listen(Site(self.resource))
        self.addCleanup(lambda: Deferred.fromCoroutine(_stop(port)))
        return port

    async def listen_tcp(self) -> str:
        """Serve the resource, and return ``host:port``."""
        port = await self.listen(TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"))
        return f"127.0.0.1:{cast('Any', port).getHost().port}"

    async def listen_tls(self, certificate: PrivateCertificate, *authorities: Certificate) -> str:
        """Serve the resource over TLS, and return ``host:port``."""
        options = certificate.options(*authorities)
        port = await self.listen(SSL4ServerEndpoint(reactor, 0, options, interface="127.0.0.1"))
        return f"127.0.0.1:{cast('Any', port).getHost().port}"

    def connect(self, config: ConsulConfig) -> ConsulHTTP:
        http = connect(reactor, config)
        self.addCleanup(http.close)
        return http

    async def test_one_connection(self) -> None:
        """Successive requests use one persistent connection."""
        http = self.connect(ConsulConfig(address=await self.listen_tcp()))
        for _ in range(5):
            self.assertEqual(await http.get("list", "/v1/x"), {"a": 1})
        self.assertEqual(len(self.resource.connections), 1)

    async def test_sixteen_connections(self) -> None:
        """Sixteen connections are persistent, for sixteen requests at a time."""
        http = self.connect(ConsulConfig(address=await self.listen_tcp()))
        for _ in range(2):
            await gatherResults([Deferred.fromCoroutine(http.get("list", "/v1/x")) for _ in range(16)])
        self.assertEqual(len(self.resource.connections), 16)

    async def test_eighteen_connections(self) -> None:
        """Eighteen connections are persistent, and a nineteenth is closed after its response."""
        http = self.connect(ConsulConfig(address=await self.listen_tcp()))
        for _ in range(2):
            await gatherResults([Deferred.fromCoroutine(http.get("list", "/v1/x")) for _ in range(19)])
        self.assertEqual(len(self.resource.connections), 20)

    async def test_token(self) -> None:
        """The token of the configuration is sent, or that of the token file."""
        address, path = await self.listen_tcp(), self.write(b"from-file\n")
        for config in (ConsulConfig(address=address, token="fixed"), ConsulConfig(address=address, token_file=path)):
            await self.connect(config).get("list", "/v1/x")
        tokens = [headers["X-Consul-Token"] for _, _, headers, _ in self.resource.requests]
        self.assertEqual(tokens, ["fixed", "from-file"])

    async def test_refused_connection(self) -> None:
        """A refused connection means that Consul is unavailable, and the error has the URL."""
        listening = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port = cast("Any", await listening.listen(Site(self.resource)))
        address = f"127.0.0.1:{port.getHost().port}"
        await port.stopListening()
        with self.assertRaises(BackendUnavailableError) as caught:
            await self.connect(ConsulConfig(address=address)).get("list", "/v1/x")
        self.assertIn(f"http://{address} does not answer: Connection was refused", str(caught.exception))

    async def test_unknown_host(self) -> None:
        """A host name without an address means that Consul is unavailable."""
        with self.assertRaises(BackendUnavailableError):
            await self.connect(ConsulConfig(address="no-such-host.invalid:8500")).get("list", "/v1/x")

    async def test_unix_socket(self) -> None:
        """Requests are sent over a UNIX socket."""
        # The absolute path in trial's directory may be too long for a socket.
        path = os.path.relpath(self.mktemp())
        await self.listen(UNIXServerEndpoint(reactor, path))
        http = self.connect(ConsulConfig(address=f"unix://{path}"))
        self.assertEqual(await http.get("list", "/v1/x"), {"a": 1})

    async def test_no_unix_socket(self) -> None:
        """A missing UNIX socket means that Consul is unavailable."""
        http = self.connect(ConsulConfig(address=f"unix://{os.path.relpath(self.mktemp())}"))
        with self.assertRaises(BackendUnavailableError):
            await http.get("list", "/v1/x")

    async def test_tls(self) -> None:
        """The server's certificate has to be signed by a trusted authority, for the host in the URL."""
        authority, untrusted = make_certificate("authority"), make_certificate("untrusted")
        trusted = self.write(untrusted.dumpPEM() + b"\n" + authority.dumpPEM())
        server = make_certificate("127.0.0.1", authority)
        other_server = make_certificate("127.0.0.2", authority)
        address = await self.listen_tls(server)
        other_address = await self.listen_tls(other_server)

        http = self.connect(ConsulConfig(address=address, scheme="https", ca_file=trusted))
        self.assertEqual(await http.get("list", "/v1/x"), {"a": 1})
        for config in [
            ConsulConfig(address=address, scheme="https", ca_file=self.write(untrusted.dumpPEM())),
            ConsulConfig(address=address, scheme="https"),
            ConsulConfig(address=other_address, scheme="https", ca_file=trusted),
        ]:
            with self.assertRaises(BackendUnavailableError) as caught:
                await self.connect(config).get("list", "/v1/x")
            self.assertRegex(str(caught.exception), "(?i)certificate|verif")

    async def test_tls_without_verification(self) -> None:
        """Without verification, any certificate is accepted."""
        address = await self.listen_tls(make_certificate("other"))
        http = self.connect(ConsulConfig(address=address, scheme="https", verify_tls=False))
        self.assertEqual(await http.get("list", "/v1/x"), {"a": 1})

    async def test_client_certificate(self) -> None:
        """The client certificate is sent to a server that requires one, with and without verification of the server."""
        authority = make_certificate("authority")
        server, client = make_certificate("127.0.0.1", authority), make_certificate("client", authority)
        address = await self.listen_tls(server, authority)
        ca_file, cert_file = self.write(authority.dumpPEM()), self.write(Certificate.dumpPEM(client))
        key_file = self.write(client.privateKey.dump(FILETYPE_PEM))
        for verify in (True, False):
            config = ConsulConfig(
                address=address,
                scheme="https",
                ca_file=ca_file,
                cert_file=cert_file,
                key_file=key_file,
                verify_tls=verify,
            )
            self.assertEqual(await self.connect(config).get("list", "/v1/x"), {"a": 1})
        with self.assertRaises(BackendUnavailableError):
            await self.connect(ConsulConfig(address=address, scheme="https", ca_file=ca_file)).get("list", "/v1/x")

    def write(self, content: bytes) -> str:
        """Write a file, and return its path."""
        path: str = self.mktemp()
        Path(path).write_bytes(content)
        return path

    def test_unusable_files(self) -> None:
        """A missing or unusable file is a configuration error with the key that names the file."""
        junk, missing = self.write(b"junk"), self.mktemp()
        for key, path in [
            ("token_file", missing),
            ("ca_file", missing),
            ("ca_file", junk),
            ("cert_file", missing),
            ("cert_file", junk),
        ]:
            with self.assertRaises(ConfigError) as caught:
                connect(reactor, ConsulConfig(**cast("Any", {key: path})))
            (fault,) = caught.exception.faults
            self.assertEqual(fault.path, f"backend.{key}")
            self.assertIn(path, fault.problem)


async def _stop(port: IListeningPort) -> None:
    await cast("Any", port).stopListening()
