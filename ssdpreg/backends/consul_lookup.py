"""Request for one service of a Consul agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from ssdpreg.backends.consul_format import check_service
from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.errors import BackendForgotError, BackendUnavailableError


async def find_service(http: ConsulHTTP, service_id: str) -> Mapping[str, Any] | None:
    """
    Return a service of the agent, or None if there is none.

    :raise BackendUnavailableError: If the agent is not available, or its response is malformed.
    :raise BackendRefusedError: If the token may not read the service.
    """
    path = f"/v1/agent/service/{quote(service_id, safe='')}"
    try:
        return check_service(await http.get("find", path))
    except BackendForgotError:
        return None
    except ValueError as error:
        raise BackendUnavailableError(f"{http.url}{path}: the response is malformed: {error}") from error
