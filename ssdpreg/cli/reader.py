"""Client of the part of Consul's HTTP API that a running daemon provides, too: lists registered services."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from treq.client import HTTPClient
from twisted.internet.defer import DeferredSemaphore, FirstError, gatherResults
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers

from ssdpreg.backends.http_client import MAX_CONNECTIONS, TIMEOUT, BoundedHTTPClient
from ssdpreg.errors import BackendError, BackendRefusedError, BackendUnavailableError
from ssdpreg.registration import SOURCE
from ssdpreg.registration.meta import META_DEVICE, META_LOCATION, META_SOURCE, facts_by_name

#: States of checks, the worst first. As in Consul, the worst check decides the state of the service.
_STATES = ("maintenance", "critical", "warning", "passing")
#: Prefixes of the IDs of checks that an operator's maintenance mode consists of.
_MAINTENANCE = ("_node_maintenance", "_service_maintenance:")
#: Bytes of the longest response: 100,000 services of one name.
_MAX_BODY = 128 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Service:
    """
    Registered service.

    :ivar key: Node, and service ID on that node. Unique among all services.
    :ivar name: Service name, such as ``RackHD-service:api:2.0``.
    :ivar device: ID of the device.
    :ivar address: IP address or host name.
    :ivar port: 1 to 65535.
    :ivar tags: Tags.
    :ivar health: ``passing``, ``warning``, ``critical`` or ``maintenance``.
    :ivar location: LOCATION of the announcement.
    :ivar meta: Meta of the registration: the facts of the announcement.
    :ivar claims: Claims of other LOCATIONs, which a daemon knows, and Consul does not.
    """

    key: tuple[str, str]
    name: str
    device: str
    address: str
    port: int
    tags: tuple[str, ...]
    health: str
    location: str = field(compare=False)
    meta: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    claims: tuple[Mapping[str, Any], ...] = field(default=(), compare=False, repr=False)

    @property
    def endpoint(self) -> str:
        """Address and port in the format of a URL."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    def document(self) -> dict[str, Any]:
        """Return the service in the JSON format of ``ssdpreg services --json``, with the facts that are known."""
        return {
            "id": self.key[1],
            "name": self.name,
            "device": self.device,
            "address": self.address,
            "port": self.port,
            "tags": list(self.tags),
            "health": self.health,
            "location": self.location,
            **facts_by_name(self.meta),
            **({"competing_claims": list(self.claims)} if self.claims else {}),
        }


