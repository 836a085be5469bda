"""Requests to Consul's HTTP API. Each response becomes JSON, or one of three errors, by the reaction that it needs."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.http_headers import Headers

from ssdpreg.backends.http_client import BoundedHTTPClient, Response
from ssdpreg.errors import BackendForgotError, BackendRefusedError, BackendUnavailableError

#: Error texts for an unknown ID, which Consul 1.8 sends with status 500. Later versions send status 404.
_UNKNOWN_ID = re.compile(r"Unknown (service|check)|.*does not have associated TTL")


class TokenSource:
    """
    Source of Consul's ACL token: a fixed value, or a file that may change. The token is in no log and no ``repr()``.

    :param value: The token, or None for requests without a token.
    :param path: File to read the token from, in place of ``value``.
    :ivar value: The current token, or None.
    """

    def __init__(self, value: str | None = None, path: str | None = None) -> None:
        self.value = value
        self._path = path
        if path is not None:
            self.value = Path(path).read_text().strip()

    def refresh(self) -> bool:
        """Read the file again, and return whether it holds another token now."""
        if self._path is None:
            return False
        before = self.value
        try:
            self.value = Path(self._path).read_text().strip()
        except OSError:
            # The file may be missing for a moment while it is replaced.
            return False
        return self.value != before


class ConsulHTTP:
    """
    Client of one Consul's HTTP API, with statistics of its requests.

    :param reactor: Provides ``IReactorTime``.
    :param client: Sends the requests.
    :param token: Source of the ACL token.
    :ivar requests: Number of requests by operation, a constant such as ``register``, and by result: ``ok``,
        ``refused``, ``unavailable`` or ``forgot``.
    :ivar seconds: Total duration of the requests in seconds, by operation.
    """

    def __init__(self, reactor: IReactorTime, client: BoundedHTTPClient, token: TokenSource | None = None) -> None:
        self._reactor = reactor
        self._client = client
        self._token = token or TokenSource()
        self.requests: Counter[tuple[str, str]] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)

    async def get(self, operation: str, path: str, **parameters: str) -> Any:
        """
        Send a GET request.

        :param operation: Name of the request in the statistics.
        :param path: Path of the URL, quoted.
        :param parameters: Query of the URL, not quoted.
        :return: The decoded JSON of the response.
        :raise BackendUnavailableError: If Consul does not respond, or cannot serve the request now.
        :raise BackendRefusedError: If Consul rejects the request.
        :raise BackendForgotError: If Consul does not know the requested object.
        """
        body = await self._request(operation, "GET", f"{path}?{urlencode(parameters)}" if parameters else path)
        try:
            return json.loads(body)
        except ValueError as error:
            raise BackendUnavailableError(f"{self._client.url}{path}: the response is not JSON: {error}") from error

    async def put(self, operation: str, path: str, body: Mapping[str, Any] | None = None) -> None:
        """
        Send a PUT request.

        :param operation: Name of the request in the statistics.
        :param path: Path of the URL, quoted.
        :param body: Body of the request, sent as JSON.
        :raise BackendUnavailableError: If Consul does not respond, or cannot serve the request now.
        :raise BackendRefusedError: If Consul rejects the request.
        :raise BackendForgotError: If Consul does not know the object to be changed.
        """
        await self._request(operation, "PUT", path, None if body is None else json.dumps(body).encode())

    def close(self) -> Deferred[None]:
        """Close the persistent connections."""
        return self._client.close()

    async def _request(self, operation: str, method: str, path: str, body: bytes | None = None) -> bytes:
        try:
            return await self._count(operation, method, path, body)
        except BackendRefusedError as error:
            if error.status == 403 and self._token.refresh():
                return await self._count(operation, method, path, body)
            raise

    async def _count(self, operation: str, method: str, path: str, body: bytes | None) -> bytes:
        """Send a request once, and count it."""
        result = "unavailable"
        started_at = self._reactor.seconds()
        try:
            content = await self._send(method, path, body)
            result = "ok"
            return content
        except BackendRefusedError:
            result = "refused"
            raise
        except BackendForgotError:
            result = "forgot"
            raise
        finally:
            self.requests[operation, result] += 1
            self.seconds[operation] += self._reactor.seconds() - started_at

    async def _send(self, method: str, path: str, body: bytes | None) -> bytes:
        # Consul logs a warning for a request without Content-Type.
        headers = Headers({"Content-Type": ["application/json"]})
        if self._token.value:
            headers.addRawHeader("X-Consul-Token", self._token.value)
        response = await self._client.request(method, path, headers=headers, body=body)
        if not 200 <= response.status < 300:
            raise _error(self._client.url, response)
        return response.body


def _error(url: str, response: Response) -> Exception:
    """Return the error for a response whose status is not 2xx."""
    status, reason = response.status, response.reason
    if status == 404 or (status == 500 and _UNKNOWN_ID.match(reason)):
        return BackendForgotError(reason)
    if status == 429 or status >= 500:
        # HTTP allows a date as well. It is ignored: its use would need the same time on both hosts.
        retry_after = response.header("Retry-After")
        seconds = float(retry_after) if retry_after.isdecimal() else None
        return BackendUnavailableError(f"{url} answers {status}: {reason}".rstrip(": "), seconds)
    return BackendRefusedError(status, reason)
