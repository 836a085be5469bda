"""
SSDP datagrams to messages and back: no socket, no clock, no logging.

Section numbers are those of the UPnP Device Architecture 2.0 (UDA). Comments give the section of each rule and the
reason of each exception.
"""

from __future__ import annotations

import platform
import re
from functools import lru_cache
from typing import TypeVar

from ssdpreg import __version__
from ssdpreg.errors import HeaderError, StartLineError
from ssdpreg.ssdp.header_fields import parse_fields
from ssdpreg.ssdp.messages import GROUP, GROUPS, PORT, Alive, ByeBye, Message, SearchRequest, SearchResponse, Update

#: UDA, 1.1.1: a message begins with one of three start lines. Any minor version of HTTP and any reason phrase are
#: accepted, since UPnP 1.0 devices differ in both, and any blanks between the parts. Only status 200 is a reply to a
#: search.
_START_LINE = re.compile(
    r"(?:(NOTIFY|M-SEARCH)[ \t]+\*[ \t]+HTTP/1\.\d|HTTP/1\.\d[ \t]+200(?:[ \t].*)?)\s*", re.ASCII | re.IGNORECASE
)
#: Start line of nearly all announcements.
_USUAL_NOTIFY = "NOTIFY * HTTP/1.1\r"

#: UDA, 1.2.2: directives of CACHE-CONTROL other than max-age are ignored. Spaces and quotes around the number are
#: accepted: UDA itself prints "max-age = 1800".
_MAX_AGE = re.compile(r"(?<![\w-])max-age\s*=\s*[\"']?\s*(\d+)", re.ASCII | re.IGNORECASE)

#: A number of more digits is read as 10**10, which is more than three centuries: int() raises for thousands of digits.
_MAX_AGE_DIGITS = 10
_LONGEST_MAX_AGE = 10**_MAX_AGE_DIGITS
#: Values of CACHE-CONTROL that are parsed once: their number, and the largest number of characters. Most devices send
#: one of a few.
_KEPT_CACHE_CONTROLS, _LONGEST_KEPT = 256, 64

#: The first URL of an AL field, which is a bare URL (DSP0266, 12.4.3) or a list in angle brackets (SSDP draft 1.03).
_AL_URL = re.compile(r"https?://[^\s<>\"]+", re.ASCII | re.IGNORECASE)

#: Longest accepted NT, ST or USN, and the length to which SERVER is cut. Messages are stored, and a datagram may have
#: 65,507 bytes. With the longest LOCATION, the values of a message have at most 3,584 bytes.
_LONGEST_VALUE = 512
#: Length of a value that is accepted whatever its characters are.
_SHORT_VALUE = _LONGEST_VALUE // 4
#: Longest LOCATION. Devices use less than a hundred characters.
LONGEST_LOCATION = 2048
#: Length of a LOCATION that is accepted whatever its characters are.
_SHORT_LOCATION = LONGEST_LOCATION // 4
#: LOCATION of a message whose own is longer: such a service cannot be registered, and the reason can be stated.
OVERLONG_LOCATION = "http://" + "x" * (LONGEST_LOCATION - 6)

#: UDA, 1.2.2: the largest BOOTID has 31 bits, the largest CONFIGID of a description that does not change has 24, and
#: a port for searches is in the range of dynamic ports.
_LARGEST_BOOT_ID = 2**31 - 1
_LARGEST_CONFIG_ID = 2**24 - 1
_LOWEST_SEARCH_PORT, _LARGEST_SEARCH_PORT = 49152, 65535
#: Fields of which a message has at least one if it has a BOOTID, CONFIGID or SEARCHPORT.
_NUMBERED = frozenset({"BOOTID.UPNP.ORG", "CONFIGID.UPNP.ORG", "SEARCHPORT.UPNP.ORG", "OPT"})
#: UDA 1.0, annex A: OPT declares the prefix of the header NLS, whose value any text can be.
_OPT = re.compile(r"\s*\"http://schemas\.upnp\.org/upnp/1/0/\"\s*;\s*ns\s*=\s*(\d\d)\s*", re.ASCII | re.IGNORECASE)
#: Longest value of NLS that is read. libupnp sends a UUID, MiniUPnPd the number of BOOTID.
_LONGEST_NLS = 64

#: UDA, 1.3.3: a device treats an MX above 5 as 5.
_LONGEST_MX = 5

#: UDA, 1.3.2: operating system, UPnP version and product. The version is 1.1, since a control point of version 2.0 must
#: send its user's name in every search (CPFN.UPNP.ORG).
USER_AGENT = f"{platform.system()}/{platform.release()} UPnP/1.1 ssdpreg/{__version__}"


#: An announcement or a reply.
M = TypeVar("M", Alive, SearchResponse)


