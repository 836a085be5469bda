"""Tests for :mod:`ssdpreg.web.filter` and its fields. ``tests/system/test_consul_api.py`` compares with Consul."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.registration import Registration
from ssdpreg.web.catalogue import Entry
from ssdpreg.web.filter import compile_filter, portion
from ssdpreg.web.filter_fields import (
    check_fields,
    health_service_fields,
    node_fields,
    service_fields,
    service_node_fields,
)
from ssdpreg.web.filter_syntax import LONGEST, FilterError

_ENTRY = Entry(
    Registration(
        "ssdpreg-api-1",
        "api",
        "10.0.0.5",
        8080,
        ("lab", "Blue"),
        {"ssdp-nt": "urn:x", "empty": "", "ssdpreg-scope": "rack-7"},
        frozenset(),
    ),
    "dev-1",
    7,
    8,
)


class CompileFilterTests(SynchronousTestCase):
    """Tests for :func:`compile_filter`."""

    def assert_matches(self, fields_of: object, expressions: dict[str, bool]) -> None:
        """Check the result of each expression for one entry."""
        assert callable(fields_of)
        for text, matches in expressions.items():
            self.assertIs(compile_filter(text, fields_of("dc1"))(_ENTRY), matches, text)

    def test_operators(self) -> None:
        """Each operator has its meaning for texts, numbers, truth values, tags and mappings, and ``not`` negates it."""
        expressions = {
            "Service.Service == api": True,
            "Service.Service == API": False,
            "Service.Service contains p": True,
            '"" in Service.Service': True,
            "x in Service.Service": False,
            "Service.Port == 8080": True,
            'Service.Port == "0x1F90"': True,
            'Service.Port == "0o17620"': True,
            'Service.Port == "017620"': True,
            'Service.Port == "8_080"': True,
            'Service.Port == "+8080"': True,
            "Service.Port == -8080": False,
            "Service.EnableTagOverride == false": True,
            "Service.EnableTagOverride == 1": False,
            "Service.Tags contains lab": True,
            "la in Service.Tags": False,
            "Service.Meta contains empty": True,
            "Service.Meta.empty == `urn:x`": False,
            'Service.Meta["ssdp-nt"] contains urn': True,
            "Service.Meta.nothing == x": False,
            "x in Service.Meta.nothing": False,
            "Service.Tags is empty": False,
            "Service.Meta is empty": False,
            "Service.TaggedAddresses is empty": True,
            "Checks is empty": False,
            "Checks.Status == passing": True,
            "Service.TaggedAddresses.lan.Port == 8080": False,
        }
        self.assert_matches(health_service_fields, expressions)
        self.assert_matches(health_service_fields, {f"not {text}": not each for text, each in expressions.items()})
        for words, opposite in ((" == ", " != "), (" in ", " not in "), (" contains ", " not contains ")):
            opposites = {text.replace(words, opposite): not each for text, each in expressions.items() if words in text}
            self.assertGreater(len(opposites), 2)
            self.assert_matches(health_service_fields, opposites)
        self.assert_matches(health_service_fields, {"Service.Tags is not empty": True, "Checks is not empty": True})

    def test_conjunctions(self) -> None:
        """``and`` needs all comparisons, and ``or`` one of them."""
        true, false = "Service == api", "Service == x"
        self.assert_matches(
            service_fields,
            {
                f"{true} and {true} and {false}": False,
                f"{false} or {false} or {true}": True,
                f"{true} or {true} and {false}": True,
                f"({true} or {true}) and {false}": False,
                f"not {false} and {true}": True,
            },
        )

    def test_empty_list(self) -> None:
        """No comparison with an element of an empty list is true, as in Consul."""
        self.assert_matches(
            service_fields,
            {"Proxy.Upstreams.DestinationName == x": False, "Proxy.Upstreams.DestinationName != x": False},
        )

    def test_fields(self) -> None:
        """Each path has the fields of its entries."""
        for fields_of, expressions in {
            node_fields: ('Node == "dev-1"', "Datacenter == dc1", 'ID == ""', 'Meta["ssdpreg-scope"] == "rack-7"'),
            service_fields: ('ID == "ssdpreg-api-1"', "Service == api", 'Address == "10.0.0.5"', "Port == 8080"),
            service_node_fields: (
                'Node == "dev-1"',
                'Address == "10.0.0.5"',
                'NodeMeta["external-node"] == "true"',
                'ServiceID == "ssdpreg-api-1"',
                "ServiceName == api",
                'ServiceAddress == "10.0.0.5"',
                "ServicePort == 8080",
                "ServiceTags contains Blue",
                'ServiceMeta["ssdp-nt"] == "urn:x"',
            ),
            check_fields: (
                'CheckID == "ssdpreg-api-1-alive"',
                "Name == alive",
                "Status == passing",
                "ServiceName == api",
            ),
            health_service_fields: ('Node.Node == "dev-1"', "Service.Service == api", "Checks.ServiceName == api"),
        }.items():
            self.assert_matches(fields_of, dict.fromkeys(expressions, True))

    def test_errors(self) -> None:
        """An expression that is not valid is rejected in the words of Consul."""
        for text, problem in {
            "Nothing == 1": 'Selector "Nothing" is not valid',
            "Service.Nothing.More == 1": 'Selector "Service.Nothing" is not valid',
            "Service.Port.More == 1": 'Selector "Service.Port.More" is not valid',
            '"x" in Service["a\\nb"]': 'Selector "Service.a\\nb" is not valid',
            "Service == 1": 'Invalid match operator "Equal" for selector "Service"',
            "Service.Meta.x is not empty": 'Invalid match operator "Is Not Empty" for selector "Service.Meta.x"',
            "80 in Service.Port": 'Invalid match operator "In" for selector "Service.Port"',
            "Service.Tags not matches x": 'Invalid match operator "Not Matches" for selector "Service.Tags"',
            "Service.Service matches x": "The operator matches is not supported by ssdpreg: use ==, contains or in",
            "Service.Port == 8.5": 'Failed to coerce value "8.5" for selector "Service.Port": '
            'strconv.ParseInt: parsing "8.5": invalid syntax',
            'Service.Port == "\u0663"': 'Failed to coerce value "\u0663" for selector "Service.Port": '
            'strconv.ParseInt: parsing "\u0663": invalid syntax',
            "Service.Port == 9223372036854775808": 'Failed to coerce value "9223372036854775808" for selector '
            '"Service.Port": strconv.ParseInt: parsing "9223372036854775808": value out of range',
            "Service.EnableTagOverride == yes": 'Failed to coerce value "yes" for selector '
            '"Service.EnableTagOverride": strconv.ParseBool: parsing "yes": invalid syntax',
            "Service.Proxy.Upstreams.LocalBindPort != x": 'Failed to coerce value "x" for selector '
            '"Service.Proxy.Upstreams.LocalBindPort": strconv.ParseInt: parsing "x": invalid syntax',
        }.items():
            error = self.assertRaises(FilterError, compile_filter, text, health_service_fields("dc1"))
            self.assertEqual(str(error), problem, text)

    def test_long_number(self) -> None:
        """A number of thousands of digits is rejected like any other that is too large, without being converted."""
        for digits in ("9" * 4000, "0x" + "f" * 4000, "0b" + "1" * 4000):
            text = f'Service.Port == "{digits}"'
            error = self.assertRaises(FilterError, compile_filter, text, health_service_fields("dc1"))
            self.assertIn("value out of range", str(error))
        zeros = compile_filter(f'Port != "{"0" * 4000}"', service_fields("dc1"))
        self.assertTrue(zeros(_ENTRY))


class PortionTests(SynchronousTestCase):
    """Tests for :func:`portion`."""

    def test_length(self) -> None:
        """A longer expression is compared with fewer entries at a time."""
        self.assertEqual([portion("x" * length) for length in (0, 512, 1024, LONGEST)], [100, 100, 50, 12])
