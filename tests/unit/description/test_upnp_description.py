"""Tests for :mod:`ssdpreg.description.upnp_description`."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.description.upnp_description import (
    MAX_DEPTH,
    MAX_ELEMENTS,
    MAX_TAG,
    UPnPDescriptionParser,
    UPnPFacts,
    split_document,
)
from ssdpreg.errors import DescriptionError
from tests.support.paths import ROOT

FOLDER = ROOT / "tests" / "data" / "descriptions"
#: Bytes that have a meaning in XML, and any others.
_PIECES = st.binary(max_size=8) | st.sampled_from(
    [
        *(
            b"<",
            b">",
            b"&",
            b"&#0;",
            b"&#x110000;",
            b"]]>",
            b"<![CDATA[",
            b"<!--",
            b"-->",
            b"<?x?>",
            b"\0",
            b"\xff\xfe",
        ),
        *(b"<device>", b"</device>", b"<UDN>", b"</root>", b"<!DOCTYPE x>", b'<?xml version="1.0" encoding="cp037"?>'),
    ]
)
LOCATION = "http://10.77.0.3:8200/rootDesc.xml"


def parse(content: bytes, device_id: str = "D", location: str = LOCATION) -> UPnPFacts:
    """Parse a complete document."""
    parser = UPnPDescriptionParser(location, device_id)
    for part in split_document(content):
        parser.feed(part)
    return parser.close()


def device(texts: str) -> bytes:
    """Return a description with a root device that has the given elements."""
    return f"<root><device>{texts}</device></root>".encode()


class RecordedTests(SynchronousTestCase):
    """Descriptions of real programs: ``tests/data/descriptions/README.md``."""

    def test_minidlna(self) -> None:
        """The facts of minidlna, whose friendly name contains an ampersand that is not escaped."""
        self.assertEqual(
            parse((FOLDER / "minidlna-1.3.0.xml").read_bytes(), "2A35AF60-74F7-5E33-8F42-B99E5C1D15A6"),
            UPnPFacts(
                "Rack 7: Films & Music",
                "Justin Maggard",
                "Windows Media Connect compatible (MiniDLNA)",
                "12345678",
                "http://10.77.0.3:8200/",
            ),
        )

    def test_miniupnpd(self) -> None:
        """Each of miniupnpd's three devices has its own facts. Another device has those of the root device."""
        content = (FOLDER / "miniupnpd-2.3.1.xml").read_bytes()
        uuid = "00000000-0000-4000-8000-0a0a0a0a0a"
        models = [parse(content, device_id).model for device_id in (f"{uuid}0a", f"{uuid}0b", f"{uuid}0c", "other")]
        self.assertEqual(models, ["Model X", "WAN Device", "MiniUPnPd", "Model X"])


