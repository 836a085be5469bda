"""Tests for :mod:`ssdpreg.discovery.hosts`, by way of :class:`ssdpreg.discovery.location.LocationRules`."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.hosts import (
    LINK_LOCAL,
    NO_HOST,
    NO_HOST_ADDRESS,
    ON_LOOPBACK,
    SPECIAL_NAME,
    broadcast_addresses,
    check_address,
    embedded_addresses,
    is_ordinary,
)
from ssdpreg.discovery.location import LocationRules
from ssdpreg.errors import RejectedError
from tests.support import paths

NOT_A_URL = "LOCATION is no http or https URL"
SENDER = "10.77.0.9"
BROADCASTS = broadcast_addresses([ip_network("10.77.0.0/24")])
RULES = LocationRules([ip_network("0.0.0.0/0"), ip_network("::/0")], lambda: BROADCASTS)

#: Hosts in a LOCATION from 10.77.0.9 that are rejected, by the reason.
HOSTILE = {
    NO_HOST_ADDRESS: (
        # Unspecified, "this network", IETF protocol assignments
        "0.0.0.0",
        "0.0.0.1",
        "0.1.2.3",
        "0.255.255.255",
        "192.0.0.1",
        "192.0.0.192",
        "[::]",
        "[0:0:0:0:0:0:0:0]",
        "[::0.0.0.0]",
        # Multicast
        "224.0.0.1",
        "239.255.255.250",
        "[ff02::c]",
        "[ff00::]",
        "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]",
        # Reserved and broadcast
        "240.0.0.1",
        "250.1.2.3",
        "255.255.255.254",
        "255.255.255.255",
        "10.77.0.255",
        "10.77.0.0",
        # IPv4-mapped
        "[::ffff:0.0.0.0]",
        "[::ffff:0:0]",
        "[::ffff:239.255.255.250]",
        "[::ffff:240.0.0.1]",
        "[::ffff:255.255.255.255]",
        "[::ffff:10.77.0.255]",
        "[::ffff:a4d:ff]",
        "[0:0:0:0:0:ffff:f000:1]",
        # IPv4-compatible and IPv4-translated, also of unicast addresses: no host has them
        "[::127.0.0.1]",
        "[::7f00:1]",
        "[::169.254.169.254]",
        "[::10.77.0.255]",
        "[::10.0.0.5]",
        "[::2]",
        "[::ffff:0:127.0.0.1]",
        "[::ffff:0:a00:5]",
        # NAT64
        "[64:ff9b::7f00:1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b::169.254.169.254]",
        "[64:ff9b::]",
        "[64:ff9b::10.0.0.5]",
        "[64:ff9b:1::7f00:1]",
        "[64:ff9b:1:7f00:0:100::]",
        "[64:ff9b:1:ffff:ffff:ffff:ffff:ffff]",
        # 6to4
        "[2002::]",
        "[2002:0:1::1]",
        "[2002:e000:fb::1]",
        "[2002:f000:1::1]",
        "[2002:ffff:ffff::]",
        "[2002:a4d:ff::1]",
        # Teredo: the server, and the client with inverted bits
        "[2001::1]",
        "[2001:0:808:808::1fff:fffe]",
        # ISATAP
        "[fd00::5efe:0.0.0.0]",
        "[2001:db8::5efe:255.255.255.255]",
        "[2001:db8::200:5efe:224.0.0.1]",
        "[2001:db8::5efe:10.77.0.255]",
        # Reserved in IPv6
        "[100::1]",
        "[200::1]",
        "[1fff:ffff::1]",
        "[4000::1]",
        "[5f00::1]",
        "[e000::1]",
        "[fe00::1]",
        # Servers of credentials
        "100.100.100.200",
        "168.63.129.16",
        "[fd00:ec2::254]",
        "[2002:6464:64c8::1]",
    ),
    ON_LOOPBACK: (
        "127.0.0.1",
        "127.0.0.0",
        "127.1.2.3",
        "127.255.255.255",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[0000:0000:0000:0000:0000:0000:0000:0001]",
        "[::0.0.0.1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::FFFF:127.8.8.8]",
        "[2002:7f00:1::]",
        "[2002:7f00:1::1]",
        "[2001:0:808:808::80ff:fffe]",
        "[2001:0:7f00:1::f5ff:fffa]",
        "[2001:db8::5efe:127.0.0.1]",
        "[2001:db8::200:5efe:7f00:1]",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "db.localhost",
        "a.b.localhost.",
        "localhost.localdomain",
        "localhost.example.com",
        "localhost4",
        "localhost6.localdomain6",
        "ip6-localhost",
        "ip6-loopback",
        "loopback",
    ),
    LINK_LOCAL: (
        "169.254.1.1",
        "169.254.169.254",
        "[fe80::1]",
        "[FEBF::1]",
        "[fe80::1%eth0]",
        "[fe80::1%25eth0]",
        "[fe80::1%25]",
        "[fe80::5efe:127.0.0.1]",
        "[::ffff:169.254.1.1]",
        "[::ffff:a9fe:a9fe]",
        "[2002:a9fe:101::1]",
        "[2001:0:808:808::5601:fefe]",
        "[2001:db8::5efe:169.254.1.1]",
    ),
    SPECIAL_NAME: (
        "consul.service.consul",
        "bmc.node.dc1.consul.",
        "consul.service.CONSUL",
        "metadata",
        "metadata.google.internal",
        "Metadata.Google.Internal.",
        "metadata.goog",
        "instance-data",
        "instance-data.ec2.internal",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "host.docker.internal",
        "host.containers.internal",
    ),
    NO_HOST: (
        "",
        # Other forms of IPv4 addresses
        "127.1",
        "127.0.1",
        "127.0.0.1.",
        "10.0.0.5.",
        "10.0.0.5..",
        ".10.0.0.5",
        "10.0.0.05",
        "0177.0.0.1",
        "0300.0250.0.1",
        "0x7f.0.0.1",
        "0x7f000001",
        "0X7F000001",
        "0x7f.1",
        "0x",
        "2130706433",
        "017700000001",
        "1.2.3.4.5",
        "10.0.0.256",
        "192.168.1165535",
        "10.0.0.0x5",
        "host.0x7f",
        "10.0.0.5%eth0",
        "10.0.0.5%25eth0",
        "10.0.0.5%00",
        "10.0.0.5%2500",
        "10.0.0.5%",
        "10.0.0.5%2f24",
        "%31%30.0.0.5",
        "[10.0.0.5]",
        "[127.0.0.1]",
        "[10.0.0.5%eth0]",
        "[0x7f.1]",
        # Characters that a browser or IDNA converts
        "127\u30020\u30020\u30021",
        "127\uff0e0\uff0e0\uff0e1",
        "\uff11\uff12\uff17.0.0.1",
        "\u2460\u2461\u2466.0.0.1",
        "\u24dbocalhost",
        "\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54",
        "\u212aubernetes.example",
        "bmc\uff0eexample",
        "bücher.example",
        "b\u0131n.example",
        "\u0660\u0661.example",
        # Names that are not valid
        "a..b",
        "-a",
        "a-",
        "a.-b",
        ".",
        "..",
        "a b",
        "a*b",
        "*.example",
        "a,b",
        "a!b",
        "$(id)",
        "'a'",
        "a%00.example",
        "a%2eexample",
        "a" * 64,
        f"{'a.' * 126}aa",
        # IPv6 addresses that are not valid
        "[]",
        "[::g]",
        "[:::]",
        "[1::2::3]",
        "[1:2:3:4:5:6:7:8:9]",
        "[12345::]",
        "[::ffff:10.0.0.256]",
        "[::ffff:10.0.0.05]",
        "[::ffff:127.1]",
        "[v1.fe80::1]",
        "[::1%]",
        "[ ::1]",
        "[\uff12001:db8::5]",
        # Zones
        "[::1%lo]",
        "[::1%25lo]",
        "[2001:db8::5%eth0]",
        "[::ffff:10.0.0.5%eth0]",
        "[fe80::1%]",
        "[fe80::1%00]",
        "[fe80::1%2500]",
        "[fe80::1%eth0%eth1]",
        "[fe80::1%eth 0]",
        f"[fe80::1%{'a' * 33}]",
    ),
    NOT_A_URL: (
        "::1",
        "2001:db8::5",
        "10.0.0.5\x00",
        "10.0.0.5\t",
        "10.0.0.5\n",
        "10.0.0.5\u2028",
        "loc\u00adalhost",
        "10.0.0.5\u00a0",
        "\u202e10.0.0.5",
        "10.0.0.5\\",
        "10.0.0.5\\@10.0.0.6",
        "[[2001:db8::5]]",
        "[2001:db8::5",
        "2001:db8::5]",
        "[2001:db8::5].example",
        "[2001:db8::5]10.0.0.5",
        "user@[2001:db8::5]@10.0.0.6",
    ),
}

#: Hosts that are registered, and their registered form.
ACCEPTED = {
    "10.0.0.5": "10.0.0.5",
    "1.1.1.1": "1.1.1.1",
    "100.64.0.1": "100.64.0.1",
    "223.255.255.255": "223.255.255.255",
    "10.77.1.255": "10.77.1.255",
    "[::ffff:10.0.0.5]": "10.0.0.5",
    "[::FFFF:a00:5]": "10.0.0.5",
    "[2001:DB8:0:0::0005]": "2001:db8::5",
    "[fd12:3456::1]": "fd12:3456::1",
    "[2002:a00:5::1]": "2002:a00:5::1",
    "[2001:0:808:808::f5ff:fffa]": "2001:0:808:808::f5ff:fffa",
    "[2001:db8::5efe:10.0.0.5]": "2001:db8::5efe:a00:5",
    "bmc": "bmc",
    "BMC-1.Rack_7.Example.": "bmc-1.rack_7.example",
    "printer.local": "printer.local",
    "1.example": "1.example",
    "127.0.0.1.nip": "127.0.0.1.nip",
    "xn--bcher-kva.example": "xn--bcher-kva.example",
    "my-localhost.example": "my-localhost.example",
    "consul.example": "consul.example",
    "consul": "consul",
    "[fec0::1]": "fec0::1",
    "0x7g": "0x7g",
    f"{'a.' * 126}a": f"{'a.' * 126}a",
    f"{'a.' * 126}a.": f"{'a.' * 126}a",
    "a" * 63: "a" * 63,
}


def is_valid_name(name: str) -> bool:
    """Return whether a host name is valid: RFC 1123, with underscores, and not to be parsed as a number."""
    labels = name.split(".")
    letters = set("abcdefghijklmnopqrstuvwxyz0123456789_")
    return (
        len(name) <= 253
        and all(1 <= len(label) <= 63 and set(label) <= letters | {"-"} for label in labels)
        and all(label[0] in letters and label[-1] in letters for label in labels)
        and not labels[-1].isdigit()
        and not (labels[-1].startswith("0x") and set(labels[-1][2:]) <= set("0123456789abcdef"))
    )


def is_ordinary_ipv4(address: IPv4Address) -> bool:
    """Return whether an IPv4 address can be that of a device that is neither on loopback nor link-local."""
    first, second, third, last = address.packed
    return (
        first not in (0, 127)
        and first < 224
        and (first, second) != (169, 254)
        and (first, second, third) != (192, 0, 0)
        and not ((first, second, third) == (10, 77, 0) and last in (0, 255))
    )


def is_ordinary_ipv6(address: IPv6Address) -> bool:
    """Return whether an IPv6 address can be that of a device that is neither on loopback nor link-local."""
    packed = address.packed
    if packed[:2] == b"\x20\x02":
        return is_ordinary_ipv4(IPv4Address(packed[2:6]))
    if packed[:4] == b"\x20\x01\0\0":
        client = bytes(byte ^ 0xFF for byte in packed[12:])
        return is_ordinary_ipv4(IPv4Address(packed[4:8])) and is_ordinary_ipv4(IPv4Address(client))
    if packed[8:12] in (b"\0\0\x5e\xfe", b"\x02\0\x5e\xfe"):
        return is_ordinary_ipv4(IPv4Address(packed[12:]))
    return packed[0] >> 5 == 1 or packed[0] >> 1 == 0xFC >> 1 or (packed[0] == 0xFE and packed[1] >> 6 == 3)


#: IPv4 addresses, mostly at the borders of networks with a special meaning.
ipv4 = st.one_of(
    st.builds(
        lambda *octets: IPv4Address(bytes(octets)),
        st.sampled_from([0, 10, 127, 128, 169, 192, 223, 224, 239, 240, 255]),
        st.sampled_from([0, 77, 254, 255]),
        st.sampled_from([0, 169, 255]),
        st.sampled_from([0, 1, 254, 255]),
    ),
    st.ip_addresses(v=4),
).map(int)
#: IPv6 addresses that contain an IPv4 address in a standard place, and any others.
ipv6 = st.one_of(
    st.builds(
        lambda prefix, address: IPv6Address(prefix << 32 | address),
        st.sampled_from([0, 0xFFFF, 0xFFFF0000, 0x64FF9B << 64, 0x64FF9B0001 << 48, 0xFE80 << 80])
        | st.builds(
            lambda net, unique: net << 80 | unique << 25 | 0x5EFE, st.sampled_from([0x2001, 0xFD00]), st.integers(0, 1)
        ),
        ipv4,
    ),
    ipv4.map(lambda address: IPv6Address(0x2002 << 112 | address << 80 | 1)),
    st.builds(lambda server, client: IPv6Address(0x2001 << 112 | server << 64 | client ^ 0xFFFFFFFF), ipv4, ipv4),
    st.ip_addresses(v=6),
)
spellings = st.one_of(
    ipv4.map(IPv4Address).map(str),
    ipv4.map(hex),
    ipv4.map(oct),
    ipv4.map(str),
    ipv4.map(lambda address: f"{address >> 24}.{address & 0xFFFFFF}"),
    ipv4.map(lambda address: ".".join(f"{octet:#o}" for octet in IPv4Address(address).packed)),
    ipv6.map(str),
    ipv6.map(lambda address: address.exploded),
    st.sampled_from(["localhost", "bmc.example", "metadata.google.internal", "consul", "svc"]),
    st.text(max_size=20),
    st.text("0123456789abcdefx.:%[]-_@/\\kK\u212a\uff0e\u3002\u0661", max_size=20),
)
hosts = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["", "[", "[", "a@", "."]),
        spellings,
        st.sampled_from(["", "", ".", "%eth0", "%00", ".nip.example"]),
        st.sampled_from(["", "]", "]", ":80"]),
    ),
)


class HostTests(SynchronousTestCase):
    """The host of a LOCATION that another host sent."""

    def test_hostile(self) -> None:
        """Each hostile host is rejected for its reason, with and without a port and a path."""
        for reason, rejected in HOSTILE.items():
            for host in rejected:
                for location in (f"http://{host}/", f"https://{host}", f"http://{host}:8500/v1/agent/self?x#y"):
                    error = self.assertRaises(RejectedError, RULES.endpoint, location, SENDER)
                    self.assertEqual(error.reason, reason, location)

    def test_accepted(self) -> None:
        """Each other host is registered in its canonical form."""
        for host, registered in ACCEPTED.items():
            self.assertEqual(RULES.endpoint(f"http://{host}:8080/", SENDER).host, registered)

    @settings(derandomize=True, deadline=None, max_examples=1500)
    @given(hosts, st.sampled_from([SENDER, "", "::1%lo", "fe80::1%eth0", "127.0.0.1", "nonsense"]))
    @example("\u212a", SENDER)
    def test_any_host(self, host: str, sender: str) -> None:
        """Any host is rejected, or registered as a canonical address of a device or as a valid name."""
        try:
            registered = RULES.endpoint(f"http://{host}/", sender).host
        except RejectedError:
            return
        try:
            address = ip_address(registered)
        except ValueError:
            self.assertTrue(is_valid_name(registered), registered)
            self.assertNotEqual(registered, "localhost")
            return
        self.assertEqual(str(address), registered)
        if address.is_loopback:
            self.assertIn(sender, ("127.0.0.1", "::1%lo"))
        elif address == ip_address("fe80::1"):
            self.assertEqual(sender, "fe80::1%eth0")
        elif isinstance(address, IPv4Address):
            self.assertTrue(is_ordinary_ipv4(address), registered)
        else:
            self.assertTrue(is_ordinary_ipv6(address), registered)

    def test_ordinary_addresses(self) -> None:
        """An address that needs no further checks is one that the checks accept, of any sender."""
        known = 0
        for first in range(256):
            for second in (*range(0, 256, 5), 88, 63, 254):
                for rest in ("0.0", "0.1", "170.23", "255.255"):
                    address = IPv4Address(f"{first}.{second}.{rest}")
                    if is_ordinary(int(address)):
                        known += 1
                        check_address(address, None, frozenset())
        self.assertGreater(known, 40_000)
        for text in ("10.0.0.1", "192.168.0.1", "172.16.0.1"):
            self.assertTrue(is_ordinary(int(IPv4Address(text))))
        for text in (
            "127.0.0.1",
            "169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "0.0.0.1",
            "192.0.0.1",
            "224.0.0.1",
        ):
            self.assertFalse(is_ordinary(int(IPv4Address(text))))

    @settings(derandomize=True, deadline=None, max_examples=700)
    @given(ipv6)
    def test_any_ipv6_address(self, address: IPv6Address) -> None:
        """The addresses that are registered are exactly those of devices."""
        ordinary = is_ordinary_ipv6(address) if address.ipv4_mapped is None else is_ordinary_ipv4(address.ipv4_mapped)
        try:
            RULES.endpoint(f"http://[{address}]/", SENDER)
        except RejectedError:
            self.assertFalse(ordinary, address)
        else:
            self.assertTrue(ordinary, address)

    @settings(derandomize=True, deadline=None, max_examples=500)
    @given(st.text(max_size=60).map("http://".__add__) | st.text(max_size=60))
    def test_any_text(self, location: str) -> None:
        """Any text is an endpoint, or raises RejectedError."""
        try:
            endpoint = RULES.endpoint(location, SENDER)
        except RejectedError:
            return
        self.assertIn(endpoint.scheme, ("http", "https"))
        self.assertTrue(endpoint.host.isascii() and 1 <= endpoint.port <= 65535)


class DocumentationTests(SynchronousTestCase):
    """Tests for the section on LOCATION in ``docs/configuration.md``."""

    def test_examples(self) -> None:
        """Each example of a host that is never registered is rejected."""
        rules = LocationRules(
            [ip_network("0.0.0.0/0"), ip_network("::/0")], lambda: broadcast_addresses([ip_network("10.20.0.0/16")])
        )
        page = (paths.ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
        rows = re.findall(
            r"^\| .* \| (.*) \|$", page.partition("\n### LOCATION\n")[2].partition("\n##")[0], re.MULTILINE
        )
        examples = [host for row in rows for host in re.findall(r"`(.*?)`", row)]
        self.assertGreater(len(examples), 20)
        for host in examples:
            self.assertRaises(RejectedError, rules.endpoint, f"http://{host}/", SENDER)


class MetadataTests(SynchronousTestCase):
    """Addresses of servers that give credentials to cloud machines."""

    def test_own_address(self) -> None:
        """They are rejected even as the sender's own address: any host of a link can use a link-local address."""
        for address in (
            "169.254.169.254",
            "169.254.170.2",
            "169.254.170.23",
            "100.100.100.200",
            "168.63.129.16",
            "fd00:ec2::23",
            "fd00:ec2::254",
            "fd20:ce::254",
        ):
            host = f"[{address}]" if ":" in address else address
            error = self.assertRaises(RejectedError, RULES.endpoint, f"http://{host}/", address)
            self.assertEqual(error.reason, NO_HOST_ADDRESS)


