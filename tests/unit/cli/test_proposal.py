"""Tests for :mod:`ssdpreg.cli.proposal`."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg import config
from ssdpreg.cli.proposal import propose_configuration
from ssdpreg.errors import ConfigError
from tests.unit.cli.test_search_results import API, ROOT, make_alive, make_results


class ProposeConfigurationTests(SynchronousTestCase):
    """Tests for :func:`ssdpreg.cli.proposal.propose_configuration`."""

    def propose(self, *types: str, interfaces: tuple[str, ...] = ()) -> object:
        """Propose a configuration for a device with these types, and parse it as the daemon would."""
        results = make_results()
        for nt in types:
            results.add(make_alive(nt), "10.0.0.5")
        text = propose_configuration(results.devices(), interfaces)
        config.parse(text)
        return json.loads(text)["ssdp"]

    def test_tags(self) -> None:
        """URNs are grouped by the organization that defined them, and types that cannot be configured are left out."""
        skunk = "urn:skunkworxs:inservice:agent:0"
        invalid = (ROOT, "uuid:D", "urn:evil:*", "urn:with blank:x", "urn::x", "urn:", "urn:x\u202ey:z")
        self.assertEqual(
            self.propose(skunk, API, "urn:dial-multiscreen-org:service:dial:1", *invalid),
            {
                "tags": {
                    "dial-multiscreen": ["urn:dial-multiscreen-org:service:dial:1"],
                    "skunkworxs": [skunk],
                    "upnp": [API],
                }
            },
        )

    def test_versions(self) -> None:
        """A URN that an earlier version matches is left out, and Redfish is written without its minor version."""
        service = "urn:schemas-upnp-org:service:x"
        redfish = "urn:dmtf-org:service:redfish-rest:1"
        self.assertEqual(
            self.propose(f"{service}:10", f"{service}:2", f"{service}:1.5", f"{redfish}:6"),
            {"tags": {"dmtf": [redfish], "upnp": [f"{service}:1.5", f"{service}:2"]}},
        )

    def test_interfaces(self) -> None:
        """The configuration has the interfaces of the search."""
        self.assertEqual(self.propose(API, interfaces=("eth1",)), {"tags": {"upnp": [API]}, "interfaces": ["eth1"]})

    def test_rejected_advertisements(self) -> None:
        """An advertisement that cannot be registered is left out, and without any other there is no configuration."""
        results = make_results()
        results.add(make_alive(location="http://127.0.0.1/"), "10.0.0.5")
        self.assertRaises(ConfigError, propose_configuration, results.devices(), ())
