"""
Forms of datagrams that deviate from the UPnP Device Architecture, with what the daemon makes of each.

The forms are those of real devices and of the errata in ``docs/conformance.md``. Each row changes one valid datagram.
"""

from __future__ import annotations

from ipaddress import ip_network

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.interpret import Rejection, interpret
from ssdpreg.discovery.location import LocationRules
from ssdpreg.discovery.search_terms import SearchTerms
from ssdpreg.errors import HeaderError, MessageError, StartLineError
from ssdpreg.ssdp.codec import decode
from ssdpreg.ssdp.messages import Alive, SearchResponse

NT = "urn:schemas-upnp-org:device:Basic:1"
USN = f"uuid:D::{NT}"
LOCATION = "http://10.0.0.5:80/d.xml"
FIELDS = {
    "HOST": "239.255.255.250:1900",
    "CACHE-CONTROL": "max-age=1801",
    "LOCATION": LOCATION,
    "NT": NT,
    "NTS": "ssdp:alive",
    "USN": USN,
    "SERVER": "a/1 UPnP/1.0 b/2",
}
TERMS = SearchTerms({NT: "X"})
LOCATIONS = LocationRules([ip_network("0.0.0.0/0"), ip_network("::/0")])


def notify(*changes: str, start: str = "NOTIFY * HTTP/1.1") -> bytes:
    """
    Return an announcement with some of its lines replaced.

    :param changes: Lines in place of the fields with the same names. A line that ends with ``-`` removes its field, as
        in ``HOST-``. Several lines in one text stay together.
    """
    lines = {name: f"{name}: {value}" for name, value in FIELDS.items()}
    for change in changes:
        name = change.lstrip().split(":")[0].rstrip(" -").upper()
        lines[name] = "" if change.endswith("-") else change
    text = "\r\n".join([start, *(line for line in lines.values() if line), "", ""])
    return text.encode("latin-1")


def reply(start: str, *changes: str) -> bytes:
    """Return a reply with a start line."""
    return notify("NT-", "NTS-", f"ST: {NT}", *changes, start=start)