class EmbeddedAddressesTests(SynchronousTestCase):
    """Tests for :func:`embedded_addresses`."""

    def test_embedded(self) -> None:
        """The IPv4 addresses of 6to4, Teredo and ISATAP are found."""
        for text, embedded in {
            "10.0.0.5": [],
            "2001:db8::5": [],
            "2002:a00:5::1": ["10.0.0.5"],
            "2001:0:808:808::f5ff:fffa": ["8.8.8.8", "10.0.0.5"],
            "2001:db8::5efe:a00:5": ["10.0.0.5"],
            "fe80::200:5efe:a00:5": ["10.0.0.5"],
            "2001:db8::300:5efe:a00:5": [],
        }.items():
            self.assertEqual([str(each) for each in embedded_addresses(ip_address(text))], embedded, text)


class BroadcastAddressesTests(SynchronousTestCase):
    """Tests for :func:`broadcast_addresses`."""

    def test_networks(self) -> None:
        """The lowest and the highest address of each IPv4 network that has both besides its hosts."""
        networks = ["10.0.0.0/8", "192.0.2.0/30", "192.0.2.8/31", "192.0.2.16/32", "2001:db8::/64"]
        self.assertEqual(
            broadcast_addresses(map(ip_network, networks)),
            {"10.0.0.0", "10.255.255.255", "192.0.2.0", "192.0.2.3"},
        )
        self.assertEqual(broadcast_addresses([]), frozenset())
