"""Properties of :mod:`ssdpreg.discovery.location` for many LOCATIONs."""

from __future__ import annotations

from ipaddress import ip_network
from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.location import Endpoint, LocationRules
from ssdpreg.errors import RejectedError

#: Texts of which LOCATIONs are put together: valid, special and broken ones.
SCHEMES = ("http://", "https://", "HTTP://", "ftp://", "http:/", "//", "http://a@", " http://")
HOSTS = (
    *("10.0.0.5", "10.0.0.255", "192.168.1.1", "127.0.0.1", "169.254.1.1", "224.0.0.1", "0.0.0.0"),
    *("255.255.255.255", "169.254.169.254", "010.0.0.5", "10.0.5", "10.0.0.256", "1\u0661.0.0.5", "10.0.0.5 "),
    *("bmc", "[::1]", "::1", ""),
)
PORTS = (
    *("", ":", ":80", ":8080", ":0", ":65535", ":65536", ":080", ":00080", ":000080", ":+8", ":8_0", ": 8"),
    *(":\u0668", ":80:80", ":80@10.0.0.6", ":80\\"),
)
PATHS = ("", "/", "/a/b.xml", "/a:b/c", "//a", "?a/b", "#a/", "/a b", "/k\xfc", "/\n", "/\u202e", "\\/")


class CompleteRules(LocationRules):
    """Rules that parse each LOCATION in the way that accepts all forms."""

    def _plain_endpoint(self, location: str) -> None:
        return None


def result(rules: LocationRules, location: str) -> Endpoint | str:
    """Return the endpoint of a LOCATION, or the reason of its rejection."""
    try:
        return rules.endpoint(location, "169.254.1.1")
    except RejectedError as error:
        return error.reason


class LocationPropertyTests(SynchronousTestCase):
    """Properties that hold for all LOCATIONs."""

    def test_plain_locations(self) -> None:
        """The short way for the usual form has the result of the complete one."""
        short, complete = (
            kind([ip_network("10.0.0.0/8"), ip_network("169.254.0.0/16")], lambda: frozenset({"10.0.0.255"}))
            for kind in (LocationRules, CompleteRules)
        )
        for parts in product(SCHEMES, HOSTS, PORTS, PATHS):
            location = "".join(parts)
            self.assertEqual(result(short, location), result(complete, location), location)
