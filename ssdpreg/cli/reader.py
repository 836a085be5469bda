"""Reads what a daemon, or Consul, says is registered: the read side of Consul's HTTP API."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, FirstError, gatherResults
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionClosed
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, RequestTransmissionFailed, ResponseFailed
from twisted.web.http_headers import Headers

from ssdpreg.errors import BackendError, BackendRefusedError, BackendUnavailableError
from ssdpreg.registration import SOURCE

#: Requests under way at a time.
_AT_ONCE = 8
#: Seconds in which whoever is well has answered, beyond those that it was asked to wait.
_TIMEOUT = 10.0
#: Characters of an answer that are worth being repeated.
_MAX_REASON = 200

#: States of checks, from the worst, which is that of the service: Consul's order.
_STATES = ("maintenance", "critical", "warning", "passing")
#: What the IDs of checks begin with that an operator's maintenance mode is made of.
_MAINTENANCE = ("_node_maintenance", "_service_maintenance:")


@dataclass(frozen=True, slots=True)
class Service:
    """
    A service that is registered.

    :ivar key: Tells it apart from all others: the node, and the ID there.
    :ivar name: What readers ask for, such as ``RackHD-service:api:2.0``.
    :ivar device: ID of the device.
    :ivar address: IP address or host name.
    :ivar port: 1 to 65535.
    :ivar tags: Labels.
    :ivar health: ``passing``, ``warning``, ``critical`` or ``maintenance``.
    :ivar location: URL as announced.
    """

    key: tuple[str, str]
    name: str
    device: str
    address: str
    port: int
    tags: tuple[str, ...]
    health: str
    location: str = field(compare=False)

    @property
    def endpoint(self) -> str:
        """The address and port as a URL has them."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    def document(self) -> dict[str, Any]:
        """Describe it for machines."""
        return {
            "id": self.key[1],
            "name": self.name,
            "device": self.device,
            "address": self.address,
            "port": self.port,
            "tags": list(self.tags),
            "health": self.health,
            "location": self.location,
        }