class Reader:
    """
    Reader of the services that ssdpreg has registered, from a running daemon or from Consul.

    :param client: Client of the daemon or of Consul.
    :param token: ACL token for Consul, empty for none.
    """

    def __init__(self, client: BoundedHTTPClient, token: str = "") -> None:
        self._client = client
        self._headers = Headers({"X-Consul-Token": [token]} if token else {})

    async def services(self, name: str | None = None) -> list[Service]:
        """
        Read the registered services, sorted by name and address.

        :param name: Read only the services with this name.
        :raise BackendError: If there is no usable response.
        """
        names = [name] if name is not None else (await self.names())[0]
        limit = DeferredSemaphore(MAX_CONNECTIONS)
        requests = [limit.run(self._services_named, each) for each in names]
        try:
            found = await gatherResults(requests, consumeErrors=True)
        except FirstError as error:
            error.subFailure.raiseException()
        services = [service for services in found for service in services]
        return sorted(services, key=lambda service: (service.name, service.address, service.port, service.key))

    async def names(self, index: int = 0, wait: int = 0) -> tuple[list[str], int]:
        """
        Read the names of all services, the services of other programs included.

        :param index: Index of the last response, for a blocking query, or 0.
        :param wait: Seconds that a blocking query waits for a change.
        :return: The names, and the index of the response.
        :raise BackendError: If there is no usable response.
        """
        query = {"index": str(index), "wait": f"{wait}s"} if index else {}
        # Consul adds up to a sixteenth to the time of a blocking query.
        names, answered = await self._get("/v1/catalog/services", query, TIMEOUT + 1.1 * wait)
        if not isinstance(names, dict):
            raise self._unexpected("/v1/catalog/services")
        return list(names), answered

    async def ready(self) -> bool:
        """Return whether the listing is complete. A daemon first has to receive the announcements after its start."""
        try:
            await self._request("/readyz", {}, TIMEOUT)
        except BackendUnavailableError:
            return False
        except BackendRefusedError:
            # Consul has no such path.
            pass
        return True

    async def _services_named(self, name: str) -> list[Service]:
        path = f"/v1/health/service/{quote(name, safe='')}"
        entries, _ = await self._get(path, {}, TIMEOUT)
        try:
            return [_service(entry) for entry in entries if _is_device_service(entry)]
        except (TypeError, KeyError, AttributeError) as error:
            raise self._unexpected(path) from error

    async def _get(self, path: str, query: Mapping[str, str], timeout: float) -> tuple[Any, int]:
        """Return the decoded JSON of a response, and its index."""
        body, index = await self._request(path, query, timeout)
        try:
            return json.loads(body), int(index)
        except ValueError as error:
            raise self._unexpected(path) from error

    async def _request(self, path: str, query: Mapping[str, str], timeout: float) -> tuple[bytes, str]:
        """Return the body of a response, and its index."""
        target = f"{path}?{urlencode(query)}" if query else path
        response = await self._client.request("GET", target, headers=self._headers, timeout=timeout, limit=_MAX_BODY)
        if response.status == 200:
            return response.body, response.header("X-Consul-Index", "0")
        if response.status >= 500:
            raise BackendUnavailableError(f"{self._client.url} answers {response.status}: {response.reason}")
        raise BackendRefusedError(response.status, f"is the answer of {self._client.url}: {response.reason}")

    def _unexpected(self, path: str) -> BackendError:
        return BackendRefusedError(
            200, f"is the answer of {self._client.url}{path}, but its content is not that of ssdpreg or Consul"
        )


def make_reader(reactor: Any, url: str, token: str = "") -> Reader:
    """
    Make a reader with persistent connections.

    :param url: URL of the daemon or of Consul, such as ``http://127.0.0.1:8580``.
    :param token: ACL token for Consul, empty for none.
    """
    pool = HTTPConnectionPool(reactor)
    pool.maxPersistentPerHost = MAX_CONNECTIONS
    client = HTTPClient(Agent(reactor, pool=pool))
    return Reader(BoundedHTTPClient(reactor, url.rstrip("/"), client, pool), token)


def _is_device_service(entry: Mapping[str, Any]) -> bool:
    """Return whether ssdpreg registered a service for a device: not for itself, which it does in Consul."""
    meta = entry["Service"]["Meta"] or {}
    return meta.get(META_SOURCE) == SOURCE and META_DEVICE in meta


def _service(entry: Mapping[str, Any]) -> Service:
    """Return the service that an entry of Consul's health API describes."""
    service, node = entry["Service"], entry["Node"]
    return Service(
        key=(str(node["Node"]), str(service["ID"])),
        name=str(service["Service"]),
        device=str(service["Meta"][META_DEVICE]),
        address=str(service["Address"] or node["Address"]),
        port=int(service["Port"]),
        tags=tuple(str(tag) for tag in service["Tags"] or ()),
        health=_health(entry["Checks"]),
        location=str(service["Meta"].get(META_LOCATION, "")),
        meta={str(key): str(value) for key, value in service["Meta"].items()},
        claims=tuple(map(_claim, entry.get("CompetingClaims", ()))),
    )


def _claim(claim: Mapping[str, Any]) -> dict[str, Any]:
    """Return a competing claim in the format of ``ssdpreg services --json``."""
    return {
        "location": str(claim["Location"]),
        "sender": str(claim["Sender"]),
        "standing": str(claim["Standing"]),
        "answers": bool(claim["Answers"]),
        "age_seconds": int(claim["AgeSeconds"]),
        "silence_seconds": int(claim["SilenceSeconds"]),
    }


def _health(checks: Sequence[Mapping[str, Any]]) -> str:
    """Return the worst state of some checks."""
    states = {"maintenance" if check["CheckID"].startswith(_MAINTENANCE) else str(check["Status"]) for check in checks}
    return next((state for state in _STATES if state in states), "passing")
