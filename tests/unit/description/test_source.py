"""Tests for :mod:`ssdpreg.description.source`."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.description.source import Edition, Source, Target, find_edition, find_source
from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.location import Endpoint
from ssdpreg.discovery.search_terms import SearchTerm

API = "urn:schemas-upnp-org:service:api:2.0"
REDFISH = "urn:dmtf-org:service:redfish-rest:1:6"


def advertise(path: str, nt: str = API, device_id: str = "D") -> Advertisement:
    """Return an advertisement with a LOCATION at 10.0.0.5."""
    location = f"http://10.0.0.5:80{path}"
    usn = f"uuid:{device_id}::{nt}"
    return Advertisement.make(
        device_id, nt, SearchTerm(nt, "T"), nt, usn, location, Endpoint("http", "10.0.0.5", 80), max_age=1800
    )


class SourceTests(SynchronousTestCase):
    """Tests for :func:`find_source` and :func:`find_edition`."""

    def test_source(self) -> None:
        """The source has the device, and the scheme, host, port and path of LOCATION."""
        source = find_source(advertise("/desc.xml?a=1"))
        self.assertEqual(
            source,
            Source(
                Target("d", "10.0.0.5", is_redfish=False),
                Endpoint("http", "10.0.0.5", 80),
                "/desc.xml?a=1",
                "http://10.0.0.5:80/desc.xml?a=1",
            ),
        )
        self.assertEqual(source.url, "http://10.0.0.5:80")

    def test_paths(self) -> None:
        """A path is quoted where necessary, without its fragment."""
        for path, quoted in (
            ("", "/"),
            ("?a", "/?a"),
            ("/#a", "/"),
            ("/a b", "/a%20b"),
            ("/ä", "/%C3%A4"),
            ("/%C3%A4", "/%C3%A4"),
            ("/a\\b<c>", "/a%5Cb%3Cc%3E"),
        ):
            self.assertEqual(find_source(advertise(path)).path, quoted)

    def test_redfish(self) -> None:
        """For a Redfish service the service root is requested, with the slash at its end."""
        for path, root in (
            ("", "/redfish/v1/"),
            ("/", "/redfish/v1/"),
            ("/redfish", "/redfish/v1/"),
            ("/redfish/v1", "/redfish/v1/"),
            ("/redfish/v1/", "/redfish/v1/"),
            ("/bmc/redfish/v1/", "/bmc/redfish/v1/"),
            ("/bmc/redfish/v1", "/bmc/redfish/v1/"),
            ("/upnp/description.xml", "/redfish/v1/"),
        ):
            source = find_source(advertise(path, REDFISH))
            self.assertEqual((source.path, source.target.is_redfish), (root, True))

    def test_edition(self) -> None:
        """Another LOCATION is another edition."""
        edition = find_edition(advertise("/a"))
        self.assertEqual(edition, Edition("http://10.0.0.5:80/a", None))
        self.assertNotEqual(edition, find_edition(advertise("/b")))

    def test_version(self) -> None:
        """Another BOOTID or CONFIGID is another edition. Without both, the version is not known."""
        announced = replace(advertise("/a"), boot_id="1", config_id=5)
        self.assertEqual(find_edition(announced), Edition("http://10.0.0.5:80/a", ("1", 5)))
        self.assertEqual(find_edition(replace(announced, boot_id="")).version, ("", 5))
        self.assertEqual(find_edition(replace(announced, config_id=None)).version, ("1", None))
