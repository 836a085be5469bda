"""Tests for :mod:`ssdpreg.ssdp.codec`."""

from __future__ import annotations

import contextlib
from sys import getsizeof

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.location import LocationRules
from ssdpreg.errors import HeaderError, MessageError, RejectedError, StartLineError
from ssdpreg.ssdp.codec import OVERLONG_LOCATION, USER_AGENT, decode, encode
from ssdpreg.ssdp.messages import Alive, ByeBye, Message, SearchRequest, SearchResponse, Update


def lines(*texts: str, end: str = "\r\n") -> bytes:
    """Return a datagram of these lines, with an empty line at its end."""
    return end.join([*texts, "", ""]).encode()


ALIVE = ("NOTIFY * HTTP/1.1", "HOST: 239.255.255.250:1900", "NTS: ssdp:alive", "NT: urn:a", "USN: uuid:1::urn:a")

#: Recorded datagrams of real devices, with the message that each is decoded to.
DEVICES: dict[str, tuple[bytes, Message]] = {
    "a Hue bridge": (
        lines(
            "NOTIFY * HTTP/1.1",
            "HOST: 239.255.255.250:1900",
            "CACHE-CONTROL: max-age=100",
            "LOCATION: http://192.168.2.100:80/description.xml",
            "SERVER: Linux/3.14.0 UPnP/1.0 IpBridge/1.19.0",
            "NTS: ssdp:alive",
            "hue-bridgeid: 001788FFFE09A206",
            "NT: upnp:rootdevice",
            "USN: uuid:2f402f80-da50-11e1-9b23-00178809a206::upnp:rootdevice",
        ),
        Alive(
            "upnp:rootdevice",
            "uuid:2f402f80-da50-11e1-9b23-00178809a206::upnp:rootdevice",
            "http://192.168.2.100:80/description.xml",
            100,
            "Linux/3.14.0 UPnP/1.0 IpBridge/1.19.0",
        ),
    ),
    "a Roku, whose device ID has colons": (
        lines(
            "HTTP/1.1 200 OK",
            "Cache-Control: max-age=3600",
            "ST: roku:ecp",
            "USN: uuid:roku:ecp:1GU48T017973",
            "Ext:",
            "Server: Roku/9.3.0 UPnP/1.0 Roku/9.3.0",
            "LOCATION: http://192.168.1.134:8060/",
        ),
        SearchResponse(
            "roku:ecp",
            "uuid:roku:ecp:1GU48T017973",
            "http://192.168.1.134:8060/",
            3600,
            "Roku/9.3.0 UPnP/1.0 Roku/9.3.0",
        ),
    ),
    "a Redfish service, which has AL and no LOCATION": (
        lines(
            "HTTP/1.1 200 OK",
            "CACHE-CONTROL:max-age=1800",
            "ST:urn:dmtf-org:service:redfish-rest:1:9",
            "USN:uuid:92384634-2938-2342-8820-489239905423::urn:dmtf-org:service:redfish-rest:1:9",
            "AL:https://10.0.0.5/redfish/v1/",
            'EXT:""',
        ),
        SearchResponse(
            "urn:dmtf-org:service:redfish-rest:1:9",
            "uuid:92384634-2938-2342-8820-489239905423::urn:dmtf-org:service:redfish-rest:1:9",
            "https://10.0.0.5/redfish/v1/",
            1800,
        ),
    ),
    "a Windows network hub device, whose LOCATION is a star": (
        lines(
            "NOTIFY * HTTP/1.1",
            "Host:239.255.255.250:1900",
            "NT:urn:microsoft-com:nhed:presence:1",
            "NTS:ssdp:alive",
            "Location:*",
            "USN:uuid:49b0e4d6::urn:microsoft-com:nhed:presence:1",
            "Cache-Control:max-age=14400",
            "AL:<urn:microsoft-com:nhed:attributes?type=X02&mode=1>",
        ),
        Alive(
            "urn:microsoft-com:nhed:presence:1",
            "uuid:49b0e4d6::urn:microsoft-com:nhed:presence:1",
            "*",
            14400,
        ),
    ),
    "a byebye of a FRITZ!Box": (
        lines(
            "NOTIFY * HTTP/1.1",
            "HOST: 239.255.255.250:1900",
            "NT: urn:schemas-upnp-org:device:InternetGatewayDevice:1",
            "NTS: ssdp:byebye",
            "USN: uuid:75802409::urn:schemas-upnp-org:device:InternetGatewayDevice:1",
        ),
        ByeBye(
            "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
            "uuid:75802409::urn:schemas-upnp-org:device:InternetGatewayDevice:1",
        ),
    ),
    "a UPnP 1.1 device about to boot": (
        lines(
            "NOTIFY * HTTP/1.1",
            "HOST: 239.255.255.250:1900",
            "LOCATION: http://10.0.0.9/",
            "NT: urn:a",
            "NTS: ssdp:update",
            "USN: uuid:1::urn:a",
            "BOOTID.UPNP.ORG: 1",
            "NEXTBOOTID.UPNP.ORG: 2",
        ),
        Update("urn:a", "uuid:1::urn:a", "1", "2"),
    ),
    "a multicast search of a control point": (
        lines("M-SEARCH * HTTP/1.1", "HOST: 239.255.255.250:1900", 'MAN: "ssdp:discover"', "MX: 120", "ST: ssdp:all"),
        SearchRequest("ssdp:all", 5),
    ),
    "a unicast search of a control point": (
        lines("M-SEARCH * HTTP/1.1", "HOST: 10.0.0.9:1900", 'MAN: "ssdp:discover"', "ST: ssdp:all"),
        SearchRequest("ssdp:all", None),
    ),
}


