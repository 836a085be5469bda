"""Tests for :mod:`ssdpreg.backends.catalog.format`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.backends.catalog.format import (
    CatalogFormat,
    NodeContent,
    catalog_check_id,
    format_definition,
    has_definition,
    node_name,
    parse_check_id,
    parse_service,
    service_id_of,
)
from ssdpreg.registration import Check
from ssdpreg.testing import make_registration

META = {"external-source": "ssdpreg", "ssdpreg-scope": "test"}


class NodeNameTests(SynchronousTestCase):
    """Tests for :func:`node_name`."""

    def test_literal(self) -> None:
        """A device ID that is a valid name is used in lower case."""
        for device_id in ("228617159241066160", "a.b_c-d", "x" * 64, "...", "device-0"):
            self.assertEqual(node_name(device_id), device_id)
        self.assertEqual(node_name("4D-Ab"), "4d-ab")
        self.assertEqual(node_name("d1", "ssdp-"), "ssdp-d1")

    def test_hashed(self) -> None:
        """A device ID that Consul could not show or remove as a node is replaced by a digest, as are its digests."""
        names = set()
        strange = ["", ".", "..", "a/b", "a b", "é", "x" * 65, "\ud800", "ssdpreg-rack", f"device-{'0' * 24}", "a\n"]
        for device_id in strange:
            name = node_name(device_id)
            self.assertRegex(name, "^device-[0-9a-f]{24}$")
            names.add(name)
        self.assertEqual(len(names), len(strange))
        self.assertEqual(node_name("A/B"), node_name("a/b"))
        self.assertRegex(node_name(".", "ssdp-"), "^ssdp-device-[0-9a-f]{24}$")

    def test_nodes_of_locks(self) -> None:
        """No prefix and device ID together are the name of a lock's node."""
        self.assertRegex(node_name("reg-rack", "ssdp"), "^ssdpdevice-[0-9a-f]{24}$")


