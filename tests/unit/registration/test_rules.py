"""Tests for :mod:`ssdpreg.registration.rules`."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.config import CheckConfig
from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.location import Endpoint
from ssdpreg.discovery.search_terms import SearchTerm
from ssdpreg.registration import Check, RegistrationRules

API = "urn:schemas-upnp-org:service:api:2.0"
ADVERTISEMENT = Advertisement.make(
    device_id="228617159241066160",
    urn=API,
    term=SearchTerm(API, "RackHD"),
    nt=API,
    usn=f"uuid:228617159241066160::{API}",
    location="http://192.168.1.1:65535/fakepath",
    endpoint=Endpoint("http", "192.168.1.1", 65535),
    max_age=30,
    server="Linux/6 UPnP/1.0 RackHD/2",
)
RULES = RegistrationRules(scope="rack-7")


class RegistrationRulesTests(SynchronousTestCase):
    """Tests for :class:`RegistrationRules`."""

    def test_length_of_an_id(self) -> None:
        """The readable part of an ID has 32 characters at most."""
        self.assertRegex(RULES.service_id("D", "urn:a:" + "x" * 100), r"\Assdpreg-x{32}-[0-9a-f]{16}\Z")

    def test_example_of_the_original(self) -> None:
        """The service in the example of the original program has the same name, address and port, and a unique ID."""
        registration = RULES.registration(ADVERTISEMENT)
        self.assertEqual(registration.name, "RackHD-service:api:2.0")
        self.assertEqual((registration.address, registration.port), ("192.168.1.1", 65535))
        self.assertEqual(registration.tags, ())
        self.assertRegex(registration.service_id, r"\Assdpreg-service-api-2-0-[0-9a-f]{16}\Z")
        self.assertEqual(
            registration.meta,
            {
                "external-source": "ssdpreg",
                "ssdpreg-scope": "rack-7",
                "ssdp-device": "228617159241066160",
                "ssdp-usn": f"uuid:228617159241066160::{API}",
                "ssdp-nt": API,
                "ssdp-location": "http://192.168.1.1:65535/fakepath",
                "ssdp-server": "Linux/6 UPnP/1.0 RackHD/2",
                "ssdp-max-age": "30",
            },
        )
        self.assertEqual(registration.checks, {Check(f"{registration.service_id}-alive")})

    def test_names(self) -> None:
        """Names are those of the original program, or DNS labels if the operator configured them."""
        rules = replace(RULES, dns_names=True)
        self.assertEqual(rules.registration(ADVERTISEMENT).name, "rackhd-service-api-2-0")
        malformed = replace(ADVERTISEMENT, urn="urn:MalformedData", term=SearchTerm("urn:MalformedData", "Inservice"))
        self.assertEqual(RULES.registration(malformed).name, "Inservice-urn:MalformedData")

    def test_names_for_patterns(self) -> None:
        """The name of a service that a pattern matches is derived from the announced type."""
        found = replace(ADVERTISEMENT, term=SearchTerm("urn:schemas-upnp-org:*", "Any"))
        self.assertEqual(RULES.registration(found).name, "Any-service:api:2.0")

    def test_id_depends_on_device_and_type_alone(self) -> None:
        """The service ID depends neither on address, version and software nor on the case of the device ID."""
        service_id = RULES.registration(ADVERTISEMENT).service_id
        for same in (
            replace(ADVERTISEMENT, location_text="/", host="10.0.0.1", port=80),
            replace(ADVERTISEMENT, nt="urn:other", usn_text="uuid:other", server="", max_age=4),
            replace(ADVERTISEMENT, term=SearchTerm(API, "Other")),
        ):
            self.assertEqual(RULES.registration(same).service_id, service_id)
        self.assertEqual(RULES.service_id("abc", API), RULES.service_id("ABC", API))
        others = {
            RULES.service_id("228617159241066161", API),
            RULES.service_id("228617159241066160", API + "1"),
            replace(RULES, scope="rack-8").service_id("228617159241066160", API),
        }
        self.assertEqual(len(others | {service_id}), 4)

    def test_readable_part_of_an_id(self) -> None:
        """An ID contains the end of the URN after its second colon: 32 characters, no hyphens at its ends."""
        for urn, part in (
            (API, "service-api-2-0"),
            ("urn:x:Y:z:0", "y-z-0"),
            ("urn:x:" + "y" * 33, "y" * 32),
            ("urn:x:" + "y" * 31 + ":z", "y" * 31),
            ("upnp:rootdevice", "rootdevice"),
        ):
            self.assertRegex(RULES.service_id("D", urn), rf"\Assdpreg-{part}-[0-9a-f]{{16}}\Z")

    def test_characters_of_an_id(self) -> None:
        """A service ID consists of letters, digits and hyphens, and has a limited length, for any device ID and URN."""
        for device_id, urn in (("../..", "urn:a:b:../../leave"), ("a\x00/\n", "urn:" + "Ä/" * 99), ("", "")):
            self.assertRegex(RULES.service_id(device_id, urn), r"\Assdpreg-[a-z0-9-]{0,32}-[0-9a-f]{16}\Z")

    def test_meta_is_sanitized(self) -> None:
        """The Meta has no control characters, and its values are truncated to the 512 bytes that Consul accepts."""
        server = "x\x00\r\ny\u202ez" + "é" * 300
        value = RULES.registration(replace(ADVERTISEMENT, server=server)).meta["ssdp-server"]
        self.assertEqual(value, "xyz" + "é" * 254)

    def test_checks(self) -> None:
        """A check combines the rule of the term with the endpoint. Its ID changes with its attributes."""
        http = replace(RULES, checks={API: CheckConfig(http="/api/2.0/nodes", interval=15, deregister_after=300)})
        registration = http.registration(ADVERTISEMENT)
        (check,) = (check for check in registration.checks if check.kind == "http")
        self.assertRegex(check.check_id, rf"\A{registration.service_id}-http-[0-9a-f]{{8}}\Z")
        self.assertEqual(
            (check.target, check.interval, check.timeout, check.tls_skip_verify, check.deregister_after),
            ("http://192.168.1.1:65535/api/2.0/nodes", 15, None, False, 300),
        )
        moved = http.registration(replace(ADVERTISEMENT, scheme="https", host="2001:db8::5", port=443))
        (moved_check,) = (check for check in moved.checks if check.kind == "http")
        self.assertEqual(moved_check.target, "https://[2001:db8::5]:443/api/2.0/nodes")
        self.assertNotEqual(moved_check, check)
        tcp = replace(RULES, checks={API: CheckConfig(tcp=True, interval=30)}).registration(ADVERTISEMENT)
        self.assertEqual({check.target for check in tcp.checks}, {"", "192.168.1.1:65535"})

    def test_checks_of_patterns(self) -> None:
        """The rule of a pattern applies to each service that the pattern matches."""
        rules = replace(RULES, checks={"urn:*": CheckConfig(tcp=True)})
        self.assertEqual(len(rules.registration(replace(ADVERTISEMENT, term=SearchTerm("urn:*", "Any"))).checks), 2)
        self.assertEqual(len(rules.registration(ADVERTISEMENT).checks), 1)