class DecodeTests(SynchronousTestCase):
    """Tests for :func:`decode`."""

    def test_recorded_datagrams(self) -> None:
        """Recorded datagrams are decoded to the expected messages."""
        for device, (datagram, message) in DEVICES.items():
            self.assertEqual(decode(datagram), message, device)

    def test_tolerated_variants(self) -> None:
        """Differences in line ends, case, spaces, order, unknown lines and the end of the message change nothing."""
        plain = Alive("urn:a", "uuid:1::urn:a", "http://10.0.0.9/", 1800)
        fields = ("CACHE-CONTROL: max-age=1800", "LOCATION: http://10.0.0.9/")
        variants = {
            "conforming": lines(*ALIVE, *fields),
            "LF alone": lines(*ALIVE, *fields, end="\n"),
            "no empty line": "\r\n".join([*ALIVE, *fields]).encode(),
            "empty lines first": b"\r\n\r\n" + lines(*ALIVE, *fields),
            "other case of names": lines(*ALIVE, "cache-control: MAX-AGE=1800", "Location: http://10.0.0.9/"),
            "spaces": lines(*ALIVE, "CACHE-CONTROL  :\tmax-age = 1800  ", "LOCATION:http://10.0.0.9/ "),
            "quotes": lines(*ALIVE, 'CACHE-CONTROL: no-cache="Ext", max-age="1800"', fields[1]),
            "a line without a colon": lines(*ALIVE, "Dell 1815dn", *fields),
            "a field without a name": lines(*ALIVE, ": nothing", *fields),
            "names whose capitals are ASCII": lines(
                *ALIVE, "LOCAT\u0131ON: http://10.0.0.10/", "\u017ferver: x", "Cache-Control: max-age=1800", fields[1]
            ),
            "duplicate fields": lines(*ALIVE, *fields, "LOCATION: http://10.0.0.10/", "Cache-Control: max-age=5"),
            "folded": lines(*ALIVE, "CACHE-CONTROL:", " max-age=1800", "LOCATION:", "\thttp://10.0.0.9/"),
            "folded line after the start line": lines(ALIVE[0], " folded", *ALIVE[1:], *fields),
            "folded line of a duplicate field": lines(*ALIVE, *fields, "LOCATION: x", " y"),
            "a body": lines(*ALIVE, *fields) + b"LOCATION: http://10.0.0.10/\r\nSERVER: body\r\n\r\n",
            "start line in lower case": lines("notify * http/1.1", *ALIVE[1:], *fields),
            "HTTP/1.0": lines("NOTIFY * HTTP/1.0", *ALIVE[1:], *fields),
            "a space after the start line": lines("NOTIFY * HTTP/1.1 ", *ALIVE[1:], *fields),
            "NTS in capitals": lines(*ALIVE[:2], "NTS: SSDP:ALIVE", *ALIVE[3:], *fields),
            "NTS in quotes": lines(*ALIVE[:2], 'NTS: "ssdp:alive"', *ALIVE[3:], *fields),
            "longer than a cached datagram": lines(*ALIVE, *fields, "X-PAD: " + "x" * 4000),
        }
        for name, datagram in variants.items():
            self.assertEqual(decode(datagram), plain, name)

    def test_other_encoding(self) -> None:
        """A value that is not UTF-8 is decoded as Latin-1, and the message is accepted."""
        message = decode(lines(*ALIVE)[:-2] + b"SERVER: M\xfcller\r\n\r\n")
        self.assertEqual(message, Alive("urn:a", "uuid:1::urn:a", server="Müller"))

    def test_max_age(self) -> None:
        """Numbers are read as they are, those of more than ten digits as 10**10, and other values as None."""
        for value, seconds in {
            "max-age=0": 0,
            "max-age=00060": 60,
            "max-age=4294967296": 4294967296,
            "max-age=" + "9" * 5000: 10**10,
            "max-age=-1": None,
            "max-age=": None,
            "s-max-age=5": None,
            "1800": None,
        }.items():
            message = decode(lines(*ALIVE, f"CACHE-CONTROL: {value}"))
            assert isinstance(message, Alive)
            self.assertEqual(message.max_age, seconds, value[:20])

    def test_al(self) -> None:
        """LOCATION is the first http URL of AL, which is a URL or a list of URIs in angle brackets."""
        for value, url in {
            "https://10.0.0.5/redfish/v1/": "https://10.0.0.5/redfish/v1/",
            "<urn:x><http://10.0.0.5:80/a><http://b/>": "http://10.0.0.5:80/a",
            "HTTPS://10.0.0.5/": "HTTPS://10.0.0.5/",
            "<blender:ixl>": "",
        }.items():
            message = decode(lines(*ALIVE, f"AL: {value}", "LOCATION:"))
            assert isinstance(message, Alive)
            self.assertEqual(message.location, url)

    def test_other_start_lines(self) -> None:
        """Start lines other than NOTIFY, M-SEARCH and a reply with status 200 are rejected."""
        for start in (
            "",
            "NOTIFY /path HTTP/1.1",
            "GET * HTTP/1.1",
            "HTTP/1.1 404 Not Found",
            "HTTP/1.1 2000 OK",
            "NOTIFY * HTTP/2",
            "\x16\x03\x01",
        ):
            with self.assertRaises(StartLineError):
                decode(lines(start, *ALIVE[1:]))

    def test_error_texts(self) -> None:
        """The error of a start line or an NTS has its first 80 characters."""
        for datagram, text in (
            (lines("x" * 200, *ALIVE[1:]), f"unknown start line '{'x' * 80}'"),
            (lines(*ALIVE[:2], f"NTS: {'x' * 200}", *ALIVE[3:]), f"NTS: unknown '{'x' * 80}'"),
        ):
            with self.assertRaises(MessageError) as caught:
                decode(datagram)
            self.assertEqual(str(caught.exception), text)

    def test_mx(self) -> None:
        """An MX above 5 is read as 5, and one that is no number as none."""
        for value, mx in (("0", 0), ("0004", 4), ("5", 5), ("6", 5), ("9" * 5000, 5), ("-1", None), ("1.5", None)):
            search = decode(lines("M-SEARCH * HTTP/1.1", 'MAN: "ssdp:discover"', f"MX: {value}", "ST: urn:a"))
            self.assertEqual(search, SearchRequest("urn:a", mx))

    def test_start_line_decides_kind(self) -> None:
        """A search that has all the fields of an announcement is decoded as a search."""
        fields = (*ALIVE[1:], "LOCATION: http://10.0.0.9/", 'MAN: "ssdp:discover"', "MX: 1", "ST: urn:b")
        self.assertEqual(decode(lines("M-SEARCH * HTTP/1.1", *fields)), SearchRequest("urn:b", 1))

    def test_required_fields(self) -> None:
        """A message without a required field, or with an unknown value of NTS or MAN, is rejected."""
        for name in ("NT", "NTS", "USN"):
            with self.assertRaises(HeaderError) as caught:
                decode(lines(*(line for line in ALIVE if not line.startswith(f"{name}:"))))
            self.assertEqual(caught.exception.name, name)
        with self.assertRaises(HeaderError):
            decode(lines(*ALIVE[:2], "NTS: ssdp:propchange", *ALIVE[3:]))
        with self.assertRaises(HeaderError):
            decode(lines("M-SEARCH * HTTP/1.1", "MAN: ssdp:other", "ST: ssdp:all"))
        with self.assertRaises(HeaderError):
            decode(lines("HTTP/1.1 200 OK", "ST: urn:a"))

    def test_long_values(self) -> None:
        """A message with a long NT or USN is rejected, and a long SERVER is truncated."""
        for name in ("NT", "USN"):
            with self.assertRaises(HeaderError):
                decode(lines(*(f"{name}: {'x' * 513}" if line.startswith(f"{name}:") else line for line in ALIVE)))
        message = decode(lines(*ALIVE, f"SERVER: {'x' * 60000}"))
        self.assertEqual(message, Alive("urn:a", "uuid:1::urn:a", server="x" * 512))

    def test_wide_characters(self) -> None:
        """A value with characters outside ASCII may have a quarter of the length: each may need four bytes."""
        for name in ("NT", "USN"):
            with self.assertRaises(HeaderError):
                decode(lines(*(f"{name}: {'ü' * 129}" if line.startswith(f"{name}:") else line for line in ALIVE)))
        for character, longest in (("x", 512), ("ü", 128)):
            # The cut leaves no blank at the end, which the message would not have when it is decoded again.
            message = decode(lines(*ALIVE, f"SERVER: {character * (longest - 2)}  {character}"))
            self.assertEqual(getattr(message, "server", ""), character * (longest - 2))
            self.assertEqual(decode(encode(message)), message)
        message = decode(lines(*ALIVE, f"SERVER: {'ü' * 600}", f"LOCATION: {'ü' * 512}"))
        self.assertEqual(message, Alive("urn:a", "uuid:1::urn:a", "ü" * 512, server="ü" * 128))

    def test_long_location(self) -> None:
        """A LOCATION or AL that is too long is replaced by one constant, which cannot be registered."""
        for name in ("LOCATION", "AL"):
            for value in ("http://" + "x" * 2042, "http://" + "x" * 60000, "http://" + "ü" * 506):
                message = decode(lines(*ALIVE, f"{name}: {value}"))
                assert isinstance(message, Alive)
                self.assertIs(message.location, OVERLONG_LOCATION)
            longest = "http://" + "x" * 2041
            self.assertEqual(len(OVERLONG_LOCATION), len(longest) + 1)
            self.assertEqual(decode(lines(*ALIVE, f"{name}: {longest}")), Alive("urn:a", "uuid:1::urn:a", longest))
        with self.assertRaises(RejectedError) as caught:
            LocationRules([]).endpoint(OVERLONG_LOCATION, "10.0.0.9")
        self.assertEqual(caught.exception.reason, "LOCATION is too long")

    def test_longest_message(self) -> None:
        """The values of a message of the longest values need less than 4 kB."""
        for character, factor in (("x", 4), ("\U0001f600", 1)):
            urn, location = character * 128 * factor, character * 512 * factor
            message = decode(lines(*ALIVE[:3], f"NT: {urn}", f"USN: {urn}", f"LOCATION: {location}", f"SERVER: {urn}"))
            assert isinstance(message, Alive)
            values = (message.nt, message.usn, message.location, message.server)
            self.assertEqual([len(value) for value in values], [128 * factor, 128 * factor, 512 * factor, 128 * factor])
            self.assertLess(sum(map(getsizeof, values)), 4096)

    def test_many_lines(self) -> None:
        """Only the first 128 lines are parsed."""
        fields = [f"X-{number}: x" for number in range(200)]
        with self.assertRaises(HeaderError):
            decode(lines(ALIVE[0], *fields[:125], *ALIVE[1:]))
        self.assertEqual(decode(lines(ALIVE[0], *fields[:124], *ALIVE[1:])), decode(lines(*ALIVE)))
        self.assertEqual(decode(lines(*ALIVE, *fields)), decode(lines(*ALIVE)))

    def test_boot_id(self) -> None:
        """
        BOOTID is a number below 2^31, without regard to leading zeros. Anything else is regarded as absent.

        A device of UDA 1.0 has NLS in its place, whose prefix OPT declares.
        """
        opt = 'OPT: "http://schemas.upnp.org/upnp/1/0/"; ns='
        for fields, boot_id in (
            (["BOOTID.UPNP.ORG: 0"], "0"),
            (["bootid.upnp.org: 0017"], "17"),
            (["BOOTID.UPNP.ORG: 2147483647"], "2147483647"),
            (["BOOTID.UPNP.ORG: 2147483648"], ""),
            (["BOOTID.UPNP.ORG: " + "9" * 5000], ""),
            (["BOOTID.UPNP.ORG: -1"], ""),
            (["BOOTID.UPNP.ORG: one"], ""),
            (["BOOTID.UPNP.ORG:"], ""),
            ([f"{opt}01", "01-NLS: c0de"], "c0de"),
            ([f"{opt}42", "01-NLS: c0de", "42-NLS: " + "x" * 100], "x" * 64),
            ([f"{opt}01", "01-NLS: 5", "BOOTID.UPNP.ORG: 7"], "7"),
            (['OPT: "HTTP://schemas.UPnP.org/upnp/1/0/" ; NS = 01', "01-NLS: c0de"], "c0de"),
            (["01-NLS: c0de"], ""),
            (['OPT: "http://example.org/"; ns=01', "01-NLS: c0de"], ""),
        ):
            for start in ("HTTP/1.1 200 OK", "NOTIFY * HTTP/1.1"):
                message = decode(lines(start, "ST: a", "NT: a", "NTS: ssdp:alive", "USN: uuid:1::a", *fields))
                assert isinstance(message, Alive | SearchResponse)
                self.assertEqual(message.boot_id, boot_id, fields)

    def test_config_id_and_search_port(self) -> None:
        """CONFIGID has 24 bits, and SEARCHPORT is 49152 to 65535. Others are regarded as absent."""
        for config_id, search_port, expected in (
            ("0", "49152", (0, 49152)),
            ("16777215", "65535", (16777215, 65535)),
            ("16777216", "65536", (None, None)),
            ("x", "49151", (None, None)),
            ("", "1900", (None, None)),
        ):
            message = decode(
                lines(
                    "NOTIFY * HTTP/1.1",
                    "NT: a",
                    "NTS: ssdp:alive",
                    "USN: uuid:1::a",
                    f"CONFIGID.UPNP.ORG: {config_id}",
                    f"SEARCHPORT.UPNP.ORG: {search_port}",
                )
            )
            assert isinstance(message, Alive)
            self.assertEqual((message.config_id, message.search_port), expected)

    def test_secure_location(self) -> None:
        """SECURELOCATION changes nothing: it can name another host than LOCATION."""
        alive = ["NOTIFY * HTTP/1.1", "NT: a", "NTS: ssdp:alive", "USN: uuid:1::a", "LOCATION: http://10.0.0.9/"]
        other = "SECURELOCATION.UPNP.ORG: https://10.0.0.66:8443/"
        self.assertEqual(decode(lines(*alive, other)), decode(lines(*alive)))
        self.assertEqual(decode(lines(*alive[:-1], other)), Alive("a", "uuid:1::a"))

    def test_update_with_invalid_boot_ids(self) -> None:
        """An update whose NEXTBOOTID is absent or not above BOOTID has neither."""
        for fields in (
            [],
            ["BOOTID.UPNP.ORG: 1"],
            ["NEXTBOOTID.UPNP.ORG: 2"],
            ["BOOTID.UPNP.ORG: 2", "NEXTBOOTID.UPNP.ORG: 2"],
            ["BOOTID.UPNP.ORG: 3", "NEXTBOOTID.UPNP.ORG: 2"],
            ["BOOTID.UPNP.ORG: 1", "NEXTBOOTID.UPNP.ORG: 2147483648"],
        ):
            update = lines("NOTIFY * HTTP/1.1", "NT: a", "NTS: ssdp:update", "USN: uuid:1::a", *fields)
            self.assertEqual(decode(update), Update("a", "uuid:1::a"), fields)

    def test_reply_with_nt(self) -> None:
        """A reply with NT in place of ST is accepted."""
        self.assertEqual(decode(lines("HTTP/1.1 200 OK", *ALIVE[1:])), SearchResponse("urn:a", "uuid:1::urn:a"))

    @settings(derandomize=True, deadline=None, max_examples=300)
    @given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda junk: lines(*ALIVE) + junk))
    def test_any_datagram(self, datagram: bytes) -> None:
        """Any datagram is decoded or raises a MessageError."""
        with contextlib.suppress(MessageError):
            decode(datagram)

    @settings(derandomize=True, deadline=None, max_examples=300)
    @given(
        st.lists(
            st.tuples(st.sampled_from(["NT", "USN", "NTS", "LOCATION", "CACHE-CONTROL", "AL", ""]), st.text()),
            max_size=8,
        )
    )
    def test_any_values(self, fields: list[tuple[str, str]]) -> None:
        """A message with any header fields is decoded or raises a MessageError."""
        text = "".join(f"{name}:{value}\r\n" for name, value in fields)
        with contextlib.suppress(MessageError):
            decode(f"NOTIFY * HTTP/1.1\r\nNTS: ssdp:alive\r\n{text}".encode(errors="replace"))