def decode(datagram: bytes) -> Message:
    """
    Parse a datagram.

    :raise StartLineError: If the datagram is not SSDP.
    :raise HeaderError: If a required header field is missing or has an unusable value.
    """
    try:
        text = datagram.decode()
    except UnicodeDecodeError:
        # Some vendors send SERVER in Latin-1 or another 8-bit encoding.
        text = datagram.decode("latin-1")
    # RFC 7230, 3.5: a receiver should ignore empty lines before the start line.
    start_line, _, rest = text.lstrip("\r\n \t").partition("\n")
    if start_line == _USUAL_NOTIFY:
        return _parse_notify(parse_fields(rest))
    start = _START_LINE.fullmatch(start_line)
    if start is None:
        raise StartLineError(f"unknown start line {start_line[:80]!r}")
    fields = parse_fields(rest)
    # UDA, 1.1.1: the start line alone decides the kind of the message.
    method = start[1]
    if method is None:
        return _parse_response(fields)
    if method.upper() == "M-SEARCH":
        return _parse_search(fields)
    return _parse_notify(fields)


def encode(message: Message, address: tuple[str, int] = (GROUP, PORT)) -> bytes:
    """
    Serialize a message.

    :param address: IP address and port of the recipient, for the HOST field.
    :raise HeaderError: If a value has characters, such as line ends, that would end its header field.
    """
    host = ("HOST", _host(*address))
    match message:
        case Alive():
            notify = [("NT", message.nt), ("NTS", "ssdp:alive"), ("USN", message.usn)]
            return _join("NOTIFY * HTTP/1.1", [host, *_description(message), *notify])
        case ByeBye():
            return _join("NOTIFY * HTTP/1.1", [host, ("NT", message.nt), ("NTS", "ssdp:byebye"), ("USN", message.usn)])
        case Update():
            boot_ids = [("BOOTID.UPNP.ORG", message.boot_id), ("NEXTBOOTID.UPNP.ORG", message.next_boot_id)]
            notify = [("NT", message.nt), ("NTS", "ssdp:update"), ("USN", message.usn)]
            return _join("NOTIFY * HTTP/1.1", [host, *notify, *((name, value) for name, value in boot_ids if value)])
        case SearchRequest():
            mx = [] if message.mx is None else [("MX", str(message.mx))]
            man = ("MAN", '"ssdp:discover"')
            return _join("M-SEARCH * HTTP/1.1", [host, man, *mx, ("ST", message.st), ("USER-AGENT", USER_AGENT)])
        case SearchResponse():
            reply = [("ST", message.st), ("USN", message.usn)]
            return _join("HTTP/1.1 200 OK", [("EXT", ""), *_description(message), *reply])


def _host(address: str, port: int) -> str:
    """Return the value of HOST for a recipient."""
    if ":" not in address:
        return f"{address}:{port}"
    # RFC 2732; a zone has a meaning on this host only. UDA, annex A, writes the groups in capitals.
    literal = address.partition("%")[0]
    return f"[{literal.upper() if literal in GROUPS[6] else literal}]:{port}"


def _description(message: Alive | SearchResponse) -> list[tuple[str, str]]:
    """Return the header fields that an announcement and a reply have in common."""
    max_age = [] if message.max_age is None else [("CACHE-CONTROL", f"max-age={message.max_age}")]
    location = [("LOCATION", message.location)] if message.location else []
    numbers = [
        (name, str(value))
        for name, value in (
            ("BOOTID.UPNP.ORG", message.boot_id),
            ("CONFIGID.UPNP.ORG", message.config_id),
            ("SEARCHPORT.UPNP.ORG", message.search_port),
        )
        if value not in ("", None)
    ]
    return [*max_age, *location, ("SERVER", message.server or USER_AGENT), *numbers]


