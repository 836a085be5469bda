"""
Fetch of the document in which a device states facts about itself.

The device is not trusted: the request contains no credentials and no cookies, redirects are not followed, and the
response is limited in length and duration. The connection is aborted at the end, even if the device goes on sending.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import deferLater
from twisted.web.client import URI, Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IResponse
from zope.interface import implementer

from ssdpreg import __version__
from ssdpreg.backends.http_client import BoundedHTTPClient, ResponseTooLongError
from ssdpreg.backends.http_connection import make_pool
from ssdpreg.description.redfish_root import RedfishFacts, parse_redfish_root
from ssdpreg.description.source import Source
from ssdpreg.description.upnp_description import UPnPDescriptionParser, UPnPFacts, split_document
from ssdpreg.errors import BackendUnavailableError, DescriptionError
from ssdpreg.registration.meta import (
    META_FRIENDLY_NAME,
    META_MANUFACTURER,
    META_MODEL,
    META_PRESENTATION_URL,
    META_REDFISH_PRODUCT,
    META_REDFISH_UUID,
    META_REDFISH_VENDOR,
    META_REDFISH_VERSION,
    META_SERIAL,
    make_facts,
)

#: Seconds from the begin of the connection to the end of the response.
TIMEOUT = 5.0
#: Bytes of a document.
MAX_BODY = 256 * 1024

#: Every device gets the same, so nothing of this host is disclosed but the program and its version.
_HEADERS = Headers({"User-Agent": [f"ssdpreg/{__version__}"], "Accept": ["*/*"]})


class DocumentFetcher:
    """
    Client that fetches one document at a time from devices.

    :param reactor: Provides connections and time.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._endpoints = _DeviceEndpoints(reactor)

    async def __call__(self, source: Source) -> Mapping[str, str]:
        """
        Fetch a document, and return its facts for Meta.

        :raise DescriptionError: If there is no usable document.
        """
        content = await self._fetch(source)
        if source.target.is_redfish:
            return redfish_meta(parse_redfish_root(content))
        parser = UPnPDescriptionParser(source.location, source.target.device_id)
        for part in split_document(content):
            parser.feed(part)
            # Datagrams are received between the parts.
            await deferLater(self._reactor, 0.0)
        return upnp_meta(parser.close())

    async def _fetch(self, source: Source) -> bytes:
        connections = _Connections(self._reactor)
        agent = Agent.usingEndpointFactory(self._reactor, self._endpoints, connections.pool)
        plain: Any = _PlainClient(agent)
        client = BoundedHTTPClient(self._reactor, source.url, plain)
        try:
            response = await client.request(
                "GET", source.path, headers=_make_headers(source), timeout=TIMEOUT, limit=MAX_BODY
            )
        except ResponseTooLongError as error:
            raise DescriptionError(str(error), "too long") from error
        except BackendUnavailableError as error:
            raise DescriptionError(str(error), "unavailable") from error
        except ValueError as error:
            # The LOCATION cannot be requested.
            raise DescriptionError(str(error), "invalid") from error
        finally:
            connections.abort()
        if response.status != 200:
            raise DescriptionError(f"{source.url} answers {response.status}", "status")
        return response.body


def upnp_meta(facts: UPnPFacts) -> dict[str, str]:
    """Return the facts of a description as entries of Meta."""
    return make_facts(
        {
            META_FRIENDLY_NAME: facts.friendly_name,
            META_MANUFACTURER: facts.manufacturer,
            META_MODEL: facts.model,
            META_SERIAL: facts.serial,
            META_PRESENTATION_URL: facts.presentation_url,
        }
    )


def redfish_meta(facts: RedfishFacts) -> dict[str, str]:
    """Return the facts of a service root as entries of Meta."""
    return make_facts(
        {
            META_REDFISH_VENDOR: facts.vendor,
            META_REDFISH_PRODUCT: facts.product,
            META_REDFISH_VERSION: facts.version,
            META_REDFISH_UUID: facts.uuid,
        }
    )


class _Connections:
    """
    Connections of one fetch, which are aborted at its end.

    A device that neither reads nor closes could otherwise keep a TLS connection open without end.

    :param reactor: Provides connections and time.
    :ivar pool: Pool for Twisted's agent. It keeps no connection for further requests.
    """

    def __init__(self, reactor: Any) -> None:
        self._protocols: list[Any] = []
        pool: Any = make_pool(reactor)
        pool.persistent = pool.retryAutomatically = False
        self.pool: HTTPConnectionPool = pool
        make_factory = pool._factory
        pool._factory = lambda *arguments: self._record(make_factory(*arguments))

    def _record(self, factory: Any) -> Any:
        build = factory.buildProtocol

        def build_and_record(address: object) -> Any:
            protocol = build(address)
            self._protocols.append(protocol)
            return protocol

        factory.buildProtocol = build_and_record
        return factory

    def abort(self) -> None:
        """Abort the connections that are still open."""
        for protocol in self._protocols:
            if protocol.transport is not None:
                protocol.transport.abortConnection()


@implementer(IAgentEndpointFactory)
class _DeviceEndpoints:
    """
    Factory of endpoints that connect to devices at IP addresses.

    Twisted resolves each host of a URL, and drops the zone of a link-local IPv6 address.

    :param reactor: Provides connections.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        # BMCs have self-signed certificates.
        self._tls = CertificateOptions()

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        host = uri.host.decode("ascii")
        make = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
        endpoint: IStreamClientEndpoint = make(self._reactor, host, uri.port)
        return endpoint if uri.scheme == b"http" else wrapClientTLS(self._tls, endpoint)


def _make_headers(source: Source) -> Headers:
    """Return the headers of a request. A zone has a meaning on this host only: RFC 6874, section 1."""
    host, zone, _ = source.endpoint.netloc.partition("%")
    if not zone:
        return _HEADERS
    headers = _HEADERS.copy()
    headers.addRawHeader("Host", f"{host}]:{source.endpoint.port}")
    return headers


class _PlainClient:
    """
    The part of a treq client that :class:`BoundedHTTPClient` uses, without cookies, compression and redirects.

    treq parses the cookies of each response, decompresses bodies, and rejects URLs with an IPv6 address.

    :param agent: Agent that sends the requests.
    """

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def request(self, method: str, url: Any, *, headers: Headers, **options: object) -> Deferred[IResponse]:
        """
        Send a request without a body.

        :param url: URL as text or as a value of hyperlink, quoted.
        :param options: Options of treq, which mean what this class does anyway.
        """
        text = url if isinstance(url, str) else url.to_text()
        requesting: Deferred[IResponse] = self._agent.request(method.encode("ascii"), text.encode("ascii"), headers)
        return requesting
