"""Tests for :mod:`ssdpreg.discovery.location`."""

from __future__ import annotations

from ipaddress import ip_network

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.hosts import broadcast_addresses
from ssdpreg.discovery.location import Endpoint, LocationRules
from ssdpreg.errors import RejectedError

EVERYWHERE = LocationRules([ip_network("0.0.0.0/0"), ip_network("::/0")])
LAN = LocationRules([ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")])


class EndpointTests(SynchronousTestCase):
    """Tests for :class:`Endpoint`."""

    def test_netloc(self) -> None:
        """An IPv6 address is written in brackets, and any other host is not."""
        for host, netloc in (
            ("10.0.0.5", "10.0.0.5:80"),
            ("bmc-1", "bmc-1:80"),
            ("2001:db8::5", "[2001:db8::5]:80"),
        ):
            self.assertEqual(Endpoint("http", host, 80).netloc, netloc)


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
            "http://::1]/",
            "http://[[::1]]/",
            "http://[::1]x/",
            "http:10.0.0.5/",
            "https//10.0.0.5/",
            "//10.0.0.5/",
            " http://10.0.0.5/",
            "h\u0442tp://10.0.0.5/",
            "http\u017f://10.0.0.5/",
            "http\uff1a//10.0.0.5/",
            "http://10.0.0.5/\u202egnp.x",
            "http://10.0.0.5:\u0668\u0660/",
            "http://10.0.0.5:-80/",
            "http://10.0.0.5:+80/",
            "http://10.0.0.5:0x50/",
            "http://10.0.0.5:000080/",
            "http://10.0.0.5:80;/",
            "javascript://10.0.0.5/",
            "file:///etc/passwd",
            "gopher://10.0.0.5:8500/",
            "httpx://10.0.0.5/",
            "http+unix://10.0.0.5/",
            "http://2001:db8::5/",
        ):
            self.assertEqual(self.rejection(location), "LOCATION is no http or https URL", location)
        self.assertEqual(self.rejection(""), "no LOCATION")
        self.assertEqual(self.rejection("http://10.0.0.5/".ljust(2049, "a")), "LOCATION is too long")
        self.assertEqual(EVERYWHERE.endpoint("http://10.0.0.5/".ljust(2048, "a"), "").host, "10.0.0.5")

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
        for user in ("user", "user:password", "", "10.0.0.5:80", "10.0.0.6\uff0f"):
            self.assertEqual(self.rejection(f"http://{user}@10.0.0.5/"), "LOCATION has a user or password")

    def test_own_loopback(self) -> None:
        """A loopback address is registered only if the sender has one: all of them belong to one host."""
        for host in ("127.0.0.1", "127.1.2.3", "[::1]", "[::ffff:127.0.0.1]"):
            self.assertEqual(self.rejection(f"http://{host}/"), "LOCATION is on loopback", host)
            self.assertEqual(self.rejection(f"http://{host}/", sender=""), "LOCATION is on loopback", host)
        self.assertEqual(EVERYWHERE.endpoint("http://127.0.0.1:80/", "127.0.0.1").host, "127.0.0.1")
        self.assertEqual(EVERYWHERE.endpoint("http://127.0.0.2:80/", "127.0.0.1").host, "127.0.0.2")
        self.assertEqual(EVERYWHERE.endpoint("http://[::1]/", "::1").host, "::1")
        self.assertEqual(self.rejection("http://[2002:7f00:1::1]/", "127.0.0.1"), "LOCATION is on loopback")

    def test_own_link_local(self) -> None:
        """
        A link-local address is registered only if it is the sender's, an IPv6 address with its zone on this host.

        The zone in the LOCATION has a meaning on the device only.
        """
        rules = LocationRules([ip_network("0.0.0.0/0"), ip_network("::/0")], zones=True)
        for host, sender in (
            ("169.254.1.1", "169.254.1.2"),
            ("169.254.1.1", "10.0.0.9"),
            ("[::ffff:169.254.1.1]", "169.254.1.2"),
            ("[fe80::1]", "fe80::2"),
            ("[fe80::1%25eth0]", "fe80::2"),
            ("[fe80::1]", ""),
        ):
            self.assertEqual(self.rejection(f"http://{host}/", sender), "LOCATION is link-local", host)
        for host, sender, registered in (
            ("169.254.1.1", "169.254.1.1", "169.254.1.1"),
            ("[::ffff:169.254.1.1]", "169.254.1.1", "169.254.1.1"),
            ("169.254.1.1", "::ffff:169.254.1.1", "169.254.1.1"),
            ("[FE80:0::1%25eth9]", "fe80::1%eth0", "fe80::1%eth0"),
            ("[fe80::1]", "fe80::1%eth0", "fe80::1%eth0"),
            ("[fe80::1%eth9]", "fe80::1%eth0", "fe80::1%eth0"),
            ("[fe80::1%10]", "fe80::1%eth0", "fe80::1%eth0"),
        ):
            self.assertEqual(rules.endpoint(f"http://{host}/", sender).host, registered)

    def test_link_local_in_consul(self) -> None:
        """A link-local IPv6 address is rejected if the backend stores no zones, or if the zone is unknown."""
        reason = "LOCATION is link-local, and the backend stores no zones"
        self.assertEqual(self.rejection("http://[fe80::1]/", "fe80::1%eth0"), reason)
        rules = LocationRules([ip_network("::/0")], zones=True)
        self.assertEqual(self.rejection("http://[fe80::1]/", "fe80::1", rules), reason)

    def test_broadcasts(self) -> None:
        """A directed broadcast address is rejected from the time when a network is known, and only as long."""
        networks = ["10.77.0.0/24"]
        rules = LocationRules(
            [ip_network("0.0.0.0/0"), ip_network("::/0")], lambda: broadcast_addresses(map(ip_network, networks))
        )
        rejected = ("10.77.0.255", "10.77.0.0", "[::ffff:10.77.0.255]", "[2002:a4d:ff::1]", "[2001:db8::5efe:a4d:ff]")
        for host in rejected:
            self.assertEqual(self.rejection(f"http://{host}/", rules=rules), "LOCATION's address is no host's", host)
        self.assertEqual(rules.endpoint("http://10.77.1.255/", "10.0.0.9").host, "10.77.1.255")
        networks[:] = ["10.77.0.0/16"]
        self.assertEqual(rules.endpoint("http://10.77.1.255/", "10.0.0.9").host, "10.77.1.255")
        self.assertEqual(rules.endpoint("http://10.77.0.255/", "10.0.0.9").host, "10.77.0.255")
        self.assertEqual(self.rejection("http://10.77.255.255/", rules=rules), "LOCATION's address is no host's")

    def test_allowed_networks(self) -> None:
        """If networks are listed, all other addresses are rejected, and all names, because they are not resolved."""
        self.assertEqual(LAN.endpoint("http://10.1.2.3/", "10.0.0.9").host, "10.1.2.3")
        for host in ("192.168.1.1", "[2001:db9::1]", "bmc.example"):
            self.assertEqual(
                self.rejection(f"http://{host}/", rules=LAN), "LOCATION is not in an allowed network", host
            )
