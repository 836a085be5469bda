"""
Target of the fuzzer: datagrams from any hosts, through codec, interpretation, table and registration to Meta and back.

An input is a sequence of records, separated by :data:`SEPARATOR`. The first byte of a record selects the circumstances
of the reception, and the rest is a datagram: see :func:`circumstances`.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import lru_cache
from ipaddress import ip_network

from ssdpreg.discovery.advertisement import LONGEST_MAX_AGE, Advertisement
from ssdpreg.discovery.events import Appeared, Changed, Event, Left, SearchNeeded
from ssdpreg.discovery.interpret import Departure, Rejection, interpreter
from ssdpreg.discovery.location import LocationRules
from ssdpreg.discovery.search_terms import SearchTerms
from ssdpreg.discovery.standing import Standing
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.errors import HeaderError, MessageError, RejectedError
from ssdpreg.registration import Registration, RegistrationRules
from ssdpreg.registration.meta import from_meta
from ssdpreg.ssdp.codec import USER_AGENT, decode, encode
from ssdpreg.ssdp.messages import Alive, Message, SearchRequest, SearchResponse
from ssdpreg.ssdp.reception import Channel, Reception

SEPARATOR = b"\n====\n"

SENDERS = ("10.0.0.5", "10.0.0.6", "10.0.0.66", "127.0.0.1", "fe80::5", "", "192.168.2.100", "169.254.1.1")
_CHANNELS = (Channel.GROUP, Channel.GROUP, Channel.SEARCH, Channel.HOST)
_STEPS = (0.0, 1.5, 7.0, 1000.0)

TERMS = SearchTerms(
    {
        "urn:schemas-upnp-org:service:api:2.0": "RackHD",
        "urn:schemas-upnp-org:service:SwitchPower:1": "Switch",
        "urn:dmtf-org:service:redfish-rest:1": "BMC",
        "upnp:rootdevice": "Root",
        "urn:a": "A",
        "urn:schemas-*": "Schemas",
        "roku:*": "Roku",
    }
)
LOCATIONS = LocationRules([ip_network("0.0.0.0/0"), ip_network("::/0")])
RULES = (RegistrationRules("rack-7"), RegistrationRules("rack-7", dns_names=True, tags=("lab",)))
# As for repeated datagrams of a socket, equal messages of a sender have the same object as their meaning.
_INTERPRET = lru_cache(8192)(interpreter(TERMS, LOCATIONS))

# As for repeated datagrams of a socket, equal receptions are the same object.
_RECEPTION = lru_cache(None)(Reception)

_SERVICE_ID = re.compile(r"ssdpreg-[a-z0-9-]{0,32}-[0-9a-f]{16}")
_DNS_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LIMIT = 3


def circumstances(selector: int) -> tuple[str, Channel, bool, float]:
    """Return the sender, the channel, whether the sender is on the link, and the seconds since the datagram before."""
    return (
        SENDERS[selector & 7],
        _CHANNELS[selector >> 3 & 3],
        not selector >> 5 & 1,
        _STEPS[selector >> 6],
    )


def record(datagram: bytes, sender: int = 0, channel: int = 0, step: int = 0) -> bytes:
    """Return a record of an input."""
    return bytes([sender | channel << 3 | step << 6]) + datagram


class Checker:
    """Follows the events of a table, and checks that they describe its content."""

    def __init__(self, standing: Standing) -> None:
        self.table = AdvertisementTable(limit=_LIMIT, limit_per_sender=2, trust=standing)
        self.known: dict[tuple[str, str], Advertisement] = {}

    def apply(self, events: list[Event]) -> None:
        """Process events of the table."""
        assert len(self.table) <= self.table.tracked <= _LIMIT
        if not events:
            return
        for event in events:
            one = event.advertisement
            key = one.device_id.casefold(), one.urn
            if isinstance(event, Appeared):
                assert key not in self.known
                self.known[key] = one
            elif isinstance(event, Changed):
                assert key in self.known
                self.known[key] = one
            elif isinstance(event, Left):
                assert self.known.pop(key).location == one.location
            else:
                assert isinstance(event, SearchNeeded) and event.within > 0 and len(event.hosts) <= 5
                encode(SearchRequest(one.search_target, 1))
            if isinstance(event, (Appeared, Changed)):
                for rules in RULES:
                    check_registration(rules.registration(one, event.standing), one)
        assert len(self.table) == len(self.known)
        for live in self.table:
            one = live.advertisement
            assert self.known[one.device_id.casefold(), one.urn].location == one.location


def check_message(message: Message) -> None:
    """Check that a decoded message that can be sent is decoded to itself."""
    try:
        datagram = encode(message)
    except HeaderError:
        return
    if isinstance(message, (Alive, SearchResponse)) and not message.server:
        message = replace(message, server=USER_AGENT)
    assert decode(datagram) == message, (datagram, message)


def check_registration(registration: Registration, advertisement: Advertisement) -> None:
    """Check that a registration is acceptable for Consul, and that a later run adopts it as the same service."""
    assert _SERVICE_ID.fullmatch(registration.service_id), registration
    assert 1 <= registration.port <= 65535
    assert registration.address
    for key, value in registration.meta.items():
        assert value.isprintable() and len(value.encode()) <= 512, (key, value)
    json.dumps({"Name": registration.name, "Meta": dict(registration.meta)}).encode()
    if registration.tags:
        assert _DNS_NAME.fullmatch(registration.name), registration.name
    adopted = from_meta(registration.meta, registration.address, _INTERPRET)
    if adopted is not None and len(advertisement.location) < 500:
        assert RULES[0].service_id(adopted.device_id, adopted.urn) == registration.service_id, (adopted, advertisement)
        assert adopted.endpoint == advertisement.endpoint
        assert adopted.max_age == advertisement.max_age


def run(data: bytes) -> None:
    """Run one input. An unexpected exception is a defect."""
    checker = Checker(Standing(len(data) % 3))
    now = 1000.0
    for each in data.split(SEPARATOR)[:16]:
        sender, channel, on_link, step = circumstances(each[0] if each else 0)
        now += step
        checker.apply(checker.table.expire(now))
        try:
            message = decode(each[1:])
        except MessageError:
            continue
        check_message(message)
        match _INTERPRET(message, sender):
            case Advertisement() as one:
                assert 1 <= one.max_age <= LONGEST_MAX_AGE and one.device_id.isprintable()
                try:
                    checker.apply(checker.table.observe(one, _RECEPTION(sender, "eth0", channel, on_link), now))
                except RejectedError as error:
                    # The reason is the label of a metric, so it contains no text of the datagram.
                    assert len(error.reason) < 60
            case Departure(device_id, urn):
                checker.apply(checker.table.bye(device_id, urn, sender, now))
            case Rejection(_, reason):
                assert len(reason) < 60
    # Without further datagrams every service leaves, and nothing stays behind.
    for _ in range(8):
        if not checker.table.tracked:
            break
        now += 2 * LONGEST_MAX_AGE
        checker.apply(checker.table.expire(now))
    assert (len(checker.known), checker.table.tracked) == (0, 0)
