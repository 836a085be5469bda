"""Tests for :mod:`ssdpreg.cli.reader`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from treq.testing import StringStubbingResource, StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource, Resource

from ssdpreg.backends.http_client import BoundedHTTPClient
from ssdpreg.backends.http_connection import PreparedURL
from ssdpreg.cli.reader import Reader, Service
from ssdpreg.errors import BackendRefusedError, BackendUnavailableError
from tests.support.memory_daemon import API, LLDP, Daemon

URL = "http://127.0.0.1:8580"
META = {"external-source": "ssdpreg", "ssdp-device": "D", "ssdp-location": "http://10.0.0.5:8080/"}


def entry(name: str = "api", checks: Mapping[str, str] | None = None, **service: Any) -> dict[str, Any]:
    """Make an entry of Consul's health API."""
    return {
        "Node": {"Node": "n1", "Address": "10.0.0.1"},
        "Service": {
            "ID": f"ssdpreg-{name}",
            "Service": name,
            "Address": "10.0.0.5",
            "Port": 8080,
            "Tags": [],
            "Meta": META,
            **service,
        },
        "Checks": [{"CheckID": key, "Status": status} for key, status in (checks or {}).items()],
    }


def make_reader(resource: IResource) -> Reader:
    """Make a reader of a web resource in memory."""
    client: Any = StubTreq(resource)
    return Reader(BoundedHTTPClient(Clock(), URL, client), token="s3cret")


class ReaderTestCase(SynchronousTestCase):
    """Base of tests that read from a web resource in memory."""

    def read(self, resource: IResource, name: str | None = None) -> list[Service]:
        """Return the services that a reader finds."""
        services: list[Service] = self.successResultOf(Deferred.fromCoroutine(make_reader(resource).services(name)))
        return services


class DaemonTests(ReaderTestCase):
    """Tests for :class:`Reader` with the daemon's web resources."""

    def test_competing_claims(self) -> None:
        """A service has the claims of other LOCATIONs, and no member for them if there are none."""
        clock = Clock()
        daemon = Daemon(clock)
        daemon.receive_alive("dev-1")
        (service,) = self.read(daemon.root)
        self.assertNotIn("competing_claims", service.document())
        daemon.receive_alive("dev-1", location="http://10.0.0.9:99/", sender="10.0.0.9")
        clock.advance(3)
        (service,) = self.read(daemon.root)
        self.assertEqual(
            service.document()["competing_claims"],
            [
                {
                    "location": "http://10.0.0.9:99/",
                    "sender": "10.0.0.9",
                    "standing": "direct",
                    "answers": False,
                    "age_seconds": 3,
                    "silence_seconds": 3,
                }
            ],
        )

    def test_services(self) -> None:
        """``services`` returns the live services with all attributes, sorted by name and address."""
        clock = Clock()
        daemon = Daemon(clock)
        daemon.receive_alive("second", location="http://10.0.0.6:8080/")
        daemon.receive_alive("first", location="http://10.0.0.5:8080/")
        daemon.receive_alive("first", LLDP, "http://[2001:db8::5]/")
        services = self.read(daemon.root)
        self.assertEqual(
            [(service.name, service.device, service.endpoint, service.health) for service in services],
            [
                ("Inservice-service:lldp:0.1", "first", "[2001:db8::5]:80", "passing"),
                ("RackHD-service:api:2.0", "first", "10.0.0.5:8080", "passing"),
                ("RackHD-service:api:2.0", "second", "10.0.0.6:8080", "passing"),
            ],
        )
        self.assertEqual(
            services[1].document(),
            {
                "id": services[1].key[1],
                "name": "RackHD-service:api:2.0",
                "device": "first",
                "address": "10.0.0.5",
                "port": 8080,
                "tags": ["lab", "Blue"],
                "health": "passing",
                "location": "http://10.0.0.5:8080/",
            },
        )
        self.assertEqual(len(self.read(daemon.root, "RackHD-service:api:2.0")), 2)
        daemon.registry.set_facts(services[1].key[1], {"ssdp-presentation-url": "http://x/", "redfish-uuid": "u"})
        document = self.read(daemon.root)[1].document()
        self.assertEqual((document["presentation_url"], document["redfish_uuid"]), ("http://x/", "u"))

    def test_quoted_name(self) -> None:
        """Characters with a meaning in URLs are quoted in service names."""
        daemon = Daemon(Clock())
        daemon.registry.set_search_terms({API: "a/b?c=%41 #ü"})
        daemon.receive_alive("D")
        self.assertEqual([service.name for service in self.read(daemon.root)], ["a/b?c=%41 #ü-service:api:2.0"])

    def test_ready(self) -> None:
        """``ready`` is false for a daemon that has just started, and true for Consul, which has no ``/readyz``."""
        for root, expected in ((Daemon(Clock()).root, False), (Resource(), True)):
            ready = self.successResultOf(Deferred.fromCoroutine(make_reader(root).ready()))
            self.assertIs(ready, expected)