class ContentTests(SynchronousTestCase):
    """Contents that devices send."""

    def test_nothing_stated(self) -> None:
        """A device may state nothing."""
        self.assertEqual(parse(device("")), UPnPFacts())

    def test_nested_elements(self) -> None:
        """Only direct children of the device count, and the first one of each name."""
        content = device("<x><modelName>a</modelName></x><modelName> b </modelName><modelName>c</modelName>")
        self.assertEqual(parse(content).model, "b")

    def test_markup_in_text(self) -> None:
        """A text ends at an element inside of it."""
        self.assertEqual(parse(device("<modelName>a<b>c</b>d</modelName><serialNumber>7</serialNumber>")).serial, "7")

    def test_embedded_device_before_the_facts(self) -> None:
        """The facts of a device may follow those of its embedded devices."""
        content = device(
            "<deviceList><device><UDN>uuid:e</UDN><modelName>inner</modelName></device></deviceList>"
            "<UDN>uuid:d</UDN><modelName>outer</modelName>"
        )
        self.assertEqual([parse(content, each).model for each in "DEF"], ["outer", "inner", "outer"])

    def test_namespaces(self) -> None:
        """Namespaces are ignored."""
        content = b'<x:root xmlns:x="urn:x"><x:device><modelName xmlns="urn:y">m</modelName></x:device></x:root>'
        self.assertEqual(parse(content).model, "m")

    def test_presentation_url(self) -> None:
        """The URL is made absolute by URLBase or LOCATION. Other schemes than those of HTTP are dropped."""
        for base, url, absolute in (
            ("", "/ui", "http://10.77.0.3:8200/ui"),
            ("", "ui", "http://10.77.0.3:8200/ui"),
            ("", "https://10.0.0.9/", "https://10.0.0.9/"),
            ("<URLBase>http://10.77.0.3:80/a/</URLBase>", "ui", "http://10.77.0.3:80/a/ui"),
            ("<URLBase>http://[</URLBase>", "ui", ""),
            ("", "javascript:alert(1)", ""),
            ("", "http://[", ""),
            ("", "http://a/ b", ""),
            ("", "http://a/\u202eb", ""),
            ("", "http://10.0.0.9@a/", ""),
            ("", "http://a/@b", "http://a/@b"),
            ("", "", ""),
        ):
            content = f"<root>{base}<device><presentationURL>{url}</presentationURL></device></root>"
            self.assertEqual(parse(content.encode()).presentation_url, absolute, (base, url))

    def test_encodings(self) -> None:
        """The declaration and the byte order mark decide the encoding."""
        text = device("<modelName>ä</modelName>").decode()
        for declared, encoding in (
            ("", "utf-8"),
            ("", "utf-8-sig"),
            ('<?xml version="1.0" encoding="utf-16"?>', "utf-16"),
            ('<?xml version="1.0" encoding="iso-8859-1"?>', "latin-1"),
            ('\r\n <?xml version="1.0" encoding="windows-1252"?>', "cp1252"),
            ("", "utf-16-le"),
            ("", "utf-16-be"),
        ):
            self.assertEqual(parse((declared + text).encode(encoding)).model, "ä", (declared, encoding))
        text = device("<modelName>中</modelName>").decode()
        for encoding in ("gb2312", "gbk", "gb18030", "big5", "shift_jis", "euc-jp", "euc-kr"):
            content = f'<?xml version="1.0" encoding="{encoding}"?>{text}'.encode(encoding)
            self.assertEqual(parse(content).model, "中", encoding)

    def test_wrong_declarations(self) -> None:
        """Bytes that are declared as UTF-8, and are not UTF-8, are read as Windows-1252."""
        text = device("<modelName>Bücher &amp; €</modelName>").decode()
        for declared in ("", '<?xml version="1.0"?>', "<?xml version='1.0' encoding='utf-8'?>"):
            self.assertEqual(parse((declared + text).encode("cp1252")).model, "Bücher & €", declared)

    def test_ampersands_in_utf_16(self) -> None:
        """A reference in a document in UTF-16 stays a reference."""
        for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
            content = device("<modelName>a &amp; b &#228; & c</modelName>").decode().encode(encoding) + b"\0\0"
            self.assertEqual(parse(content).model, "a & b ä & c", encoding)

    def test_end_of_document(self) -> None:
        """Zero bytes after the end are ignored: devices send the end of a text in C."""
        self.assertEqual(parse(device("<modelName>m</modelName>") + b"\0\0").model, "m")

    def test_ampersands(self) -> None:
        """References stay references, and other ampersands are taken literally."""
        self.assertEqual(parse(device("<modelName>a&amp;b &#228;&#xe4; & c&</modelName>")).model, "a&b ää & c&")
        self.assertEqual(parse(device("<modelName><![CDATA[a & b]]></modelName>")).model, "a & b")
        self.assertEqual(parse(device("<modelName>Caf&eacute; &lt;&apos;</modelName>")).model, "Caf&eacute; <'")

    def test_long_text(self) -> None:
        """Only the beginning of a text is kept."""
        self.assertEqual(len(parse(device(f"<modelName>{'x' * 20000}</modelName>")).model), 2048)


