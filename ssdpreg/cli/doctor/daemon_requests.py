"""Collection of facts about the running daemon by requests to its web server."""

from __future__ import annotations

from typing import Any

from treq.client import HTTPClient
from twisted.web.client import Agent, HTTPConnectionPool

from ssdpreg.backends.http_client import BoundedHTTPClient
from ssdpreg.cli.doctor.daemon import DaemonFacts, parse_endpoint, parse_metrics, parse_reasons
from ssdpreg.errors import BackendUnavailableError

#: Seconds of the longest wait for a response.
_TIMEOUT = 5.0
#: Bytes of the longest response.
_MAX_BODY = 1024 * 1024


async def read_daemon(reactor: Any, endpoint: str | None) -> DaemonFacts:
    """
    Read the state of the daemon.

    :param reactor: For connections and time.
    :param endpoint: The value of ``web.endpoint``.
    """
    url = parse_endpoint(endpoint)
    if not url:
        return DaemonFacts("")
    pool = HTTPConnectionPool(reactor)
    client = BoundedHTTPClient(reactor, url, HTTPClient(Agent(reactor, pool=pool)), pool)
    try:
        ready = await client.request("GET", "/readyz", timeout=_TIMEOUT)
        if ready.status not in (200, 503):
            return DaemonFacts(url, f"is another program: it answers /readyz with {ready.status}", is_other=True)
        metrics = await client.request("GET", "/metrics", timeout=_TIMEOUT, limit=_MAX_BODY)
    except BackendUnavailableError as error:
        problem = str(error).removeprefix(f"{url} ")
        return DaemonFacts(url, problem, hangs=problem.startswith("does not answer within"))
    finally:
        await client.close()
    reasons = () if ready.status == 200 else parse_reasons(ready.body.decode(errors="replace"))
    return DaemonFacts(url, "", reasons, parse_metrics(metrics.body.decode(errors="replace")))
