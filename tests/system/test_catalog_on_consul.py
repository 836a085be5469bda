"""Tests for the backend of Consul's catalog with a real Consul server."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from ssdpreg.backends.consul_connection import connect
from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.config import ConsulConfig
from tests.support.consul import ConsulProcess, shared_consul, skip_without_consul
from tests.support.consul_catalog_tests import CatalogTestsMixin


def request_json(consul: ConsulProcess, method: str, path: str, body: Any = None) -> Any:
    """Send a request, and return the JSON of its response. Any status but 200 is an error."""
    status, content = consul.request(method, path, body)
    if status != 200:
        raise RuntimeError(f"{method} {path}: {status} {content!r}")
    return json.loads(content)


def remove_other_nodes(consul: ConsulProcess) -> None:
    """Remove all nodes but that of the agent."""
    for node in consul.get("/v1/catalog/nodes"):
        if node["Node"] != "consul-for-tests":
            consul.put("/v1/catalog/deregister", {"Node": node["Node"]})


class RealCatalogTests(CatalogTestsMixin, TestCase):
    """Contract tests with a real server."""

    skip = skip_without_consul

    def setUp(self) -> None:
        self.consul = shared_consul()
        self.fences = {}
        self.addCleanup(remove_other_nodes, self.consul)

    def request(self, method: str, path: str, body: Any = None) -> Any:
        return request_json(self.consul, method, path, body)

    def make_http(self) -> tuple[Any, ConsulHTTP]:
        http = connect(reactor, ConsulConfig(address=self.consul.address))
        self.addCleanup(lambda: Deferred.fromCoroutine(_close(http)))
        return reactor, http


async def _close(http: ConsulHTTP) -> None:
    await http.close()