class Reader:
    """
    Asks one daemon, or Consul, of which it shows the daemon's services alone.

    :param reactor: Provides ``IReactorTime``.
    :param url: Such as ``http://127.0.0.1:8580``.
    :param client: Sends the requests.
    :param token: Consul's ACL token, empty for none.
    """

    def __init__(self, reactor: Any, url: str, client: HTTPClient, token: str = "") -> None:
        self._reactor = reactor
        self._url = url.rstrip("/")
        self._client = client
        self._headers = Headers({"X-Consul-Token": [token]} if token else {})

    async def services(self, name: str | None = None) -> list[Service]:
        """
        Read what is registered, by name and address.

        :param name: Only services that are called so.
        :raise BackendError: If that is not to be had.
        """
        names = [name] if name is not None else (await self.names())[0]
        limit = DeferredSemaphore(_AT_ONCE)
        asking = [limit.run(self._named, each) for each in names]
        try:
            found = await gatherResults(asking, consumeErrors=True)
        except FirstError as error:
            error.subFailure.raiseException()
        services = [service for services in found for service in services]
        return sorted(services, key=lambda service: (service.name, service.address, service.port, service.key))

    async def names(self, index: int = 0, wait: int = 0) -> tuple[list[str], int]:
        """
        Read which names there are.

        :param index: The state that is known already; 0 for none.
        :param wait: Seconds to wait for another.
        :return: The names, and the state.
        :raise BackendError: If that is not to be had.
        """
        query = {"index": str(index), "wait": f"{wait}s"} if index else {}
        names, answered = await self._get("/v1/catalog/services", query, _TIMEOUT + 1.1 * wait)
        if not isinstance(names, dict):
            raise self._no_api("/v1/catalog/services")
        return list(names), answered

    async def ready(self) -> bool:
        """Tell whether what is answered is all that there is. A daemon needs some time after its start to hear it."""
        try:
            await self._request("/readyz", {}, _TIMEOUT)
        except BackendUnavailableError:
            return False
        except BackendRefusedError:
            # Consul has no such path.
            pass
        return True

    async def _named(self, name: str) -> list[Service]:
        path = f"/v1/health/service/{quote(name, safe='')}"
        entries, _ = await self._get(path, {}, _TIMEOUT)
        try:
            return [_service(entry) for entry in entries if _is_ours(entry)]
        except (TypeError, KeyError, AttributeError) as error:
            raise self._no_api(path) from error

    async def _get(self, path: str, query: Mapping[str, str], seconds: float) -> tuple[Any, int]:
        content, index = await self._request(path, query, seconds)
        try:
            return json.loads(content), int(index)
        except ValueError as error:
            raise self._no_api(path) from error

    async def _request(self, path: str, query: Mapping[str, str], seconds: float) -> tuple[bytes, str]:
        """Ask for something, and return the answer with its index."""
        url = f"{self._url}{path}{'?' if query else ''}{urlencode(query)}"
        exchange = Deferred.fromCoroutine(self._exchange(url))
        try:
            status, index, content = await exchange.addTimeout(seconds, self._reactor, self._timed_out)
        except ConnectingCancelledError as error:
            raise CancelledError from error
        except (ConnectError, ConnectionClosed, OSError, RequestTransmissionFailed, ResponseFailed) as error:
            reasons: Sequence[Failure] = getattr(error, "reasons", ())
            if any(reason.check(CancelledError) for reason in reasons):
                # As the client puts it that nobody wants the answer any more.
                raise CancelledError from error
            cause = reasons[0].getErrorMessage() if reasons else error
            raise BackendUnavailableError(f"{self._url} does not answer: {str(cause).rstrip('.')}") from error
        if status == 200:
            return content, index
        reason = content[:_MAX_REASON].decode(errors="replace").strip()
        if status >= 500:
            raise BackendUnavailableError(f"{self._url} answers {status}: {reason}")
        raise BackendRefusedError(status, f"is what {self._url} answers: {reason}")

    def _timed_out(self, result: object, seconds: float) -> Failure:
        return Failure(BackendUnavailableError(f"{self._url} does not answer within {seconds:g} s"))

    async def _exchange(self, url: str) -> tuple[int, str, bytes]:
        response = await self._client.get(url, headers=self._headers, allow_redirects=False, reactor=self._reactor)
        (index,) = response.headers.getRawHeaders("X-Consul-Index", ["0"])[:1]
        return response.code, index, await response.content()

    def _no_api(self, path: str) -> BackendError:
        return BackendRefusedError(200, f"is what {self._url}{path} answers, but not as ssdpreg or Consul would")


def make_reader(reactor: Any, url: str, token: str = "") -> Reader:
    """Make a reader that keeps its connections open."""
    pool = HTTPConnectionPool(reactor)
    pool.maxPersistentPerHost = _AT_ONCE
    return Reader(reactor, url, HTTPClient(Agent(reactor, pool=pool)), token)


def _is_ours(entry: Mapping[str, Any]) -> bool:
    """Whether an entry is a device's service. The daemon itself is one of Consul's, too."""
    meta = entry["Service"]["Meta"] or {}
    return meta.get("external-source") == SOURCE and "ssdp-device" in meta


def _service(entry: Mapping[str, Any]) -> Service:
    service, node = entry["Service"], entry["Node"]
    return Service(
        key=(str(node["Node"]), str(service["ID"])),
        name=str(service["Service"]),
        device=str(service["Meta"]["ssdp-device"]),
        address=str(service["Address"] or node["Address"]),
        port=int(service["Port"]),
        tags=tuple(str(tag) for tag in service["Tags"] or ()),
        health=_health(entry["Checks"]),
        location=str(service["Meta"].get("ssdp-location", "")),
    )


def _health(checks: Sequence[Mapping[str, Any]]) -> str:
    states = {"maintenance" if check["CheckID"].startswith(_MAINTENANCE) else str(check["Status"]) for check in checks}
    return next((state for state in _STATES if state in states), "passing")
