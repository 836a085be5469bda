"""Tests for :mod:`ssdpreg.discovery.location`."""

from __future__ import annotations

from ipaddress import ip_network

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.location import Endpoint, LocationRules
from ssdpreg.errors import RejectedError

EVERYWHERE = LocationRules([ip_network("0.0.0.0/0"), ip_network("::/0")])
LAN = LocationRules([ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")])


class LocationRulesTests(SynchronousTestCase):
    """Tests for :class:`LocationRules`."""

    def rejection(self, location: str, sender: str = "10.0.0.9", rules: LocationRules = EVERYWHERE) -> str:
        """Return the reason of the rejection of a LOCATION."""
        with self.assertRaises(RejectedError) as caught:
            rules.endpoint(location, sender)
        return str(caught.exception.reason)

    def test_urls(self) -> None:
        """Scheme, host and port are those of the URL. The default port of the scheme replaces a missing one."""
        for location, endpoint in {
            "http://10.0.0.5:8080/a/b?c#d": Endpoint("http", "10.0.0.5", 8080),
            "http://10.0.0.5": Endpoint("http", "10.0.0.5", 80),
            "http://10.0.0.5:2869/Küche & Co/desc ription.xml": Endpoint("http", "10.0.0.5", 2869),
            "https://10.0.0.5/redfish/v1/": Endpoint("https", "10.0.0.5", 443),
            "http://10.0.0.5:/": Endpoint("http", "10.0.0.5", 80),
            "HTTP://BMC-1.Rack_7.example.:80?x": Endpoint("http", "bmc-1.rack_7.example", 80),
            "http://[::ffff:10.0.0.5]/": Endpoint("http", "10.0.0.5", 80),
            "https://[2001:DB8::5]:8443/": Endpoint("https", "2001:db8::5", 8443),
            "http://10.0.0.5:1/": Endpoint("http", "10.0.0.5", 1),
            "http://10.0.0.5:65535/fakepath": Endpoint("http", "10.0.0.5", 65535),
        }.items():
            self.assertEqual(EVERYWHERE.endpoint(location, "10.0.0.9"), endpoint)

    def test_invalid_urls(self) -> None:
        """URLs with another scheme, without a host, with control characters or with backslashes are rejected."""
        for location in (
            "*",
            "://10.0.0.5:80/",
            "ftp://10.0.0.5/",
            "10.0.0.5",
            "http:/10.0.0.5/",
            "http://10.0.0.5/\x00",
            "http://10.0.0.5/\n",
            "http://10.0.0.5\\@10.0.0.6/",
            "http://10.0.0.5:port/",
            "http://10.0.0.5:80:80/",
            "http://[::1/",
            "http://2001:db8::5/",
        ):
            self.assertEqual(self.rejection(location), "LOCATION is no http or https URL", location)
        self.assertEqual(self.rejection(""), "no LOCATION")
        self.assertEqual(self.rejection("http://10.0.0.5/" + "a" * 2048), "LOCATION is too long")

    def test_invalid_hosts(self) -> None:
        """Hosts that are neither an address nor a name are rejected, such as numbers that resemble an address."""
        for host in (
            "",
            "10.0.0.5 ",
            "192.168.1165535",
            "10.0.0.256",
            "0x7f.1",
            "2130706433",
            "a..b",
            "-a",
            "a" * 64,
            "[::g]",
        ):
            self.assertIn(
                self.rejection(f"http://{host}/"),
                {"LOCATION's host is no address and no name", "LOCATION is no http or https URL"},
                host,
            )

    def test_invalid_ports(self) -> None:
        """Ports outside 1 to 65535 are rejected."""
        for port in ("0", "65536", "99999"):
            self.assertEqual(self.rejection(f"http://10.0.0.5:{port}/"), "LOCATION's port is not 1 to 65535")

    def test_users(self) -> None:
        """A URL with a user or a password is rejected, even if they are empty."""
        for user in ("user", "user:password", ""):
            self.assertEqual(self.rejection(f"http://{user}@10.0.0.5/"), "LOCATION has a user or password")

    def test_addresses_without_a_host(self) -> None:
        """Unspecified, multicast and broadcast addresses are rejected."""
        for host in (
            "0.0.0.0",
            "0.1.2.3",
            "239.255.255.250",
            "255.255.255.255",
            "[::]",
            "[ff02::c]",
            "[::ffff:0.0.0.0]",
        ):
            self.assertEqual(self.rejection(f"http://{host}/"), "LOCATION's address is no host's", host)

    def test_loopback(self) -> None:
        """A loopback address is accepted only from a loopback sender."""
        for host in ("127.0.0.1", "127.1.2.3", "[::1]", "localhost", "db.localhost.", "[::ffff:127.0.0.1]"):
            self.assertEqual(self.rejection(f"http://{host}/"), "LOCATION is on loopback", host)
        self.assertEqual(EVERYWHERE.endpoint("http://127.0.0.1:80/", "127.0.0.1").host, "127.0.0.1")
        self.assertEqual(EVERYWHERE.endpoint("http://localhost/", "127.0.0.2").host, "localhost")

    def test_link_local(self) -> None:
        """A link-local address is accepted only from a link-local sender, and without the zone of the sender."""
        for host in ("169.254.1.1", "[fe80::1]", "[fe80::1%25eth0]"):
            self.assertEqual(self.rejection(f"http://{host}/"), "LOCATION is link-local", host)
        self.assertEqual(EVERYWHERE.endpoint("http://169.254.1.1/", "169.254.1.2").host, "169.254.1.1")
        self.assertEqual(EVERYWHERE.endpoint("http://[fe80::1%25eth9]/", "fe80::2").host, "fe80::1")

    def test_allowed_networks(self) -> None:
        """If networks are listed, all other addresses are rejected, and all names, because they are not resolved."""
        self.assertEqual(LAN.endpoint("http://10.1.2.3/", "10.0.0.9").host, "10.1.2.3")
        for host in ("192.168.1.1", "[2001:db9::1]", "bmc.example"):
            self.assertEqual(
                self.rejection(f"http://{host}/", rules=LAN), "LOCATION is not in an allowed network", host
            )

    @settings(derandomize=True, deadline=None, max_examples=500)
    @given(st.text(max_size=60).map("http://".__add__) | st.text(max_size=60))
    def test_any_text(self, location: str) -> None:
        """Any text results in an endpoint or a RejectedError."""
        try:
            endpoint = EVERYWHERE.endpoint(location, "10.0.0.9")
        except RejectedError:
            return
        self.assertTrue(endpoint.host.isascii() and 1 <= endpoint.port <= 65535)
