"""
Facts in the description of a UPnP device: UPnP Device Architecture 2.0 (UDA), section 2.3. Pure.

The document comes from the network. It is parsed in parts of a limited size, without a tree, and with limits for its
elements and its depth, so that no document takes long or needs much memory.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urljoin
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from ssdpreg.errors import DescriptionError
from ssdpreg.ssdp.usn import device_id as device_id_of

#: Elements of a description. One with 40 services and 10 icons in each of 10 devices has less than 4,000.
MAX_ELEMENTS = 5000
#: Elements around an element. The texts of a device embedded in an embedded device are in the 7th.
MAX_DEPTH = 32
#: Characters of one text that are kept: more than Consul accepts.
_MAX_TEXT = 2048
#: Characters of a part.
_PART = 4096

#: Characters up to the end of a tag, with the text before it. The parser processes all attributes of a tag at once.
MAX_TAG = 32 * 1024
#: Encodings by the beginning of a document: byte order marks, and "<" as a character of two bytes.
_ENCODINGS = {
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
    b"<\0": "utf-16-le",
    b"\0<": "utf-16-be",
    b"\xef\xbb": "utf-8-sig",
}
#: The encoding in the XML declaration of a document in bytes.
_DECLARED = re.compile(rb"<\?xml\b[^>]{0,200}?\bencoding\s*=\s*[\"']([\w.:-]{1,40})[\"']", re.ASCII)
#: Encodings that a declaration may name, besides UTF-8, by the names that Python gives them.
_DECLARABLE = re.compile(r"iso8859-\d{1,2}|cp125\d|koi8-[ru]|gb2312|gbk|gb18030|big5|shift_jis|cp932|euc_jp|euc_kr")

#: An ampersand that begins no reference of XML. Programs such as minidlna copy names from users without escaping them.
#: Devices send names of characters in HTML, too, which only a DTD could define.
_BARE_AMPERSAND = re.compile(r"&(?!(?:#\w{1,16}|amp|lt|gt|quot|apos);)", re.ASCII)
#: Ampersands of a document in which they are not escaped.
_MANY_AMPERSANDS = 1000

#: Elements with the facts of a device: UDA, section 2.3.
_TEXTS = frozenset({"friendlyName", "manufacturer", "modelName", "serialNumber", "presentationURL", "UDN"})
#: UDA requires absolute or relative URLs of HTTP. A link with another scheme, such as javascript, is not displayed.
#: Nor is one with a user name, which can look like the name of another host.
_HTTP_URL = re.compile(r"https?://[^\s/?#\\@]+(?:[/?#]\S*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class UPnPFacts:
    """
    Facts that a UPnP device states about itself, as far as its description has them. Text from the network.

    :ivar friendly_name: Name for users.
    :ivar manufacturer: Name of the manufacturer.
    :ivar model: Name of the model.
    :ivar serial: Serial number.
    :ivar presentation_url: Absolute URL of a page for users.
    """

    friendly_name: str = ""
    manufacturer: str = ""
    model: str = ""
    serial: str = ""
    presentation_url: str = ""


class UPnPDescriptionParser:
    """
    Parser of a description, which is fed with parts of it.

    :param location: URL of the document, for relative URLs in it.
    :param device_id: Device whose facts are wanted. If no ``<device>`` has its UDN, the root device is taken.
    """

    def __init__(self, location: str, device_id: str) -> None:
        self._location, self._device_id = location, device_id
        self._reader = _Reader()
        self._parser = DefusedXMLParser(target=self._reader, forbid_dtd=True)

    def feed(self, part: str) -> None:
        """
        Parse the next part of the document. The encoding in its declaration is ignored, because it is decoded already.

        :raise DescriptionError: If the document is no description, is larger than the limits, or has a DTD.
        """
        with _translated_errors():
            self._parser.feed(part)

    def close(self) -> UPnPFacts:
        """
        Return the facts at the end of the document.

        :raise DescriptionError: If the document is incomplete, or has no device.
        """
        with _translated_errors():
            self._parser.close()
        return _make_facts(self._reader.choose(self._device_id), self._reader.url_base, self._location)


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise DescriptionError(f"no XML document: {error}") from error


def split_document(content: bytes) -> Iterator[str]:
    """
    Return the parts of a document as text, each of which takes a few milliseconds to parse.

    :raise DescriptionError: If the document has zero bytes, or an element is too long.
    """
    # Devices send blanks before the XML declaration, and zero bytes after the end.
    text = _decode(content.lstrip(b" \t\r\n")).rstrip("\0")
    if "\0" in text:
        # In UTF-32, for example. The parser would guess another encoding.
        raise DescriptionError("no XML document: it has zero bytes")
    if max(map(len, text.split(">"))) > MAX_TAG:
        raise DescriptionError(f"more than {MAX_TAG} characters without the end of a tag")
    if "<![CDATA[" not in text and text.count("&") <= _MANY_AMPERSANDS:
        text = _BARE_AMPERSAND.sub("&amp;", text)
    for start in range(0, len(text), _PART):
        yield text[start : start + _PART]


def _decode(content: bytes) -> str:
    """
    Decode a document.

    Declarations can be wrong: devices send UTF-8 that is declared as UTF-16, and 8-bit encodings that are declared as
    UTF-8. The latter are read as Windows-1252, a superset of Latin-1.
    """
    encoding = _ENCODINGS.get(content[:2])
    if encoding is None:
        declared = _DECLARED.match(content)
        encoding = "utf-8" if declared is None else _find_encoding(declared[1].decode("ascii"))
    with suppress(UnicodeDecodeError):
        return content.decode(encoding)
    return content.decode("cp1252", errors="replace")


def _find_encoding(name: str) -> str:
    """Return Python's name of a declared encoding, or UTF-8 if it is unknown or not one of text in 8-bit units."""
    with suppress(LookupError):
        found = codecs.lookup(name).name
        return found if _DECLARABLE.fullmatch(found) else "utf-8"
    return "utf-8"


