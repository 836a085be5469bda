"""Further attacks: on devices that are away, on Consul's health checks, and on the budgets; and the list of all."""

from __future__ import annotations

from ssdpreg.ssdp.messages import Alive, ByeBye, Message
from tests.simulation.attacks import ATTACKS as EARLIER_ATTACKS
from tests.simulation.attacks import Attack, AttackKind, _claims, _new_service, _own
from tests.simulation.devices import API

#: Seconds of max-age with which an attacker fills the table: longer than several search intervals.
_FILLED_FOR = 900
#: Seconds of max-age of indirect claims, which live for half an hour at most.
_DAY = 86_400
#: Number of types of the services that cause searches: more search targets are merged into one search for all types.
_TYPES = 6
#: Rejected addresses in LOCATIONs: unspecified, loopback, link-local, multicast, reserved, broadcast, and disguises.
_BAD_HOSTS = (
    "0.0.0.0",
    "127.0.0.1",
    "127.1",
    "2130706433",
    "localhost",
    "169.254.1.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "[::ffff:127.0.0.1]",
    "[::7f00:1]",
    "[64:ff9b::7f00:1]",
    "[ff02::c]",
)


def _bad_addresses(attack: Attack) -> list[tuple[str, Message]]:
    hosts = (*_BAD_HOSTS, f"{attack.segment.prefix}255.255")
    usn = f"uuid:{attack.new_device_id()}::{API}"
    location = f"http://{attack.random.choice(hosts)}:80/"
    return [(attack.address, Alive(API, usn, location, 1800))]


def _other_hosts(attack: Attack) -> list[tuple[str, Message]]:
    # A few services of hosts that announce nothing: their ports would be probed by Consul's checks.
    device_id = attack.random.choice(attack.services[:3])
    return [(attack.address, Alive(API, f"uuid:{device_id}::{API}", f"http://{attack.third}:22/", _DAY))]


def _own_services(attack: Attack) -> list[tuple[str, Message]]:
    device_id = attack.random.choice(attack.services[:3])
    return [(attack.address, Alive(API, f"uuid:{device_id}::{API}", _own(attack), _DAY))]


def _fill(attack: Attack) -> list[tuple[str, Message]]:
    chosen = [attack.random.choice(attack.addresses) for _ in range(10)]
    return [(address, _new_service(attack, address, _FILLED_FOR)) for address in chosen]


def _cause_searches(attack: Attack) -> list[tuple[str, Message]]:
    # Each type that a pattern matches is another search target. No device replies to the searches for these.
    messages: list[tuple[str, Message]] = []
    for device_id in attack.random.sample(attack.services, 4):
        nt = f"urn:dmtf-org:service:redfish-rest:1:{100 + int(device_id[:4], 16) % _TYPES}"
        usn = f"uuid:{device_id}::{nt}"
        messages.append((attack.address, Alive(nt, usn, _own(attack), 300)))
        messages.append((attack.third, ByeBye(nt, usn)))
    return messages


FURTHER_ATTACKS = (
    AttackKind(
        "late-usurper",
        "on",
        2.0,
        lambda attack: _claims(attack, attack.address, _own(attack)),
        answers=True,
        duration=(250.0, 400.0),
        restarts=True,
        away=(15.0, 60.0),
        waits=True,
    ),
    AttackKind("bad-addresses", "", 1.0, _bad_addresses, duration=(20.0, 60.0), is_rejected=True),
    AttackKind("prober", "", 5.0, _other_hosts, duration=(20.0, 60.0)),
    AttackKind("routed-newcomer", "", 5.0, _own_services, on_link=False, duration=(20.0, 60.0)),
    AttackKind("filler", "", 0.2, _fill, duration=(15.0, 25.0)),
    AttackKind("search-storm", "", 0.4, _cause_searches, duration=(40.0, 70.0)),
)
#: All kinds of attacks.
ATTACKS = (*EARLIER_ATTACKS, *FURTHER_ATTACKS)