class ConsulTests(ReaderTestCase):
    """Tests for :class:`Reader` with responses of Consul."""

    def consul(self, *entries: dict[str, Any]) -> IResource:
        """Return a resource that serves entries, and checks method and token of the requests."""

        def answer(
            method: bytes, url: str, params: object, headers: Mapping[bytes, list[bytes]], data: bytes
        ) -> tuple[int, dict[bytes, bytes], bytes]:
            self.assertEqual((method, Headers(dict(headers)).getRawHeaders("X-Consul-Token")), (b"GET", ["s3cret"]))
            if url.endswith("/v1/catalog/services"):
                names: dict[str, list[str]] = {each["Service"]["Service"]: [] for each in entries}
                return 200, {b"X-Consul-Index": b"7"}, json.dumps(names).encode()
            name = url.rpartition("/")[2]
            return 200, {}, json.dumps([each for each in entries if each["Service"]["Service"] == name]).encode()

        return StringStubbingResource(answer)

    def test_foreign(self) -> None:
        """Services of other programs and the daemon's own service are left out."""
        other = entry("other", Meta={**META, "external-source": "nomad"})
        itself = entry("ssdpreg", Meta={"external-source": "ssdpreg"})
        services = self.read(self.consul(entry(), entry("consul", Meta=None), entry("web", Meta={}), other, itself))
        self.assertEqual([service.name for service in services], ["api"])

    def test_health(self) -> None:
        """The worst check decides the health, and maintenance is the worst state."""
        checks = {"a": "passing", "b": "warning"}
        worse = {**checks, "c": "critical"}
        cases: list[tuple[dict[str, str], str]] = [
            ({}, "passing"),
            (checks, "warning"),
            (worse, "critical"),
            ({**worse, "_service_maintenance:x": "critical"}, "maintenance"),
            ({"_node_maintenance": "critical"}, "maintenance"),
        ]
        for given, health in cases:
            (service,) = self.read(self.consul(entry(checks=given)))
            self.assertEqual(service.health, health)

    def test_address_of_node(self) -> None:
        """A service without an address has the address of its node."""
        (service,) = self.read(self.consul(entry(Address="", Tags=None)))
        self.assertEqual((service.endpoint, service.tags), ("10.0.0.1:8080", ()))


class ErrorTests(ReaderTestCase):
    """Tests for :class:`Reader` with responses that it cannot use."""

    def error(self, status: int, content: bytes, headers: Mapping[bytes, bytes] | None = None) -> Exception:
        """Read a response, and return the error."""
        answers = StringStubbingResource(lambda *_: (status, dict(headers or {}), content))
        failure = self.failureResultOf(Deferred.fromCoroutine(make_reader(answers).services()))
        assert isinstance(failure.value, Exception)
        return failure.value

    def test_refused(self) -> None:
        """A 3xx or 4xx status, or content of another format, is a rejection."""
        for status, content, words in (
            (403, b"Permission denied", f"403 is the answer of {URL}: Permission denied"),
            (404, b"", "404 is the answer"),
            (301, b"", "301 is the answer"),
            (200, b"<html>", "its content is not that of ssdpreg or Consul"),
            (200, b"[]", "its content is not that of ssdpreg or Consul"),
            (200, b'{"a": []}', "its content is not that of ssdpreg or Consul"),
        ):
            error = self.error(status, content)
            self.assertIsInstance(error, BackendRefusedError)
            self.assertIn(words, str(error))

    def test_index(self) -> None:
        """An index that is not a number is a rejection: the server is neither ssdpreg nor Consul."""
        self.assertIsInstance(self.error(200, b"{}", {b"X-Consul-Index": b"x"}), BackendRefusedError)

    def test_unavailable(self) -> None:
        """A 5xx status means that the server is unavailable."""
        error = self.error(500, b"No cluster leader")
        self.assertIsInstance(error, BackendUnavailableError)
        self.assertEqual(str(error), f"{URL} answers 500: No cluster leader")

    def test_timeout(self) -> None:
        """After 10 s without a response the server is unavailable."""

        class Silent:
            def request(self, *_: object, **__: object) -> Deferred[None]:
                return Deferred()

        clock = Clock()
        client = BoundedHTTPClient(clock, URL, Silent())  # type: ignore[arg-type]
        reading = Deferred.fromCoroutine(Reader(client).services())
        clock.advance(9.9)
        self.assertNoResult(reading)
        clock.advance(0.1)
        self.assertEqual(
            str(self.failureResultOf(reading, BackendUnavailableError).value), f"{URL} does not answer within 10 s"
        )

    def test_blocking_query(self) -> None:
        """A blocking query times out later, by the time that the server waits for a change."""

        class Silent:
            def request(self, method: str, url: PreparedURL, **_: object) -> Deferred[None]:
                urls.append(url.to_text())
                return Deferred()

        clock = Clock()
        urls: list[str] = []
        client = BoundedHTTPClient(clock, URL, Silent())  # type: ignore[arg-type]
        reading = Deferred.fromCoroutine(Reader(client).names(7, 10))
        self.assertEqual(urls, [f"{URL}/v1/catalog/services?index=7&wait=10s"])
        clock.advance(20.9)
        self.assertNoResult(reading)
        clock.advance(0.1)
        self.failureResultOf(reading, BackendUnavailableError)

    def test_one_of_many(self) -> None:
        """If the request for one name fails, ``services`` fails."""

        def answer(method: bytes, url: str, *_: object) -> tuple[int, dict[bytes, bytes], bytes]:
            return (200, {}, b'{"a": [], "b": []}') if url.endswith("/services") else (500, {}, b"rpc error")

        reading = Deferred.fromCoroutine(make_reader(StringStubbingResource(answer)).services())
        failure = self.failureResultOf(reading, BackendUnavailableError)
        self.assertEqual(str(failure.value), f"{URL} answers 500: rpc error")
