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

from ssdpreg.cli.reader import Reader, Service
from ssdpreg.errors import BackendRefusedError, BackendUnavailableError
from tests.support.memory_daemon import API, LLDP, Daemon

URL = "http://127.0.0.1:8580"
META = {"external-source": "ssdpreg", "ssdp-device": "D", "ssdp-location": "http://10.0.0.5:8080/"}


def entry(name: str = "api", checks: Mapping[str, str] | None = None, **service: Any) -> dict[str, Any]:
    """Describe a service as Consul does."""
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
    """Make a reader of what is in memory."""
    client: Any = StubTreq(resource)
    return Reader(Clock(), f"{URL}/", client, token="s3cret")


class ReaderTestCase(SynchronousTestCase):
    """Reads what answers in memory."""

    def read(self, resource: IResource, name: str | None = None) -> list[Service]:
        """Read the services."""
        services: list[Service] = self.successResultOf(Deferred.fromCoroutine(make_reader(resource).services(name)))
        return services


class DaemonTests(ReaderTestCase):
    """With the daemon's own resources."""

    def test_services(self) -> None:
        """What is live is read, in order, with all that is to be shown."""
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

    def test_hostile_name(self) -> None:
        """A name may hold what means something in a URL."""
        daemon = Daemon(Clock())
        daemon.registry.set_search_terms({API: "a/b?c=%41 #ü"})
        daemon.receive_alive("D")
        self.assertEqual([service.name for service in self.read(daemon.root)], ["a/b?c=%41 #ü-service:api:2.0"])

    def test_ready(self) -> None:
        """A daemon that has not yet heard what there is is not ready; Consul, which has no such path, is."""
        for root, expected in ((Daemon(Clock()).root, False), (Resource(), True)):
            ready = self.successResultOf(Deferred.fromCoroutine(make_reader(root).ready()))
            self.assertIs(ready, expected)


class ConsulTests(ReaderTestCase):
    """With answers that Consul might give."""

    def consul(self, *entries: dict[str, Any]) -> IResource:
        """Answer with services, and check the requests."""

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
        """What others registered is not shown, and the daemon itself is no service of a device."""
        other = entry("other", Meta={**META, "external-source": "nomad"})
        itself = entry("ssdpreg", Meta={"external-source": "ssdpreg"})
        services = self.read(self.consul(entry(), entry("consul", Meta=None), entry("web", Meta={}), other, itself))
        self.assertEqual([service.name for service in services], ["api"])

    def test_health(self) -> None:
        """The worst check counts, and maintenance is worse than any."""
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
        """A service that has no address of its own is at its node's."""
        (service,) = self.read(self.consul(entry(Address="", Tags=None)))
        self.assertEqual((service.endpoint, service.tags), ("10.0.0.1:8080", ()))


class TroubleTests(ReaderTestCase):
    """With answers that are of no use."""

    def error(self, status: int, content: bytes, headers: Mapping[bytes, bytes] | None = None) -> Exception:
        """Read an answer, and return the error."""
        answers = StringStubbingResource(lambda *_: (status, dict(headers or {}), content))
        failure = self.failureResultOf(Deferred.fromCoroutine(make_reader(answers).services()))
        assert isinstance(failure.value, Exception)
        return failure.value

    def test_refused(self) -> None:
        """An answer of no, or one to another question, ends it."""
        for status, content, words in (
            (403, b"Permission denied", f"403 is what {URL} answers: Permission denied"),
            (404, b"", "404 is what"),
            (301, b"", "301 is what"),
            (200, b"<html>", "not as ssdpreg or Consul would"),
            (200, b"[]", "not as ssdpreg or Consul would"),
            (200, b'{"a": []}', "not as ssdpreg or Consul would"),
        ):
            error = self.error(status, content)
            self.assertIsInstance(error, BackendRefusedError)
            self.assertIn(words, str(error))

    def test_index(self) -> None:
        """An index that is no number is nobody's that we know."""
        self.assertIsInstance(self.error(200, b"{}", {b"X-Consul-Index": b"x"}), BackendRefusedError)

    def test_not_now(self) -> None:
        """An answer of not now may be another one later."""
        error = self.error(500, b"No cluster leader")
        self.assertIsInstance(error, BackendUnavailableError)
        self.assertEqual(str(error), f"{URL} answers 500: No cluster leader")

    def test_no_answer(self) -> None:
        """Nobody is waited for without end."""

        class Silent:
            def get(self, *_: object, **__: object) -> Deferred[None]:
                return Deferred()

        clock = Clock()
        asking = Deferred.fromCoroutine(Reader(clock, URL, Silent()).services())  # type: ignore[arg-type]
        clock.advance(9.9)
        self.assertNoResult(asking)
        clock.advance(0.1)
        self.assertEqual(
            str(self.failureResultOf(asking, BackendUnavailableError).value), f"{URL} does not answer within 10 s"
        )

    def test_one_of_many(self) -> None:
        """One name that is not answered for leaves no list."""

        def answer(method: bytes, url: str, *_: object) -> tuple[int, dict[bytes, bytes], bytes]:
            return (200, {}, b'{"a": [], "b": []}') if url.endswith("/services") else (500, {}, b"rpc error")

        reading = Deferred.fromCoroutine(make_reader(StringStubbingResource(answer)).services())
        failure = self.failureResultOf(reading, BackendUnavailableError)
        self.assertEqual(str(failure.value), f"{URL} answers 500: rpc error")
