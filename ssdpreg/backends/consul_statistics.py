"""Numbers about the requests of a backend for Consul."""

from __future__ import annotations

from collections.abc import Mapping

from zope.interface import implementer

from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.interfaces import ICredentials, IRequestStatistics


@implementer(IRequestStatistics, ICredentials)
class ConsulStatistics:
    """
    Base class of the backends for Consul, with the numbers of their client.

    :param http: The client.
    """

    def __init__(self, http: ConsulHTTP) -> None:
        self._http = http

    @property
    def requests(self) -> Mapping[tuple[str, str], int]:
        return self._http.requests

    @property
    def seconds(self) -> Mapping[str, float]:
        return self._http.seconds

    @property
    def too_long(self) -> int:
        """Number of responses that were not accepted because of their length."""
        return self._http.too_long

    @property
    def credentials_version(self) -> int:
        return self._http.token_version