#: Forms that lead to the same service at the same address with the same lifetime.
ACCEPTED = {
    "HTTP/1.0": notify(start="NOTIFY * HTTP/1.0"),
    "start line in lower case": notify(start="notify * http/1.1"),
    "blank after the start line": notify(start="NOTIFY * HTTP/1.1 "),
    "several blanks in the start line": notify(start="NOTIFY  *   HTTP/1.1"),
    "tabs in the start line": notify(start="NOTIFY\t*\tHTTP/1.1"),
    "blanks before the start line": b"  " + notify(),
    "empty lines before the start line": b"\r\n\r\n" + notify(),
    "reply without a reason": reply("HTTP/1.1 200"),
    "reply with another reason": reply("HTTP/1.0 200 Ok, here I am"),
    "reply with several blanks": reply("HTTP/1.1  200  OK"),
    "reply in lower case": reply("http/1.1 200 ok"),
    "reply with NT in place of ST": notify(start="HTTP/1.1 200 OK"),
    "reply with NTS": reply("HTTP/1.1 200 OK", "NTS: ssdp:alive"),
    "reply with ST and NT": reply("HTTP/1.1 200 OK", "NT: urn:other"),
    "empty EXT": reply("HTTP/1.1 200 OK", "EXT:"),
    "EXT in quotes": reply("HTTP/1.1 200 OK", 'EXT: ""'),
    "broken DATE": reply("HTTP/1.1 200 OK", "DATE: Thu, 01 Jan 1970"),
    "LF": notify().replace(b"\r\n", b"\n"),
    "CR CR LF": notify().replace(b"\r\n", b"\r\r\n"),
    "LF CR": notify().replace(b"\r\n", b"\n\r"),
    "no empty line": notify()[:-2],
    "no line end": notify()[:-4],
    "LF and no line end": notify().replace(b"\r\n", b"\n")[:-2],
    "NUL at the end": notify() + b"\0",
    "body": notify() + b"NTS: ssdp:byebye\r\n<x/>",
    "no HOST": notify("HOST-"),
    "HOST without a port": notify("HOST: 239.255.255.250"),
    "HOST of IPv6": notify("HOST: [FF02::C]:1900"),
    "names in lower case": notify(*(f"{name.lower()}: {value}" for name, value in FIELDS.items())),
    "names in mixed case": notify(*(f"{name.title()}: {value}" for name, value in FIELDS.items())),
    "no blank after the colon": notify(*(f"{name}:{value}" for name, value in FIELDS.items())),
    "many blanks": notify(*(f"{name}:   {value}   " for name, value in FIELDS.items())),
    "tabs": notify(*(f"{name}:\t{value}\t" for name, value in FIELDS.items())),
    "blanks before the colon": notify(*(f"{name} : {value}" for name, value in FIELDS.items())),
    "folded LOCATION": notify(f"LOCATION:\r\n {LOCATION}"),
    "folded SERVER": notify("SERVER: a/1\r\n\tUPnP/1.0\r\n b/2"),
    "field on the line of another": notify("HOST: 239.255.255.250:1900\r\n LOCATION: http://10.0.0.66/"),
    "repeated LOCATION": notify(f"LOCATION: {LOCATION}\r\nLocation: http://10.0.0.66/"),
    "empty LOCATION before another": notify(f"LOCATION:\r\nLOCATION: {LOCATION}"),
    "line without a colon": notify("HOST: 239.255.255.250:1900\r\nDell Laser MFP 1815dn"),
    "line with nothing but a colon": notify("HOST: 239.255.255.250:1900\r\n: x\r\n:"),
    "NTS in capitals": notify("NTS: SSDP:ALIVE"),
    "NTS in quotes": notify('NTS: "ssdp:alive"'),
    "UUID: in capitals": notify(f"USN: UUID:D::{NT}"),
    "blank in the USN": notify(f"USN: uuid: D ::{NT}"),
    "USN without a type": notify("USN: uuid:D"),
    "scheme in capitals": notify("LOCATION: HTTP://10.0.0.5:80/d.xml"),
    "default port": notify("LOCATION: http://10.0.0.5"),
    "empty port": notify("LOCATION: http://10.0.0.5:/d.xml"),
    "zeros before the port": notify("LOCATION: http://10.0.0.5:00080/d.xml"),
    "blank in the path": notify("LOCATION: http://10.0.0.5:80/my d.xml"),
    "Latin-1 in the path": notify("LOCATION: http://10.0.0.5:80/\xfc.xml"),
    "query with a URL": notify("LOCATION: http://10.0.0.5/d?u=http://x@10.0.0.66:1/"),
    "AL in place of LOCATION": notify("LOCATION-", f"AL: {LOCATION}"),
    "list in AL": notify("LOCATION-", f"AL: <urn:x><{LOCATION}>"),
    "empty LOCATION and AL": notify("LOCATION:", f"AL: {LOCATION}"),
    "blanks in max-age": notify("CACHE-CONTROL: max-age = 1801"),
    "max-age in capitals": notify("CACHE-CONTROL: MAX-AGE=1801"),
    "max-age in quotes": notify('CACHE-CONTROL: max-age="1801"'),
    "max-age in single quotes": notify("CACHE-CONTROL: max-age='1801'"),
    "several directives": notify('CACHE-CONTROL: no-cache="Ext", max-age = 1801, must-revalidate'),
    "directives with semicolons": notify("CACHE-CONTROL: public;max-age=1801"),
    "unit after max-age": notify("CACHE-CONTROL: max-age=1801s"),
    "fraction of max-age": notify("CACHE-CONTROL: max-age=1801.5"),
    "zeros before max-age": notify("CACHE-CONTROL: max-age=0001801"),
}

#: Forms of CACHE-CONTROL without a readable lifetime.
DEFAULT_LIFETIME = ("CACHE-CONTROL-", "CACHE-CONTROL:", "CACHE-CONTROL: no-cache", "CACHE-CONTROL: max-age=-1")

