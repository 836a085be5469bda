"""Tests for :mod:`ssdpreg.cli.doctor.consul`, :mod:`~.consul_requests`, :mod:`~.rights` and :mod:`~.certificates`."""

from __future__ import annotations

import json
import time
from collections.abc import Coroutine
from email.utils import formatdate
from typing import Any, TypeVar, cast

import attrs
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource

from ssdpreg.backends.http_client import BoundedHTTPClient, Response
from ssdpreg.cli.doctor.certificates import TLSFacts, check_certificate, parse_time, split_address
from ssdpreg.cli.doctor.consul import ConsulFacts, check_consul, check_datacenter, check_name
from ssdpreg.cli.doctor.consul_requests import ConsulClient, measure_skew, parse_leader, parse_version
from ssdpreg.cli.doctor.rights import Authorization, Right, check_rights, needed_rights, parse_authorization
from ssdpreg.config import Config, ConsulConfig, SSDPConfig
from tests.unit.cli.doctor.case import CheckTestCase

T = TypeVar("T")

URL = "http://127.0.0.1:8500"
API, WILD = "urn:schemas-upnp-org:service:api:2.0", "urn:dmtf-org:service:*"
CONFIG = Config(ssdp=SSDPConfig(tags={"RackHD": (API,), "BMC": (WILD,)}), backend=ConsulConfig())
RIGHTS = [Right("service", "a", "rule a"), Right("key", "b", "rule b")]


def response(status: int, body: bytes) -> Response:
    """Return a response of Consul."""
    return Response(status, Headers(), body)


class ConsulTests(CheckTestCase):
    """Tests for :func:`check_consul` and :func:`check_name`."""

    def test_right(self) -> None:
        """A Consul with a leader and a recent version is right."""
        findings = check_consul(ConsulFacts(URL, "", "10.0.0.1:8300", "1.8.7"), "127.0.0.1:8500")
        self.assert_results(findings, (URL, "ok"), ("", "ok"), ("", "ok"))

    def test_unreachable(self) -> None:
        """A Consul that does not respond is a fault, and nothing else is reported."""
        findings = check_consul(ConsulFacts(URL, "does not answer"), "127.0.0.1:8500")
        self.assert_one(findings, "fault", "does not answer", "backend.address, which is 127.0.0.1:8500")

    def test_leader_and_version(self) -> None:
        """A missing leader is a fault, an old version is a warning, and an invisible version is skipped."""
        for version, result in (("1.7.9", "warning"), ("1.21.0+ent", "ok"), ("", "skipped")):
            _, leader, found = check_consul(ConsulFacts(URL, "", "", version, "not visible"), "x")
            self.assertEqual((leader.result, found.result), ("fault", result))

    def test_unix_socket(self) -> None:
        """The subject of a finding about a UNIX socket is its path, and not the URL of the requests."""
        findings = check_consul(ConsulFacts("http://localhost", "does not answer"), "unix:///run/consul.sock")
        self.assertEqual(findings[0].subject, "unix:///run/consul.sock")

    def test_datacenter(self) -> None:
        """A datacenter that Consul does not know is a fault. Without its list, nothing is reported."""
        facts = ConsulFacts(URL, datacenters=("dc1", "dc2"))
        self.assert_one(check_datacenter(facts, "dc2"), "ok")
        self.assert_one(check_datacenter(facts, "dc9"), "fault", "Known are: dc1, dc2")
        self.assertEqual((check_datacenter(facts, None), check_datacenter(ConsulFacts(URL), "dc9")), ([], []))

    def test_name(self) -> None:
        """A name must resolve."""
        self.assert_one(check_name("consul", ("10.0.0.1", "::1"), ""), "ok", "10.0.0.1, ::1")
        self.assert_one(check_name("consul", (), "unknown"), "fault", "unknown", "getent hosts consul")


