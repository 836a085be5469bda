"""Collection of facts about Consul by requests that change nothing."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Any

from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.threads import deferToThread
from twisted.web.http_headers import Headers

from ssdpreg.backends.consul_connection import load_token, make_client
from ssdpreg.backends.http_client import BoundedHTTPClient, Response
from ssdpreg.cli.doctor.consul import ConsulFacts
from ssdpreg.cli.doctor.rights import Authorization, Right, parse_authorization
from ssdpreg.config import ConsulConfig
from ssdpreg.errors import BackendUnavailableError

#: Seconds of the longest wait for a response, and for the resolution of a name.
_TIMEOUT = 5.0
#: Bytes of the longest response: the configuration of an agent.
_MAX_BODY = 1024 * 1024


class ConsulClient:
    """
    Client for read-only requests.

    :param client: Sends the requests.
    :param token: ACL token, or None.
    :param datacenter: Datacenter whose ACL system decides, or None for that of the agent.
    """

    def __init__(self, client: BoundedHTTPClient, token: str | None = None, datacenter: str | None = None) -> None:
        self._client = client
        self._token = token
        self._datacenter = f"?dc={datacenter}" if datacenter else ""

    @property
    def has_token(self) -> bool:
        """Whether the requests have a token."""
        return bool(self._token)

    @property
    def url(self) -> str:
        """URL of Consul."""
        return self._client.url

    async def read_facts(self) -> ConsulFacts:
        """Read the leader, the version and the time of day."""
        try:
            response = await self._request("GET", "/v1/status/leader")
            skew = measure_skew(response.header("Date"), time.time())
            leader = parse_leader(response)
            version, problem = parse_version(await self._request("GET", "/v1/agent/self"))
            datacenters = parse_datacenters(await self._request("GET", "/v1/catalog/datacenters"))
        except BackendUnavailableError as error:
            return ConsulFacts(self.url, problem=str(error).removeprefix(f"{self.url} "))
        except ValueError as error:
            return ConsulFacts(self.url, problem=str(error))
        return ConsulFacts(self.url, "", leader, version, problem, skew, datacenters)

    async def read_rights(self, rights: Sequence[Right]) -> Authorization:
        """
        Read which rights the token has. Consul answers without a change, also if the token has them.

        :param rights: At most 64.
        """
        body = json.dumps([right.document() for right in rights]).encode()
        try:
            response = await self._request("POST", f"/v1/internal/acl/authorize{self._datacenter}", body)
            document = json.loads(response.body) if response.status == 200 else None
        except BackendUnavailableError as error:
            return Authorization(0, str(error))
        except ValueError:
            document = None
        return parse_authorization(response.status, response.reason, rights, document)

    async def read_own_service(self, service_id: str) -> dict[str, str] | None:
        """Return the Meta of the service that represents a daemon, or None if there is none or it is not visible."""
        try:
            response = await self._request("GET", f"/v1/agent/service/{service_id}")
            meta = json.loads(response.body)["Meta"] if response.status == 200 else None
        except (BackendUnavailableError, ValueError, KeyError, TypeError):
            return None
        return {str(key): str(value) for key, value in meta.items()} if isinstance(meta, dict) else None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _request(self, method: str, path: str, body: bytes | None = None) -> Response:
        headers = Headers({"Content-Type": ["application/json"]})
        if self._token:
            headers.addRawHeader("X-Consul-Token", self._token)
        return await self._client.request(method, path, headers=headers, body=body, timeout=_TIMEOUT, limit=_MAX_BODY)


def connect(reactor: Any, config: ConsulConfig) -> ConsulClient:
    """
    Make the client that a configuration describes.

    :param reactor: For connections and time.
    :raise ConfigError: If a file that the configuration names cannot be used.
    """
    return ConsulClient(make_client(reactor, config), load_token(config).value, config.datacenter)


async def resolve(reactor: Any, host: str) -> tuple[tuple[str, ...], str]:
    """Return the addresses of a host, and the reason if it does not resolve."""
    resolving = deferToThread(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM)
    try:
        found = await resolving.addTimeout(_TIMEOUT, reactor)
    except DeferredTimeoutError:
        return (), f"no answer within {_TIMEOUT:g} s"
    except OSError as error:
        return (), error.strerror or str(error)
    return tuple(dict.fromkeys(str(each[4][0]) for each in found)), ""


def measure_skew(date: str, now: float) -> float | None:
    """
    Return the seconds by which a clock is ahead of a server's, or None if the server does not send its time.

    :param date: Value of the header Date.
    :param now: Time of the clock in seconds since the epoch.
    """
    try:
        # The date is in whole seconds, and half a second too early on average.
        return now - parsedate_to_datetime(date).timestamp() - 0.5
    except (TypeError, ValueError):
        return None


def parse_leader(response: Response) -> str:
    """
    Return the address of the leader; empty if there is none.

    :raise ValueError: If the response is not that of Consul.
    """
    try:
        leader = json.loads(response.body)
    except ValueError:
        leader = None
    if response.status == 500:
        return ""
    if response.status != 200 or not isinstance(leader, str):
        raise ValueError(f"the server is not Consul: it answers /v1/status/leader with {response.status}")
    return leader


def parse_version(response: Response) -> tuple[str, str]:
    """Return Consul's version, and the reason if it is not visible."""
    if response.status == 403:
        return "", "not visible: the token has no right agent:read, which the daemon does not need"
    try:
        return str(json.loads(response.body)["Config"]["Version"]), ""
    except (ValueError, KeyError, TypeError):
        return "", f"not visible: {response.status} {response.reason[:80]}"


def parse_datacenters(response: Response) -> tuple[str, ...]:
    """Return the names of the datacenters; empty if they are not visible."""
    try:
        names = json.loads(response.body) if response.status == 200 else []
    except ValueError:
        return ()
    return tuple(map(str, names)) if isinstance(names, list) else ()
