"""Tests for :mod:`ssdpreg.backends.consul_format`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.backends.consul_format import (
    check_service,
    format_duration,
    format_registration,
    is_owned,
    parse_registration,
)
from ssdpreg.registration import Check
from ssdpreg.testing import FakeConsulAgent, make_registration
from tests.support.consul_agent_tests import request_fake


class FormatTests(SynchronousTestCase):
    """Tests for the functions of the module."""

    def test_round_trip(self) -> None:
        """A registration that an agent lists is parsed to an equal one."""
        registration = make_registration(tags=("b", "a"), address="2001:db8::5")
        checks = {check.check_id: check for check in registration.checks}
        agent = FakeConsulAgent()
        body = format_registration(registration, checks, "ssdpreg")
        self.assertEqual(request_fake(self, agent, "PUT", "/v1/agent/service/register", body)[0], 200)
        self.assertEqual(parse_registration(agent.services[registration.service_id], checks), registration)

    def test_texts_of_an_entry(self) -> None:
        """An entry may have a text of any script, but none that cannot be sent, and no other type in its place."""
        entry = {"ID": "a", "Service": "n", "Address": "192.0.2.1", "Port": 1, "Tags": None, "Meta": {}}
        for key in ("ID", "Service", "Address"):
            for text in ("", "Zähler", "電話"):
                accepted = {**entry, key: text}
                self.assertIs(check_service(accepted), accepted)
            for value in ("a\ud800", None, 1, ["a"]):
                self.assertRaises(ValueError, check_service, {**entry, key: value})

    def test_alias_check(self) -> None:
        """An ``alive`` check becomes an alias check on the daemon's own service."""
        registration = make_registration()
        body = format_registration(registration, {"x": Check("x", "alive")}, "ssdpreg:1a2b3c4d")
        self.assertEqual([check["AliasService"] for check in body["Checks"]], ["ssdpreg:1a2b3c4d"])

    def test_no_tags(self) -> None:
        """Consul lists a service without tags with null in place of the tags."""
        service = {"ID": "a", "Service": "n", "Address": "192.0.2.1", "Port": 1, "Tags": None, "Meta": {}}
        self.assertEqual(parse_registration(service, ()).tags, ())

    def test_is_owned(self) -> None:
        """A service is owned if both its source and its scope match."""
        cases: list[tuple[Any, bool]] = [
            ({"external-source": "ssdpreg", "ssdpreg-scope": "test"}, True),
            ({"external-source": "ssdpreg", "ssdpreg-scope": "other"}, False),
            ({"external-source": "nomad", "ssdpreg-scope": "test"}, False),
            ({"external-source": "ssdpreg"}, False),
            ({}, False),
            (None, False),
        ]
        for meta, owned in cases:
            self.assertIs(is_owned({"Meta": meta}, "test"), owned, meta)

    def test_format_duration(self) -> None:
        """A duration has the unit of seconds, and no exponent."""
        for seconds, text in ((15.0, "15s"), (0.5, "0.5s"), (86400.0, "86400s"), (31536000.0, "31536000s")):
            self.assertEqual(format_duration(seconds), text)