#: Forms that are dropped, with the error.
DROPPED: dict[str, tuple[bytes, type[MessageError]]] = {
    "another path": (notify(start="NOTIFY /x HTTP/1.1"), StartLineError),
    "no version": (notify(start="NOTIFY *"), StartLineError),
    "HTTP/2": (notify(start="NOTIFY * HTTP/2"), StartLineError),
    "another status": (reply("HTTP/1.1 404 Not Found"), StartLineError),
    "status of four digits": (reply("HTTP/1.1 2000 OK"), StartLineError),
    "UTF-16": (notify().decode("latin-1").encode("utf-16"), StartLineError),
    "no NT": (notify("NT-", f"ST: {NT}"), HeaderError),
    "no NTS": (notify("NTS-"), HeaderError),
    "no USN": (notify("USN-"), HeaderError),
    "unknown NTS": (notify("NTS: upnp:propchange"), HeaderError),
    "empty line after the start line": (notify(start="NOTIFY * HTTP/1.1\r\n"), HeaderError),
}

#: Forms that are rejected, with the reason.
REJECTED = {
    "USN without uuid:": (notify(f"USN: D::{NT}"), "no device ID"),
    "PNRP": (notify("USN: [fe80::d5a5:3b1b]:3540"), "no device ID"),
    "LOCATION of a star": (notify("LOCATION: *"), "LOCATION is no http or https URL"),
    "LOCATION without a scheme": (notify("LOCATION: 10.0.0.5:80/d.xml"), "LOCATION is no http or https URL"),
    "empty LOCATION": (notify("LOCATION:"), "no LOCATION"),
    "type in another case": (notify(f"NT: {NT.lower()}"), "no search term"),
    "octal address": (notify("LOCATION: http://010.0.0.5/"), "LOCATION's host is no address and no name"),
}


class DeviationTests(SynchronousTestCase):
    """Tests for :func:`decode` and :func:`interpret` with deviating forms."""

    def test_accepted(self) -> None:
        """The same service is registered for each of these forms."""
        for name, datagram in ACCEPTED.items():
            try:
                message = decode(datagram)
            except MessageError as error:
                self.fail(f"{name}: {error}")
            assert isinstance(message, Alive | SearchResponse), name
            meaning = interpret(message, "10.0.0.5", TERMS, LOCATIONS)
            assert isinstance(meaning, Advertisement), (name, meaning)
            self.assertEqual(
                (meaning.device_id, meaning.urn, meaning.endpoint.netloc, meaning.max_age, meaning.server.split()),
                ("D", NT, "10.0.0.5:80", 1801, FIELDS["SERVER"].split()),
                name,
            )

    def test_byebye(self) -> None:
        """The forms of an announcement are those of a byebye, which needs neither LOCATION nor lifetime."""
        for name, datagram in ACCEPTED.items():
            if b"200" not in datagram.split(b"\n")[0] and b"alive" in datagram:
                message = decode(datagram.replace(b"ssdp:alive", b"ssdp:byebye").replace(b"LOCATION", b"X"))
                self.assertEqual(message.kind, "byebye", name)

    def test_default_lifetime(self) -> None:
        """Without a readable lifetime it is 1800 s."""
        for change in DEFAULT_LIFETIME:
            meaning = interpret(decode(notify(change)), "10.0.0.5", TERMS, LOCATIONS)
            assert isinstance(meaning, Advertisement), change
            self.assertEqual(meaning.max_age, 1800, change)

    def test_dropped(self) -> None:
        """Other forms are no SSDP messages."""
        for name, (datagram, error) in DROPPED.items():
            with self.assertRaises(error, msg=name):
                decode(datagram)

    def test_rejected(self) -> None:
        """Messages that name no device, no usable address or no searched type are not registered."""
        for name, (datagram, reason) in REJECTED.items():
            meaning = interpret(decode(datagram), "10.0.0.5", TERMS, LOCATIONS)
            assert isinstance(meaning, Rejection), (name, meaning)
            self.assertEqual(meaning.reason, reason, name)
