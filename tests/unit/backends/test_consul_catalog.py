"""Tests for :mod:`ssdpreg.backends.consul_catalog` with a server in memory."""

from __future__ import annotations

import json
from typing import Any

from treq.testing import StubTreq
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.backends.http_client import BoundedHTTPClient
from ssdpreg.testing import FakeConsulCatalog
from tests.support.consul_catalog_tests import CatalogTestsMixin


def request_catalog(case: SynchronousTestCase, server: FakeConsulCatalog, method: str, path: str, body: Any) -> Any:
    """Send a request to the server in memory, and return the JSON of its response."""
    client: Any = StubTreq(server)
    data = None if body is None else json.dumps(body).encode()
    response = case.successResultOf(client.request(method, f"http://consul.test:8500{path}", data=data))
    content = case.successResultOf(client.content(response))
    case.assertEqual(response.code, 200, content)
    return json.loads(content)


class FakeCatalogTests(CatalogTestsMixin, TestCase):
    """Contract tests with a server in memory."""

    def setUp(self) -> None:
        self.server = FakeConsulCatalog()
        self.clock = Clock()
        self.fences = {}

    def request(self, method: str, path: str, body: Any = None) -> Any:
        return request_catalog(self, self.server, method, path, body)

    def make_http(self) -> tuple[Any, ConsulHTTP]:
        treq: Any = StubTreq(self.server)
        return self.clock, ConsulHTTP(self.clock, BoundedHTTPClient(self.clock, "http://consul.test:8500", treq))
