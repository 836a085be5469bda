"""
SSDP datagrams to messages and back: no socket, no clock, no logging.

Section numbers are those of the UPnP Device Architecture 2.0 (UDA). Devices in the field are far from it; where this
module is lenient it names the reason.
"""

from __future__ import annotations

import platform
import re
from functools import lru_cache

from ssdpreg import __version__
from ssdpreg.errors import HeaderError, StartLineError
from ssdpreg.ssdp.messages import GROUP, PORT, Alive, ByeBye, Message, SearchRequest, SearchResponse, Update

#: Three start lines, and no other: UDA, 1.1.1. Any minor version of HTTP, any reason phrase; only status 200 counts.
_START_LINE = re.compile(r"(?:(NOTIFY|M-SEARCH) \* HTTP/1\.\d|HTTP/1\.\d 200(?: .*)?)\s*", re.ASCII | re.IGNORECASE)

#: Blanks and quotes are common, other directives are to be ignored: UDA, 1.2.2.
_MAX_AGE = re.compile(r"(?<![\w-])max-age\s*=\s*[\"']?\s*(\d+)", re.ASCII | re.IGNORECASE)

#: More digits than this is a century; Python refuses to read thousands of them.
_MAX_AGE_DIGITS = 10
_MAX_AGE_BEYOND = 10**_MAX_AGE_DIGITS

#: The first URL of an AL field, which is bare (DSP0266, 12.4.3) or one of a list in angle brackets (SSDP draft 1.03).
_AL_URL = re.compile(r"https?://[^\s<>\"]+", re.ASCII | re.IGNORECASE)

#: Characters of a value that names something: messages are kept, and a datagram may have 65,507 bytes.
_LONGEST = 512

#: A device repeats itself to the letter, so a look-up by the bytes saves nearly all parsing. Longer datagrams are rare,
#: and not remembered, so that a stranger cannot fill the memory with them.
_REMEMBERED = 8192
_REMEMBERED_SIZE = 1024

#: Who asks: UDA, 1.3.2. "UPnP/2.0" would oblige us to name a person in every search.
USER_AGENT = f"{platform.system()}/{platform.release()} UPnP/1.1 ssdpreg/{__version__}"


def decode(datagram: bytes) -> Message:
    """
    Read a datagram.

    :raise StartLineError: If it is no SSDP.
    :raise HeaderError: If a field that the kind of message cannot do without is missing or senseless.
    """
    return _parse_remembered(datagram) if len(datagram) <= _REMEMBERED_SIZE else _parse(datagram)


def encode(message: Message) -> bytes:
    """
    Write a message as it goes to the group, or back to who asked.

    :raise HeaderError: If a value would break out of its line.
    """
    host = ("HOST", f"{GROUP}:{PORT}")
    match message:
        case Alive():
            notify = [("NT", message.nt), ("NTS", "ssdp:alive"), ("USN", message.usn)]
            return _join("NOTIFY * HTTP/1.1", [host, *_claim(message), *notify])
        case ByeBye():
            return _join("NOTIFY * HTTP/1.1", [host, ("NT", message.nt), ("NTS", "ssdp:byebye"), ("USN", message.usn)])
        case Update():
            return _join("NOTIFY * HTTP/1.1", [host, ("NT", message.nt), ("NTS", "ssdp:update"), ("USN", message.usn)])
        case SearchRequest():
            mx = [] if message.mx is None else [("MX", str(message.mx))]
            man = ("MAN", '"ssdp:discover"')
            return _join("M-SEARCH * HTTP/1.1", [host, man, *mx, ("ST", message.st), ("USER-AGENT", USER_AGENT)])
        case SearchResponse():
            return _join("HTTP/1.1 200 OK", [("EXT", ""), *_claim(message), ("ST", message.st), ("USN", message.usn)])


def _claim(message: Alive | SearchResponse) -> list[tuple[str, str]]:
    max_age = [] if message.max_age is None else [("CACHE-CONTROL", f"max-age={message.max_age}")]
    location = [("LOCATION", message.location)] if message.location else []
    return [*max_age, *location, ("SERVER", message.server or USER_AGENT)]