class ResponsesTests(CheckTestCase):
    """Tests for the parsers of Consul's responses."""

    def test_skew(self) -> None:
        """The skew is the difference from the Date, which is half a second old on average."""
        self.assertEqual(measure_skew("Thu, 01 Jan 1970 00:01:00 GMT", 70.5), 10.0)
        self.assertIsNone(measure_skew("", 70.0))
        self.assertIsNone(measure_skew("yesterday", 70.0))

    def test_leader(self) -> None:
        """The leader may be missing, and another server is not Consul."""
        self.assertEqual(parse_leader(response(200, b'"10.0.0.1:8300"\n')), "10.0.0.1:8300")
        self.assertEqual(parse_leader(response(200, b'""')), "")
        self.assertEqual(parse_leader(response(500, b"No cluster leader")), "")
        for status, body in ((404, b"not found"), (200, b"<html>"), (200, b"{}")):
            self.assertRaises(ValueError, parse_leader, response(status, body))

    def test_version(self) -> None:
        """The version is visible with agent:read only."""
        self.assertEqual(parse_version(response(200, b'{"Config": {"Version": "1.8.7"}}')), ("1.8.7", ""))
        for status, body, word in ((403, b"denied", "agent:read"), (500, b"broken", "500 broken"), (200, b"[]", "200")):
            version, problem = parse_version(response(status, body))
            self.assertEqual(version, "")
            self.assertIn(word, problem)


class RightsTests(CheckTestCase):
    """Tests for :mod:`ssdpreg.cli.doctor.rights`."""

    def test_agent_mode(self) -> None:
        """The daemon's own service and the services of all search terms are written."""
        rights = needed_rights(CONFIG, "rack")
        self.assertEqual(
            [(right.resource, right.segment) for right in rights],
            [("service", "ssdpreg"), ("service", "RackHD-service:api:2.0"), ("service", "BMC-service:")],
        )
        self.assertEqual(
            rights[1].document(), {"Resource": "service", "Segment": "RackHD-service:api:2.0", "Access": "write"}
        )

    def test_catalog_mode(self) -> None:
        """Nodes, the lock and its session are written, too."""
        config = attrs.evolve(CONFIG, backend=ConsulConfig(mode="catalog"))
        resources = [right.resource for right in needed_rights(config, "rack")]
        self.assertEqual(resources, ["service", "service", "node", "key", "session"])
        self.assertIn("ssdpreg/scopes/rack", [right.segment for right in needed_rights(config, "rack")])

    def test_names(self) -> None:
        """The names are those that the daemon registers, and there are at most 64, which is Consul's limit."""
        ssdp = attrs.evolve(CONFIG.ssdp, names="dns")
        config = attrs.evolve(CONFIG, ssdp=ssdp)
        self.assertEqual(needed_rights(config, "rack")[1].segment, "rackhd-service-api-2-0")
        tags = {"t": tuple(f"urn:a:service:s{number}:1" for number in range(100))}
        self.assertEqual(len(needed_rights(attrs.evolve(CONFIG, ssdp=SSDPConfig(tags=tags)), "rack")), 64)

    def test_parse(self) -> None:
        """Consul's answer has one entry for each right, in any order."""
        answer = [
            {"Resource": "key", "Segment": "b", "Access": "write", "Allow": False},
            {"Resource": "service", "Segment": "a", "Access": "write", "Allow": True},
        ]
        self.assertEqual(parse_authorization(200, "", RIGHTS, answer).allowed, (True, False))
        malformed: object
        for malformed in (None, {}, [], answer[:1], ["x"]):
            self.assertEqual(parse_authorization(200, "", RIGHTS, malformed).allowed, ())
        self.assertEqual(parse_authorization(403, "no", RIGHTS, None), Authorization(403, "no"))

    def test_check(self) -> None:
        """A missing right is a fault with the rule that grants it. A Consul that does not tell is none."""
        for answer, token, result, words in (
            (Authorization(200, "", (True, True)), True, "ok", "all 2 rights"),
            (
                Authorization(200, "", (True, False)),
                True,
                "fault",
                "lacks key:write on b. Add to a policy of the token: rule b",
            ),
            (Authorization(200, "", (False, False)), False, "fault", "Set backend.token_file. Add to a policy"),
            (Authorization(401, "ACL support disabled"), False, "ok", "not enabled"),
            (Authorization(403, "ACL not found"), True, "fault", "does not know the token: ACL not found"),
            (Authorization(404, ""), True, "skipped", "does not tell the rights of a token: 404"),
            (Authorization(0, "timeout"), True, "skipped", "timeout"),
        ):
            self.assert_one(check_rights(RIGHTS, answer, token), result, words)

    def test_many(self) -> None:
        """At most four rights are listed."""
        rights = [Right("service", str(number), "rule") for number in range(5)]
        for count, words in ((4, "service:write on 3"), (5, "service:write on 3 and 1 more")):
            (finding,) = check_rights(rights[:count], Authorization(200, "", (True,) * count), True)
            self.assertTrue(finding.finding.endswith(words), finding)


