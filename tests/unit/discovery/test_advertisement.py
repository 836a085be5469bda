"""Tests for :mod:`ssdpreg.discovery.advertisement`."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.location import Endpoint
from ssdpreg.discovery.search_terms import SearchTerm

API = "urn:schemas-upnp-org:service:api:2.0"
USN = f"uuid:D::{API}"


def make(
    location: str = "http://10.0.0.5:8080/a", usn: str = f"uuid:D::{API}", host: str = "10.0.0.5"
) -> Advertisement:
    """Return an advertisement."""
    return Advertisement.make("D", API, SearchTerm(API, "T"), API, usn, location, Endpoint("http", host, 8080), 1800)


class AdvertisementTests(SynchronousTestCase):
    """Tests for :class:`Advertisement`."""

    def test_usn(self) -> None:
        """The usual USN is derived. Any other is kept as it was announced."""
        self.assertEqual((make().usn_text, make().usn), ("", USN))
        for usn in (f"UUID:D::{API}", "uuid:D", f"uuid: D ::{API}", "uuid:D::urn:x"):
            self.assertEqual(make(usn=usn).usn, usn)

    def test_location(self) -> None:
        """A LOCATION is the one that was announced, and scheme and host are kept once."""
        for rest in (":8080/a", "/a", "", "?a", "#a", ":/"):
            advertisement = make("http://10.0.0.5" + rest)
            self.assertEqual((advertisement.location_text, advertisement.location), (rest, "http://10.0.0.5" + rest))
        for host, location in (
            ("10.0.0.5", "HTTP://10.0.0.5:8080/a"),
            ("10.0.0.5", "http://[::ffff:10.0.0.5]:8080/a"),
            ("10.0.0.5", "http://10.0.0.50:8080/a"),
            ("box", "http://BOX:8080/a"),
            ("box", "http://box.:8080/a"),
            ("box", "http://boxhouse:8080/a"),
            ("2001:db8::1", "http://[2001:db8:0::1]:8080/a"),
            ("fe80::1%eth0", "http://[fe80::1]:8080/a"),
        ):
            self.assertEqual(make(location, host=host).location, location)
        self.assertEqual(make("http://[2001:db8::1]:8080/a", host="2001:db8::1").location_text, ":8080/a")

    def test_has_location_of(self) -> None:
        """Two advertisements have the same LOCATION if it has the same text."""
        one = make()
        self.assertTrue(one.has_location_of(make()))
        for location in ("http://10.0.0.5:8080/b", "HTTP://10.0.0.5:8080/a"):
            self.assertFalse(one.has_location_of(make(location)))
        self.assertFalse(one.has_location_of(make("http://10.0.0.6:8080/a", host="10.0.0.6")))

    def test_is_same(self) -> None:
        """Two advertisements are the same if the values are equal that equality ignores, too."""
        one = make()
        self.assertTrue(one.is_same(make()))
        for other in (
            replace(one, boot_id="1"),
            replace(one, config_id=1),
            replace(one, search_port=50000),
        ):
            self.assertEqual(other, one)
            self.assertFalse(one.is_same(other))
        self.assertFalse(one.is_same(replace(one, server="s")))