class HostileTests(SynchronousTestCase):
    """Documents that are rejected."""

    def assert_rejected(self, content: bytes, reason: str) -> None:
        """Assert that a document is rejected for a reason that matches a regular expression."""
        error = self.assertRaises(DescriptionError, parse, content)
        self.assertRegex(str(error), reason)
        self.assertEqual(error.kind, "invalid")

    def test_entities(self) -> None:
        """Entity bombs and external entities are rejected, like every other DTD."""
        bomb = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(10))
        for dtd in (
            f'<!DOCTYPE root [<!ENTITY e0 "x">{bomb}]>',
            '<!DOCTYPE root [<!ENTITY e10 SYSTEM "file:///etc/passwd">]>',
            '<!DOCTYPE root [<!ENTITY e10 SYSTEM "http://127.0.0.1:1/">]>',
            '<!DOCTYPE root [<!ENTITY % p SYSTEM "http://127.0.0.1:1/"> %p;]>',
            '<!DOCTYPE root SYSTEM "http://127.0.0.1:1/">',
        ):
            self.assert_rejected(dtd.encode() + device("<modelName>&e10;</modelName>"), "DTDForbidden")
        self.assert_rejected(device("<modelName>&unknown;<![CDATA[x]]></modelName>"), "undefined entity")

    def test_elements(self) -> None:
        """The number of elements is limited."""
        parse(b"<root><device/>" + b"<a/>" * (MAX_ELEMENTS - 2) + b"</root>")
        self.assert_rejected(b"<root><device/>" + b"<a/>" * (MAX_ELEMENTS - 1) + b"</root>", "elements")

    def test_depth(self) -> None:
        """The depth is limited."""
        inner = MAX_DEPTH - 1
        parse(b"<root><device/>" + b"<a>" * inner + b"</a>" * inner + b"</root>")
        self.assert_rejected(b"<root><device/>" + b"<a>" * 80000, "nested")

    def test_tags(self) -> None:
        """The length of a tag is limited, because all of its attributes are processed at once."""
        attributes = " ".join(f'a{number}=""' for number in range(25000))
        self.assert_rejected(f"<root {attributes}><device/></root>".encode(), "end of a tag")
        self.assert_rejected(b"<root>" + b"&" * (MAX_TAG + 1), "end of a tag")

    def test_many_ampersands(self) -> None:
        """A document with very many ampersands is not repaired: that would take long."""
        self.assert_rejected(device("<modelName>& </modelName>" * 2000), "not well-formed")

    def test_encodings(self) -> None:
        """A declaration of an encoding that is unknown, or no encoding of text in bytes, is ignored."""
        for encoding in ("utf-7", "utf-32", "zip", "base64", "idna", "punycode", "cp037", "x-unknown", "utf-16"):
            content = f'<?xml version="1.0" encoding="{encoding}"?>'.encode() + device("<modelName>+AGE-ä</modelName>")
            self.assertEqual(parse(content).model, "+AGE-ä", encoding)
        self.assert_rejected(device("<modelName>x</modelName>").decode().encode("utf-32"), "no XML document")

    def test_other_documents(self) -> None:
        """Documents that are no descriptions are rejected."""
        for content, reason in (
            (b"", "no element"),
            (b"<html><body></body></html>", "no description"),
            (b"{}", "not well-formed"),
            (b"<root/>", "no device"),
            (device("")[:-1], "unclosed token"),
            (b"\x1f\x8b\x08\0\0\0\0\0", "not well-formed"),
        ):
            self.assert_rejected(content, reason)

    @settings(max_examples=120, deadline=None)
    @given(st.data())
    def test_any_content(self, data: st.DataObject) -> None:
        """Any change of a description results in facts or in a rejection, never in another error."""
        content = bytearray((FOLDER / "miniupnpd-2.3.1.xml").read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            start = data.draw(st.integers(0, len(content)))
            content[start : start + data.draw(st.integers(0, 20))] = data.draw(_PIECES)
        with contextlib.suppress(DescriptionError):
            facts = parse(bytes(content))
            self.assertLessEqual(max(map(len, (facts.friendly_name, facts.model, facts.serial))), 2048)