def _make_facts(texts: dict[str, str], url_base: str, location: str) -> UPnPFacts:
    return UPnPFacts(
        texts.get("friendlyName", ""),
        texts.get("manufacturer", ""),
        texts.get("modelName", ""),
        texts.get("serialNumber", ""),
        _absolute_url(texts.get("presentationURL", ""), url_base, location),
    )


def _absolute_url(url: str, url_base: str, location: str) -> str:
    """Return the URL of a page as an absolute URL of HTTP, or an empty text."""
    if not url:
        return ""
    try:
        # URLBase: UPnP Device Architecture 1.0, section 2.1.
        absolute = urljoin(urljoin(location, url_base), url)
    except ValueError:
        return ""
    return absolute if absolute.isprintable() and _HTTP_URL.fullmatch(absolute) else ""


@dataclass(slots=True)
class _Device:
    """
    A ``<device>`` element while it is read.

    :ivar depth: Number of elements around it.
    :ivar texts: Texts of its child elements, by name.
    """

    depth: int
    texts: dict[str, str] = field(default_factory=dict)


class _Reader:
    """
    Target of the XML parser: keeps the texts of all devices.

    Namespaces are ignored: devices use wrong ones, and those of their vendors.

    :ivar url_base: Text of ``<URLBase>``.
    """

    def __init__(self) -> None:
        self.url_base = ""
        self._elements = self._depth = 0
        self._devices: list[_Device] = []
        self._open: list[_Device] = []
        # Name and parts of the text that is read now.
        self._name = ""
        self._parts: list[str] = []
        self._length = 0

    def start(self, tag: str, attributes: object) -> None:
        """Process a start tag."""
        name = tag.rpartition("}")[2]
        self._elements += 1
        if self._elements > MAX_ELEMENTS:
            raise DescriptionError(f"more than {MAX_ELEMENTS} elements")
        if self._depth >= MAX_DEPTH:
            raise DescriptionError(f"more than {MAX_DEPTH} nested elements")
        if self._depth == 0 and name != "root":
            raise DescriptionError("the document is no description of a device")
        self._name = ""
        if name == "device":
            device = _Device(self._depth)
            self._devices.append(device)
            self._open.append(device)
        elif (name in _TEXTS and self._open and self._depth == self._open[-1].depth + 1) or (
            name == "URLBase" and self._depth == 1
        ):
            self._name = name
            self._parts.clear()
            self._length = 0
        self._depth += 1

    def data(self, text: str) -> None:
        """Process a part of a text."""
        if self._name and self._length < _MAX_TEXT:
            self._parts.append(text)
            self._length += len(text)

    def end(self, tag: str) -> None:
        """Process an end tag."""
        self._depth -= 1
        if self._name:
            text = "".join(self._parts)[:_MAX_TEXT].strip()
            if self._name == "URLBase":
                self.url_base = text
            else:
                self._open[-1].texts.setdefault(self._name, text)
            self._name = ""
        elif self._open and self._depth == self._open[-1].depth:
            self._open.pop()

    def close(self) -> None:
        """Process the end of the document."""

    def choose(self, device_id: str) -> dict[str, str]:
        """
        Return the texts of a device, or else those of the root device.

        :raise DescriptionError: If there is no device.
        """
        if not self._devices:
            raise DescriptionError("the description has no device")
        wanted = device_id.casefold()
        for device in self._devices:
            if device_id_of(device.texts.get("UDN", "")).casefold() == wanted:
                return device.texts
        return self._devices[0].texts
