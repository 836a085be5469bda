"""Contract tests of the backends that need no other process."""

from __future__ import annotations

from typing import Any, cast

from treq.testing import StubTreq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from ssdpreg.backends import sqlite
from ssdpreg.backends.consul_agent import ConsulAgent
from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.backends.embedded import EmbeddedBackend, SharedEmbeddedBackend
from ssdpreg.backends.http_client import BoundedHTTPClient
from ssdpreg.interfaces import IRegistryBackend
from ssdpreg.testing import BackendTestsMixin, FakeConsulAgent
from tests.support.consul_agent_tests import ConsulAgentTestsMixin, request_fake


class EmbeddedBackendTests(BackendTestsMixin, TestCase):
    """Contract tests for :class:`ssdpreg.backends.embedded.EmbeddedBackend`."""

    def make_backend(self, scope: str = "test") -> IRegistryBackend:
        return EmbeddedBackend()


class SharedEmbeddedBackendTests(BackendTestsMixin, TestCase):
    """Contract tests for :class:`ssdpreg.backends.embedded.SharedEmbeddedBackend`."""

    def make_backend(self, scope: str = "test") -> IRegistryBackend:
        return SharedEmbeddedBackend()


class SQLiteBackendTests(BackendTestsMixin, TestCase):
    """Contract tests for :class:`ssdpreg.backends.sqlite.SQLiteBackend`, with one file for each backend."""

    def make_backend(self, scope: str = "test") -> IRegistryBackend:
        backend = sqlite.make_backend(reactor, self.mktemp(), scope)
        self.addCleanup(lambda: Deferred.fromCoroutine(backend.close()))
        return backend


class FakeConsulAgentTests(ConsulAgentTestsMixin, TestCase):
    """Contract tests for :class:`ssdpreg.backends.consul_agent.ConsulAgent` with an agent in memory."""

    def setUp(self) -> None:
        self.agent = FakeConsulAgent()

    def make_backend(self, scope: str = "test") -> IRegistryBackend:
        clock = Clock()
        client = BoundedHTTPClient(clock, "http://consul.test:8500", cast("Any", StubTreq(self.agent)))
        return ConsulAgent(ConsulHTTP(clock, client), scope)

    def register_foreign(self, body: dict[str, Any]) -> None:
        request_fake(self, self.agent, "PUT", "/v1/agent/service/register", body)

    def services(self) -> dict[str, dict[str, Any]]:
        return dict(self.agent.services)

    async def restart_without_data(self) -> None:
        self.agent.clear()