def _join(start_line: str, fields: list[tuple[str, str]]) -> bytes:
    for name, value in fields:
        if not value.isprintable():
            raise HeaderError(name, f"{value!r} has characters that cannot be sent")
    lines = [start_line, *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode()


def _parse_response(fields: dict[str, str]) -> SearchResponse:
    # UDA, 1.3.3: ST and USN are required. Some devices send NT in place of ST.
    st = fields.get("ST") or _required(fields, "NT")
    usn = _required(fields, "USN")
    return _parse_announcement(SearchResponse, st, usn, fields)


def _parse_notify(fields: dict[str, str]) -> Message:
    # UDA, 1.2.2: NT, NTS and USN are required. Some devices send NTS in capitals or in quotes.
    nt, nts, usn = _required(fields, "NT"), _required(fields, "NTS"), _required(fields, "USN")
    match nts.strip('"').lower():
        case "ssdp:alive":
            return _parse_announcement(Alive, nt, usn, fields)
        case "ssdp:byebye":
            return ByeBye(nt, usn)
        case "ssdp:update":
            boot_id = _number(fields, "BOOTID.UPNP.ORG", _LARGEST_BOOT_ID)
            following = _number(fields, "NEXTBOOTID.UPNP.ORG", _LARGEST_BOOT_ID)
            # UDA, 1.2.4: BOOTIDs only grow.
            if boot_id is None or following is None or following <= boot_id:
                return Update(nt, usn)
            return Update(nt, usn, str(boot_id), str(following))
    raise HeaderError("NTS", f"unknown {nts[:80]!r}")


def _parse_announcement(kind: type[M], nt: str, usn: str, fields: dict[str, str]) -> M:
    """
    Return an announcement or a reply, whose other header fields are the same.

    SECURELOCATION.UPNP.ORG is ignored on purpose: it names the same description, and the address that is registered
    must not depend on a second URL.
    """
    location = fields.get("LOCATION") or _al_url(fields)
    if len(location) > _SHORT_LOCATION and len(location) > _longest(location, LONGEST_LOCATION):
        location = OVERLONG_LOCATION
    server = fields.get("SERVER", "")
    if len(server) > _SHORT_VALUE:
        # A field's value ends with no blank.
        server = server[: _longest(server, _LONGEST_VALUE)].rstrip()
    cache_control = fields.get("CACHE-CONTROL", "")
    max_age = _kept_max_age(cache_control) if len(cache_control) <= _LONGEST_KEPT else _parse_max_age(cache_control)
    if _NUMBERED.isdisjoint(fields):
        # Most devices are older than these fields.
        return kind(nt, usn, location, max_age, server)
    port = _number(fields, "SEARCHPORT.UPNP.ORG", _LARGEST_SEARCH_PORT)
    return kind(
        nt,
        usn,
        location,
        max_age,
        server,
        _boot_id(fields),
        _number(fields, "CONFIGID.UPNP.ORG", _LARGEST_CONFIG_ID),
        None if port is None or port < _LOWEST_SEARCH_PORT else port,
    )


def _boot_id(fields: dict[str, str]) -> str:
    number = _number(fields, "BOOTID.UPNP.ORG", _LARGEST_BOOT_ID)
    if number is not None:
        return str(number)
    opt = fields.get("OPT")
    namespace = None if opt is None else _OPT.fullmatch(opt)
    return "" if namespace is None else fields.get(f"{namespace[1]}-NLS", "")[:_LONGEST_NLS]


def _number(fields: dict[str, str], name: str, largest: int) -> int | None:
    """Return the value of a field that has a whole number, or None if the number is absent, invalid or too large."""
    text = fields.get(name)
    if text is None or not (text.isascii() and text.isdigit()):
        return None
    digits = text.lstrip("0")
    number = int(digits or "0") if len(digits) <= _MAX_AGE_DIGITS else largest + 1
    return number if number <= largest else None


def _parse_search(fields: dict[str, str]) -> SearchRequest:
    # UDA, 1.3.2: MAN is required, in quotes. Some control points leave out the quotes.
    if _required(fields, "MAN").strip('"') != "ssdp:discover":
        raise HeaderError("MAN", 'is not "ssdp:discover"')
    text = fields.get("MX", "")
    # Four digits suffice for the comparison: int() raises for thousands of digits.
    mx = min(int(text[:4]), _LONGEST_MX) if text.isascii() and text.isdigit() else None
    return SearchRequest(_required(fields, "ST"), mx)


def _required(fields: dict[str, str], name: str) -> str:
    value = fields.get(name)
    if value and len(value) <= _SHORT_VALUE:
        return value
    if not value:
        raise HeaderError(name, "missing")
    if len(value) > _longest(value, _LONGEST_VALUE):
        raise HeaderError(name, "too long")
    return value


def _al_url(fields: dict[str, str]) -> str:
    """Return the URL of a Redfish service, which sends AL and no LOCATION: DSP0266, 12.4.3. Empty if there is none."""
    al = _AL_URL.search(fields.get("AL", ""))
    return al[0] if al else ""


def _longest(value: str, size: int) -> int:
    """
    Return the largest accepted number of characters of a value.

    :param size: Largest number of bytes in memory. Python stores up to four bytes for each character of a text if there
        is any outside ASCII.
    """
    return size if value.isascii() else size // 4


def _parse_max_age(cache_control: str) -> int | None:
    match = _MAX_AGE.search(cache_control)
    if match is None:
        return None
    digits = match[1].lstrip("0")
    return int(digits or "0") if len(digits) <= _MAX_AGE_DIGITS else _LONGEST_MAX_AGE


_kept_max_age = lru_cache(_KEPT_CACHE_CONTROLS)(_parse_max_age)