class CatalogFormatTests(SynchronousTestCase):
    """Tests for :class:`CatalogFormat`."""

    def setUp(self) -> None:
        self.format = CatalogFormat("test")
        self.registration = make_registration()
        self.check = Check(f"{self.registration.service_id}-http-1a", "http", "http://192.0.2.1/", 15, 0.5, True, 300)

    def test_node(self) -> None:
        """A node has an address and the marks of the scope, and is written only if its index is the known one."""
        self.assertEqual(
            self.format.set_node("d", NodeContent("192.0.2.1"), 0),
            {
                "Node": {
                    "Verb": "cas",
                    "Node": {"Node": "d", "Address": "192.0.2.1", "ModifyIndex": 0, "Meta": META},
                }
            },
        )
        (node,) = [each["Node"] for each in self.format.set_node("d", NodeContent("h", True), 7).values()]
        self.assertEqual((node["Meta"], node["ModifyIndex"]), ({**META, "external-node": "true"}, 7))
        self.assertEqual(
            self.format.delete_node("d", 7), {"Node": {"Verb": "delete-cas", "Node": {"Node": "d", "ModifyIndex": 7}}}
        )

    def test_datacenter(self) -> None:
        """With a datacenter, each operation of a node names it."""
        format = CatalogFormat("test", datacenter="dc2")
        for operation in (format.set_node("d", NodeContent("h"), 0), format.delete_node("d", 1)):
            self.assertEqual(operation["Node"]["Node"]["Datacenter"], "dc2")

    def test_fields_of_others(self) -> None:
        """Fields that other programs added to a node are kept when it is written."""
        node = {
            "ID": "b7b4ee51-0000-4000-8000-000000000000",
            "Node": "d",
            "Address": "192.0.2.1",
            "TaggedAddresses": {"lan": "192.0.2.1"},
            "Meta": {**META, "rack": "7", "external-node": "true"},
            "ModifyIndex": 12,
        }
        content, index = self.format.parse_node(node)
        self.assertEqual((index, content.address, content.external), (12, "192.0.2.1", True))
        self.assertEqual(self.format.set_node("d", content, index)["Node"]["Node"], node)
        plain = {**node, "ID": "", "TaggedAddresses": None, "Meta": META}
        self.assertEqual(self.format.parse_node(plain), (NodeContent("192.0.2.1"), 12))

    def test_malformed_node(self) -> None:
        """A node whose fields have wrong types is reported."""
        good: dict[str, Any] = {"Address": "h", "Meta": META, "ModifyIndex": 1}
        for change in ({"Address": None}, {"Meta": None}, {"ModifyIndex": "1"}, {"ModifyIndex": True}):
            with self.assertRaises(ValueError):
                self.format.parse_node({**good, **change})

    def test_owner(self) -> None:
        """A node belongs to the scope if both marks are there."""
        self.assertTrue(self.format.owns({"Meta": META}))
        for meta in (None, {}, {"ssdpreg-scope": "test"}, {**META, "ssdpreg-scope": "other"}):
            self.assertFalse(self.format.owns({"Meta": meta}))

    def test_service(self) -> None:
        """A service always has tags: a service without them and one with an empty list differ for Consul."""
        operation = self.format.set_service("d", self.registration, create=False)
        self.assertEqual(
            operation["Service"],
            {
                "Verb": "set",
                "Node": "d",
                "Service": {
                    "ID": "RackHD-service:api:2.0",
                    "Service": "RackHD-service:api:2.0",
                    "Tags": [],
                    "Address": "192.0.2.1",
                    "Port": 8080,
                    "Meta": self.registration.meta,
                },
            },
        )
        created = self.format.set_service("d", self.registration, create=True)["Service"]
        self.assertEqual((created["Verb"], created["Service"]["ModifyIndex"]), ("cas", 0))

    def test_checks(self) -> None:
        """Checks name their service, for which the ACL token has the rights, and have the ID of the registration."""
        (alive,) = self.registration.checks
        check = self.format.set_check("d", self.registration, alive)["Check"]["Check"]
        self.assertEqual(
            check,
            {
                "Node": "d",
                "CheckID": "ssdpreg:RackHD-service:api:2.0",
                "Name": "Announced over SSDP",
                "Status": "passing",
                "Notes": self.registration.service_id,
                "ServiceID": "RackHD-service:api:2.0",
                "ServiceName": "RackHD-service:api:2.0",
            },
        )
        check = self.format.set_check("d", self.registration, self.check, "critical")["Check"]["Check"]
        self.assertEqual(check["CheckID"], "ssdpreg-http-1a:RackHD-service:api:2.0")
        self.assertEqual((check["Status"], check["Name"]), ("critical", "HTTP http://192.0.2.1/"))
        self.assertEqual(
            check["Definition"],
            {
                "Interval": "15s",
                "HTTP": "http://192.0.2.1/",
                "TLSSkipVerify": True,
                "Timeout": "0.5s",
                "DeregisterCriticalServiceAfter": "300s",
            },
        )
        self.assertEqual(format_definition(Check("x-tcp-0", "tcp", "h:1", 9)), {"Interval": "9s", "TCP": "h:1"})

    def test_check_ids(self) -> None:
        """The kind of a check is found in its ID. Checks of other programs and the mark of a scope have none."""
        for check in (*self.registration.checks, self.check):
            kind = parse_check_id(catalog_check_id(self.registration, check))
            self.assertEqual(f"{self.registration.service_id}-{kind}", check.check_id)
        self.assertEqual(parse_check_id("ssdpreg:a:http-1a\nb"), "alive")
        for other in ("ssdpreg:scope", "serfHealth", "_node_maintenance", "ssdpreg-http-1a", "ssdpreg-grpc-1a:x"):
            self.assertIsNone(parse_check_id(other))

    def test_external_node(self) -> None:
        """consul-esm has to look after a node if a service has more than the check of the daemon."""
        self.assertFalse(has_definition([self.registration]))
        self.assertTrue(has_definition([self.registration, replace(self.registration, checks=frozenset({self.check}))]))

    def test_service_ids(self) -> None:
        """The ID of a registration is found in the notes of its checks. Without them, no live service has the ID."""
        service_id = self.registration.service_id
        self.assertEqual(service_id_of("d", "n", [None, 3, "a note", service_id]), service_id)
        unknown = service_id_of("d", "n", ["ssdpreg-A b"])
        self.assertRegex(unknown, "^ssdpreg-unknown-[0-9a-f]{16}$")
        self.assertNotEqual(unknown, service_id_of("d2", "n", []))

    def test_round_trip(self) -> None:
        """A service that is read is equal to the registration that was written."""
        registration = replace(self.registration, checks=self.registration.checks | {self.check}, tags=("b", "a"))
        service = self.format.set_service("d", registration, create=False)["Service"]["Service"]
        parsed = parse_service(service, registration.service_id, ["http-1a", "alive"])
        self.assertEqual(parsed, registration)
