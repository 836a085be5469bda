"""Connections to Consul as the configuration describes them: TCP, TLS or a UNIX socket, with or without a token."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from OpenSSL.crypto import FILETYPE_PEM
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IReactorUNIX, IStreamClientEndpoint
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    KeyPair,
    PrivateCertificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.web.client import URI
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS
from zope.interface import implementer

from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.backends.consul_token import TokenSource
from ssdpreg.backends.http_client import BoundedHTTPClient
from ssdpreg.backends.http_connection import RepeatingAgent, make_pool, make_treq
from ssdpreg.errors import ConfigError, Fault

if TYPE_CHECKING:
    from ssdpreg.config import ConsulConfig

_PEM_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

_T = TypeVar("_T")


def connect(reactor: Any, config: ConsulConfig, parameters: Mapping[str, str] | None = None) -> ConsulHTTP:
    """
    Make the Consul client that a configuration describes. Connections are opened by its first requests.

    :param reactor: For connections and time.
    :param parameters: Query parameters of every request.
    :raise ConfigError: If a file that the configuration names cannot be used.
    """
    return ConsulHTTP(reactor, make_client(reactor, config), load_token(config), parameters)


def load_token(config: ConsulConfig) -> TokenSource:
    """
    Return the source of the ACL token that a configuration names.

    :raise ConfigError: If the file cannot be read.
    """
    return _load("token_file", config.token_file, lambda path: TokenSource(path=path)) or TokenSource(config.token)


def make_client(reactor: Any, config: ConsulConfig) -> BoundedHTTPClient:
    """
    Make the HTTP client that a configuration describes.

    :param reactor: For connections and time.
    :raise ConfigError: If a file that the configuration names cannot be used.
    """
    pool = make_pool(reactor)
    prefix, _, path = config.address.partition("://")
    if prefix == "unix":
        agent = RepeatingAgent.usingEndpointFactory(reactor, _UNIXSocket(reactor, path), pool)
        url = "http://localhost"
    else:
        agent = RepeatingAgent.usingEndpointFactory(reactor, _Server(reactor, _TLSPolicy(config)), pool)
        url = f"{config.scheme}://{config.address}"
    return BoundedHTTPClient(reactor, url, make_treq(agent), pool)


@implementer(IAgentEndpointFactory)
class _UNIXSocket:
    """Factory of endpoints that connect to one UNIX socket, for every host."""

    def __init__(self, reactor: IReactorUNIX, path: str) -> None:
        self._reactor = reactor
        self._path = path

    def endpointForURI(self, uri: URI) -> UNIXClientEndpoint:
        return UNIXClientEndpoint(self._reactor, self._path)


@implementer(IAgentEndpointFactory)
class _Server:
    """Factory of endpoints that connect to one server. There is one endpoint, because each request needs it."""

    def __init__(self, reactor: Any, policy: _TLSPolicy) -> None:
        self._reactor, self._policy = reactor, policy
        self._endpoint: IStreamClientEndpoint | None = None

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        if self._endpoint is None:
            self._endpoint = HostnameEndpoint(self._reactor, uri.host.decode("ascii"), uri.port)
            if uri.scheme == b"https":
                self._endpoint = wrapClientTLS(self._policy.creatorForNetloc(uri.host, uri.port), self._endpoint)
        return self._endpoint


@implementer(IPolicyForHTTPS)
class _TLSPolicy:
    """TLS options from a configuration: trusted authorities, client certificate, and whether to verify the server."""

    def __init__(self, config: ConsulConfig) -> None:
        self._verify = config.verify_tls
        self._trust_root = _load("ca_file", config.ca_file, _load_authorities)
        self._certificate = _load(
            "cert_file", config.cert_file, lambda path: _load_certificate(path, config.key_file or path)
        )

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        if self._verify:
            return optionsForClientTLS(hostname.decode("ascii"), self._trust_root, self._certificate)
        if self._certificate is None:
            return CertificateOptions()
        return CertificateOptions(self._certificate.privateKey.original, self._certificate.original)


def _load(key: str, path: str | None, load: Callable[[str], _T]) -> _T | None:
    """
    Load a file that the configuration names.

    :param key: Key of the configuration that names the file.
    :param path: The file, or None if the configuration names none.
    :param load: Called with the path.
    :raise ConfigError: If ``load`` fails.
    """
    if path is None:
        return None
    try:
        return load(path)
    except Exception as error:
        # An OSError has a text that names the file. The errors of OpenSSL have no text.
        problem = str(error) if isinstance(error, OSError) else f"cannot use the content of {path}: {error!r}"
        raise ConfigError(Fault(f"backend.{key}", problem)) from error


def _load_authorities(path: str) -> Any:
    certificates = [Certificate.loadPEM(pem) for pem in _PEM_CERTIFICATE.findall(Path(path).read_bytes())]
    if not certificates:
        raise ValueError("no certificate")
    return trustRootFromCertificates(certificates)


def _load_certificate(path: str, key_path: str) -> PrivateCertificate:
    certificate = Certificate.loadPEM(Path(path).read_bytes())
    key = KeyPair.load(Path(key_path).read_bytes(), FILETYPE_PEM)
    private: PrivateCertificate = PrivateCertificate.fromCertificateAndKeyPair(certificate, key)
    return private