def _join(start_line: str, fields: list[tuple[str, str]]) -> bytes:
    for name, value in fields:
        if not value.isprintable():
            raise HeaderError(name, f"{value!r} has characters that cannot be sent")
    lines = [start_line, *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode()


def _parse(datagram: bytes) -> Message:
    try:
        text = datagram.decode()
    except UnicodeDecodeError:
        # Vendors write their names in SERVER as their editor saved them.
        text = datagram.decode("latin-1")
    # Empty lines before the first are tolerated as HTTP servers do (RFC 7230, 3.5).
    start_line, _, rest = text.lstrip("\r\n").partition("\n")
    start = _START_LINE.fullmatch(start_line)
    if start is None:
        raise StartLineError(f"unknown start line {start_line[:80]!r}")
    fields = _fields(rest)
    method = start[1]
    if method is None:
        # Some devices answer with NT where ST belongs.
        st = fields.get("ST") or _required(fields, "NT")
        usn = _required(fields, "USN")
        return SearchResponse(st, usn, _location(fields), _max_age(fields), _server(fields))
    if method.upper() == "M-SEARCH":
        return _search(fields)
    return _notify(fields)


_parse_remembered = lru_cache(_REMEMBERED)(_parse)


def _fields(text: str) -> dict[str, str]:
    """Read header fields, by their names in capitals, up to the first empty line or the end: many devices send none."""
    fields: dict[str, str] = {}
    name = ""
    # Split at LF, and let strip() take the CR: some devices send LF alone.
    for line in text.split("\n"):
        stripped = line.strip()
        if not stripped:
            break
        if line[0] in " \t":
            # A folded line belongs to the field before it (RFC 2616, 2.2), and is never a field of its own.
            if name:
                fields[name] = f"{fields[name]} {stripped}".lstrip()
            continue
        before, colon, after = stripped.partition(":")
        # A line that is no field costs only itself; of a field said twice the first counts.
        name = before.rstrip().upper() if colon else ""
        if name in fields:
            name = ""
        elif name:
            fields[name] = after.lstrip()
    return fields


def _notify(fields: dict[str, str]) -> Message:
    nt, nts, usn = (_required(fields, name) for name in ("NT", "NTS", "USN"))
    match nts.strip('"').lower():
        case "ssdp:alive":
            return Alive(nt, usn, _location(fields), _max_age(fields), _server(fields))
        case "ssdp:byebye":
            return ByeBye(nt, usn)
        case "ssdp:update":
            return Update(nt, usn)
    raise HeaderError("NTS", f"unknown {nts[:80]!r}")


def _search(fields: dict[str, str]) -> SearchRequest:
    if _required(fields, "MAN").strip('"') != "ssdp:discover":
        raise HeaderError("MAN", 'is not "ssdp:discover"')
    mx = fields.get("MX", "")
    # Nobody waits longer than 5 s, whatever is asked: UDA, 1.3.3.
    return SearchRequest(_required(fields, "ST"), min(int(mx[:4]), 5) if mx.isascii() and mx.isdigit() else None)


def _required(fields: dict[str, str], name: str) -> str:
    value = fields.get(name)
    if not value:
        raise HeaderError(name, "missing")
    if len(value) > _LONGEST:
        raise HeaderError(name, "too long")
    return value


def _server(fields: dict[str, str]) -> str:
    return fields.get("SERVER", "")[:_LONGEST]


def _location(fields: dict[str, str]) -> str:
    location = fields.get("LOCATION")
    if location:
        return location
    al = _AL_URL.search(fields.get("AL", ""))
    return al[0] if al else ""


def _max_age(fields: dict[str, str]) -> int | None:
    match = _MAX_AGE.search(fields.get("CACHE-CONTROL", ""))
    if match is None:
        return None
    digits = match[1].lstrip("0")
    return int(digits or "0") if len(digits) <= _MAX_AGE_DIGITS else _MAX_AGE_BEYOND