class ConsulClientTests(CheckTestCase):
    """Tests for :class:`ConsulClient` against a server in memory."""

    def setUp(self) -> None:
        self.requests: list[tuple[str, str, str | None]] = []
        self.responses: dict[str, tuple[int, bytes]] = {}

    def client(self, token: str | None = "secret", datacenter: str | None = None) -> ConsulClient:
        """Make a client of a server that sends the responses of this test."""
        test = self

        class Server(Resource):
            isLeaf = True

            def render(self, request: Any) -> bytes:
                path = request.path.decode()
                test.requests.append(
                    (request.method.decode(), request.uri.decode(), request.getHeader("X-Consul-Token"))
                )
                status, body = test.responses.get(path, (404, b""))
                request.setResponseCode(status)
                request.setHeader("Date", formatdate(time.time() - 100, usegmt=True))
                return body

        return ConsulClient(BoundedHTTPClient(Clock(), URL, cast("Any", StubTreq(Server()))), token, datacenter)

    def run_now(self, coroutine: Coroutine[Deferred[Any], Any, T]) -> T:
        """Return the result of a coroutine that does not wait."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def test_facts(self) -> None:
        """The leader, the version and the skew are read, with the token."""
        self.responses = {
            "/v1/status/leader": (200, b'"10.0.0.1:8300"'),
            "/v1/agent/self": (200, b'{"Config": {"Version": "1.8.7"}}'),
            "/v1/catalog/datacenters": (200, b'["dc1"]'),
        }
        facts = self.run_now(self.client().read_facts())
        self.assertEqual((facts.problem, facts.leader, facts.version), ("", "10.0.0.1:8300", "1.8.7"))
        self.assertEqual(facts.datacenters, ("dc1",))
        self.responses["/v1/catalog/datacenters"] = (200, b"<")
        self.assertEqual(self.run_now(self.client().read_facts()).datacenters, ())
        self.assertLess(abs((facts.skew or 0.0) - 100.0), 5.0)
        self.assertEqual({each[2] for each in self.requests}, {"secret"})
        self.assertTrue(self.client().has_token)
        self.assertFalse(self.client(None).has_token)

    def test_other_server(self) -> None:
        """Another server is not Consul."""
        self.assertIn("not Consul", self.run_now(self.client(None).read_facts()).problem)
        self.assertEqual(self.requests, [("GET", "/v1/status/leader", None)])

    def test_rights(self) -> None:
        """The rights are read in the configured datacenter. An error has its status."""
        path = "/v1/internal/acl/authorize"
        answer = [{**right.document(), "Allow": True} for right in RIGHTS]
        self.responses = {path: (200, json.dumps(answer).encode())}
        found = self.run_now(self.client(datacenter="dc2").read_rights(RIGHTS))
        self.assertEqual(found, Authorization(200, "", (True, True)))
        self.assertEqual(self.requests, [("POST", f"{path}?dc=dc2", "secret")])
        for status, body, reason in (
            (403, b"ACL not found", "ACL not found"),
            (200, b"<", "the response is malformed"),
        ):
            self.responses = {path: (status, body)}
            self.assertEqual(self.run_now(self.client().read_rights(RIGHTS)), Authorization(status, reason))
        self.assertEqual(self.requests[-1][1], path)

    def test_own_service(self) -> None:
        """The Meta of a service is read, and missing or malformed responses have none."""
        path = "/v1/agent/service/ssdpreg"
        for status, body, meta in (
            (200, b'{"Meta": {"a": "b"}}', {"a": "b"}),
            (200, b'{"Meta": null}', None),
            (200, b"{}", None),
            (200, b"<", None),
            (404, b'{"Meta": {"a": "b"}}', None),
        ):
            self.responses = {path: (status, body)}
            self.assertEqual(self.run_now(self.client().read_own_service("ssdpreg")), meta)


class CertificateTests(CheckTestCase):
    """Tests for :func:`check_certificate`."""

    def check(self, facts: TLSFacts, result: str, *words: str, verify: bool = True, ca: str | None = None) -> None:
        """Check a certificate at the time 1000000."""
        self.assert_one(check_certificate(facts, 1_000_000.0, verify, ca), result, *words)

    def test_right(self) -> None:
        """A valid certificate is right. One that ends within a day is a warning."""
        self.check(TLSFacts("c", ends_at=1_000_000.0 + 30 * 86400), "ok", "expires in 30 days")
        self.check(TLSFacts("c"), "ok", "valid")
        self.check(TLSFacts("c", ends_at=1_000_000.0 + 86400), "ok", "expires in 1 days")
        self.check(TLSFacts("c", ends_at=1_000_000.0 + 7200), "warning", "expires in 2 h")

    def test_not_verified(self) -> None:
        """A daemon that does not verify the certificate is a warning."""
        self.check(TLSFacts("c", 18, "self-signed"), "warning", "CONSUL_HTTP_SSL_VERIFY", verify=False)

    def test_name(self) -> None:
        """A wrong name is a fault with the right names."""
        self.check(TLSFacts("c", 62, "mismatch", names=("a", "b")), "fault", "valid for a, b, not for c")
        self.check(TLSFacts("c", 64, "mismatch"), "fault", "no name")

    def test_time(self) -> None:
        """A certificate that has expired or is not valid yet is a fault."""
        self.check(TLSFacts("c", 10, "x", starts_at=0.0, ends_at=913_600.0), "fault", "expired 1.0 days ago")
        later = TLSFacts("c", 9, "x", starts_at=1_172_800.0, ends_at=2_000_000.0)
        self.check(later, "fault", "valid in 2.0 days", "clock")

    def test_authority(self) -> None:
        """An unknown authority is a fault with the file of the trusted ones."""
        self.check(TLSFacts("c", 20, "unable to get"), "fault", "the authorities of this system", "backend.ca_file")
        self.check(TLSFacts("c", 20, "unable to get"), "fault", "the certificates in /ca.pem", ca="/ca.pem")

    def test_handshake(self) -> None:
        """A failed handshake is a fault."""
        self.check(TLSFacts("c", problem="WRONG_VERSION_NUMBER"), "fault", "WRONG_VERSION_NUMBER", "HTTPS")

    def test_parse_time(self) -> None:
        """A time in a certificate is in UTC."""
        self.assertEqual(parse_time(b"19700102000001Z"), 86401.0)
        self.assertRaises(ValueError, parse_time, None)

    def test_address(self) -> None:
        """An address is split into host and port."""
        self.assertEqual(split_address("consul:8501"), ("consul", 8501))
        self.assertEqual(split_address("[::1]:8501"), ("::1", 8501))