class EncodeTests(SynchronousTestCase):
    """Tests for :func:`encode`."""

    def test_search(self) -> None:
        """A search has the quotes, line ends and empty line that strict devices require."""
        self.assertEqual(
            encode(SearchRequest("ssdp:all", 3)),
            lines(
                "M-SEARCH * HTTP/1.1",
                "HOST: 239.255.255.250:1900",
                'MAN: "ssdp:discover"',
                "MX: 3",
                "ST: ssdp:all",
                f"USER-AGENT: {USER_AGENT}",
            ),
        )

    def test_default_mx(self) -> None:
        """A search gives devices 3 s to reply, unless another time is given."""
        self.assertIn(b"\r\nMX: 3\r\n", encode(SearchRequest("ssdp:all")))

    def test_unicast_search(self) -> None:
        """A search of one host has its address in HOST, and no MX."""
        datagram = encode(SearchRequest("ssdp:all", None), ("10.0.0.9", 1900))
        self.assertIn(b"\r\nHOST: 10.0.0.9:1900\r\n", datagram)
        self.assertNotIn(b"MX", datagram)

    def test_ipv6_host(self) -> None:
        """HOST of a recipient over IPv6 is in brackets, without a zone, and that of a group in capitals."""
        for address, host in (
            ("ff02::c", "[FF02::C]:1900"),
            ("ff05::c", "[FF05::C]:1900"),
            ("2001:db8::a", "[2001:db8::a]:1900"),
            ("fe80::1%eth0", "[fe80::1]:1900"),
        ):
            self.assertIn(f"\r\nHOST: {host}\r\n".encode(), encode(SearchRequest("a"), (address, 1900)))

    def test_user_agent(self) -> None:
        """USER-AGENT has three tokens: operating system, UPnP and product, each with a version."""
        self.assertEqual([token.count("/") for token in USER_AGENT.split(" ")], [1, 1, 1])

    def test_round_trip(self) -> None:
        """An encoded message is decoded to an equal one."""
        for message in (
            Alive("urn:a", "uuid:1::urn:a", "http://10.0.0.9/", 30, "a/1 UPnP/1.0 b/2"),
            SearchResponse("urn:a", "uuid:1::urn:a", "http://10.0.0.9/", 30, "a/1 UPnP/1.0 b/2"),
            ByeBye("urn:a", "uuid:1::urn:a"),
            Update("urn:a", "uuid:1::urn:a"),
            SearchRequest("urn:a", 5),
            SearchRequest("urn:a", None),
        ):
            self.assertEqual(decode(encode(message)), message)

    def test_round_trip_of_numbers(self) -> None:
        """BOOTID, CONFIGID and SEARCHPORT are serialized as well."""
        for message in (
            Alive("a", "uuid:1::a", "http://h/", 1800, "s", "0", 0, 50000),
            SearchResponse("a", "uuid:1::a", "http://h/", 1800, "s", "7", 8, 65535),
            Update("a", "uuid:1::a", "7", "8"),
        ):
            self.assertEqual(decode(encode(message)), message)

    def test_line_end_in_a_value(self) -> None:
        """A message with a line end in a value is rejected."""
        with self.assertRaises(HeaderError):
            encode(ByeBye("urn:a\r\nNTS: ssdp:alive", "uuid:1"))
