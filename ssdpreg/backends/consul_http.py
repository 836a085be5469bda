"""Requests to Consul's HTTP API. Each response becomes JSON, or one of three errors, by the reaction that it needs."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.http_headers import Headers

from ssdpreg.backends.consul_token import TokenSource
from ssdpreg.backends.http_client import BoundedHTTPClient, Response, ResponseTooLongError
from ssdpreg.backends.json_object import JSONArrayParser, JSONObjectParser
from ssdpreg.errors import (
    BackendBusyError,
    BackendFaultError,
    BackendForgotError,
    BackendRefusedError,
    BackendUnavailableError,
)

#: Error texts for an unknown ID, which Consul 1.8 sends with status 500. Later versions send status 404. A 404 with
#: another text comes from a proxy or from another server.
_UNKNOWN_ID = re.compile(r"Unknown (service|check)|.*does not have associated TTL", re.IGNORECASE)

_encode = json.JSONEncoder(separators=(",", ":")).encode


class ConsulHTTP:
    """
    Client of one Consul's HTTP API, with statistics of its requests.

    :param reactor: Provides ``IReactorTime``.
    :param client: Sends the requests.
    :param token: Source of the ACL token.
    :param parameters: Query parameters of every request, such as ``dc``.
    :ivar requests: Number of requests by operation, a constant such as ``register``, and by result: ``ok``,
        ``refused``, ``unavailable`` or ``forgot``.
    :ivar too_long: Number of responses that were not accepted because of their length.
    :ivar seconds: Total duration of the requests in seconds, by operation.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        client: BoundedHTTPClient,
        token: TokenSource | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        self._reactor = reactor
        self._parameters = dict(parameters or {})
        self._client = client
        self._token = token or TokenSource()
        self.requests: Counter[tuple[str, str]] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.too_long = 0

    @property
    def url(self) -> str:
        """URL of the server."""
        return self._client.url

    def now(self) -> float:
        """Return the time of the reactor's clock."""
        return self._reactor.seconds()

    @property
    def token_version(self) -> int:
        """Number of changes of the token so far. Reads the token file again."""
        self._token.refresh()
        return self._token.version

    async def get(self, operation: str, path: str, *, limit: int | None = None, **parameters: str) -> Any:
        """
        Send a GET request.

        :param operation: Name of the request in the statistics.
        :param path: Path of the URL, quoted.
        :param limit: Bytes of the longest response that is accepted; None for the usual length.
        :param parameters: Query of the URL, not quoted.
        :return: The decoded JSON of the response.
        :raise BackendUnavailableError: If Consul does not respond, or cannot serve the request now.
        :raise BackendRefusedError: If Consul rejects the request.
        :raise BackendForgotError: If Consul does not know the requested object.
        """
        response = await self._request(operation, "GET", self._with_query(path, parameters), limit=limit)
        try:
            return json.loads(response.body)
        except (ValueError, RecursionError) as error:
            raise BackendUnavailableError(f"{self.url}{path}: the response is not JSON: {error}") from error

    async def get_members(
        self, operation: str, path: str, process: Callable[[str, Any], None], limit: int, **parameters: str
    ) -> None:
        """
        Send a GET request for a JSON object, and process each of its members as soon as it is received.

        The object may be so large that its parser would block the reactor for seconds.

        :param operation: Name of the request in the statistics.
        :param path: Path of the URL, quoted.
        :param process: Called with the name and the value of each member. A :class:`ValueError` means that the member
            is not what it should be.
        :param limit: Bytes of the longest response that is accepted.
        :param parameters: Query of the URL, not quoted.
        :raise BackendError: As :meth:`get`.
        """
        await self._get_parsed(JSONObjectParser, operation, path, process, limit, parameters)

    async def get_items(
        self, operation: str, path: str, process: Callable[[Any], None], limit: int, **parameters: str
    ) -> None:
        """Send a GET request for a JSON array, and process each of its items, in the way of :meth:`get_members`."""
        await self._get_parsed(JSONArrayParser, operation, path, process, limit, parameters)

    async def _get_parsed(
        self,
        parser: type[JSONObjectParser],
        operation: str,
        path: str,
        process: Callable[..., None],
        limit: int,
        parameters: Mapping[str, str],
    ) -> None:
        parsers: list[JSONObjectParser] = []

        def start() -> Callable[[bytes], None]:
            # The request may be sent twice.
            parsers.append(parser(process))
            return parsers[-1].feed

        await self._request(operation, "GET", self._with_query(path, parameters), start=start, limit=limit)
        try:
            parsers[-1].close()
        except ValueError as error:
            raise BackendUnavailableError(f"{self.url}{path}: the response is malformed: {error}") from error

    async def put(self, operation: str, path: str, body: Mapping[str, Any] | None = None) -> None:
        """
        Send a PUT request to the agent API, whose responses are empty.

        A response with a body comes from a proxy or from another server, and so does not count as a success.

        :param operation: Name of the request in the statistics.
        :param path: Path of the URL, quoted.
        :param body: Body of the request, sent as JSON.
        :raise BackendUnavailableError: If Consul does not respond, or cannot serve the request now.
        :raise BackendRefusedError: If Consul rejects the request.
        :raise BackendForgotError: If Consul does not know the object to be changed.
        """
        content = None if body is None else _encode(body).encode()
        response = await self._request(operation, "PUT", self._with_query(path, {}), content)
        if response.body.strip():
            raise BackendUnavailableError(f"{self.url}{path}: the response is not that of a Consul agent")

    async def transact(self, operation: str, body: bytes, limit: int, **parameters: str) -> Response:
        """
        Send a transaction.

        :param operation: Name of the request in the statistics.
        :param body: JSON array of operations.
        :param limit: Bytes of the longest response that is accepted.
        :param parameters: Query of the URL, not quoted.
        :return: Response with status 200, or with status 409 if Consul rejected some of the operations.
        :raise BackendUnavailableError: If Consul does not respond, or cannot serve the request now.
        :raise BackendRefusedError: If Consul rejects the request with any other status.
        """
        path = self._with_query("/v1/txn", parameters)
        try:
            return await self._request(operation, "PUT", path, body, limit=limit, accept=409)
        except BackendForgotError as error:
            # Consul does not send this response to a transaction.
            raise BackendUnavailableError(f"{self.url}{path}: the response is: {error}") from error

    async def exchange(
        self,
        operation: str,
        method: str,
        path: str,
        body: Any = None,
        *,
        accept: int | None = None,
        timeout: float | None = None,
        limit: int | None = None,
        **parameters: str,
    ) -> tuple[int, Any]:
        """
        Send a request whose response is JSON.

        :param operation: Name of the request in the statistics.
        :param path: Path of the URL, quoted.
        :param body: Body of the request, sent as JSON; None for no body.
        :param accept: An error status whose body is JSON too, such as 409.
        :param timeout: Seconds until the request is cancelled; None for the usual time.
        :param limit: Bytes of the longest response that is accepted; None for the usual length.
        :param parameters: Query of the URL, not quoted.
        :return: Status, and the decoded JSON of the response.
        :raise BackendError: As :meth:`get`.
        """
        content = None if body is None else _encode(body).encode()
        response = await self._request(
            operation,
            method,
            self._with_query(path, parameters),
            content,
            accept=accept,
            timeout=timeout,
            limit=limit,
        )
        try:
            return response.status, json.loads(response.body)
        except (ValueError, RecursionError) as error:
            raise BackendUnavailableError(f"{self.url}{path}: the response is not JSON: {error}") from error

    def close(self) -> Deferred[None]:
        """Close the persistent connections."""
        return self._client.close()

    async def _request(
        self, operation: str, method: str, path: str, body: bytes | None = None, **options: Any
    ) -> Response:
        token = self._token.value
        try:
            return await self._count(operation, method, path, body, token, **options)
        except BackendRefusedError as error:
            if error.status != 403:
                raise
            self._token.refresh()
            # Other requests may have read the new token since this one was sent.
            if self._token.value == token:
                raise
            return await self._count(operation, method, path, body, self._token.value, **options)

    async def _count(
        self, operation: str, method: str, path: str, body: bytes | None, token: str | None, **options: Any
    ) -> Response:
        """Send a request once, and count it."""
        result = "unavailable"
        started_at = self._reactor.seconds()
        try:
            response = await self._send(method, path, body, token, **options)
            result = "ok" if response.status < 300 else "refused"
            return response
        except BackendRefusedError:
            result = "refused"
            raise
        except BackendForgotError:
            result = "forgot"
            raise
        except ResponseTooLongError:
            self.too_long += 1
            raise
        finally:
            self.requests[operation, result] += 1
            self.seconds[operation] += self._reactor.seconds() - started_at

    async def _send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        token: str | None,
        start: Callable[[], Callable[[bytes], None]] | None = None,
        limit: int | None = None,
        timeout: float | None = None,
        accept: int | None = None,
    ) -> Response:
        # Consul logs a warning for a request without Content-Type.
        headers = Headers({"Content-Type": ["application/json"]})
        if token:
            headers.addRawHeader("X-Consul-Token", token)
        receive = None if start is None else start()
        response = await self._client.request(
            method, path, headers=headers, body=body, timeout=timeout, receive=receive, limit=limit
        )
        if not 200 <= response.status < 300 and response.status != accept:
            raise _error(self._client.url, response)
        return response

    def _with_query(self, path: str, parameters: Mapping[str, str]) -> str:
        query = urlencode({**parameters, **self._parameters})
        return f"{path}?{query}" if query else path


def _error(url: str, response: Response) -> Exception:
    """Return the error for a response whose status is not 2xx."""
    status, reason = response.status, response.reason
    if status in (404, 500) and _UNKNOWN_ID.match(reason):
        return BackendForgotError(reason)
    if status == 429 or status >= 500:
        # HTTP allows a date as well. It is ignored: its use would need the same time on both hosts.
        retry_after = response.header("Retry-After")
        seconds = float(retry_after) if re.fullmatch(r"[0-9]{1,9}", retry_after) else None
        text = f"{url} answers {status}: {reason}".rstrip(": ")
        if status == 500 and seconds is None:
            return BackendFaultError(text, status, reason)
        kind = BackendBusyError if status == 429 else BackendUnavailableError
        return kind(text, seconds)
    return BackendRefusedError(status, reason)
