"""
Meta of a registration: the facts of its advertisement, as key-value pairs that Consul stores.

:func:`to_meta` and :func:`from_meta` are the inverse of each other, except that values are truncated. After a restart,
a daemon reads its services from Consul in this way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.interpret import Meaning
from ssdpreg.ssdp.messages import Alive, Message

#: The name of this program, and the value of :data:`META_SOURCE` in all its registrations.
SOURCE = "ssdpreg"

#: Program that registered the service: Consul's own convention.
META_SOURCE = "external-source"
#: Scope of the daemon that registered the service.
META_SCOPE = "ssdpreg-scope"
#: Facts of the advertisement.
META_DEVICE = "ssdp-device"
META_USN = "ssdp-usn"
META_NT = "ssdp-nt"
META_LOCATION = "ssdp-location"
META_SERVER = "ssdp-server"
META_MAX_AGE = "ssdp-max-age"
#: Facts that the device states in its description.
META_FRIENDLY_NAME = "ssdp-friendly-name"
META_MANUFACTURER = "ssdp-manufacturer"
META_MODEL = "ssdp-model"
META_SERIAL = "ssdp-serial"
META_PRESENTATION_URL = "ssdp-presentation-url"
#: Facts that the device states in the service root of Redfish.
META_REDFISH_VENDOR = "redfish-vendor"
META_REDFISH_PRODUCT = "redfish-product"
META_REDFISH_VERSION = "redfish-version"
META_REDFISH_UUID = "redfish-uuid"

#: Keys of all facts that are fetched from the device, in the order in which they are displayed.
FACT_KEYS = (
    META_FRIENDLY_NAME,
    META_MANUFACTURER,
    META_MODEL,
    META_SERIAL,
    META_PRESENTATION_URL,
    META_REDFISH_VENDOR,
    META_REDFISH_PRODUCT,
    META_REDFISH_VERSION,
    META_REDFISH_UUID,
)

#: Facts of a device whose description was not fetched.
NO_FACTS: Mapping[str, str] = MappingProxyType({})

#: Bytes of a value that Consul accepts.
_VALUE_LIMIT = 512

_MAX_AGE = re.compile(r"[1-9]\d{0,4}", re.ASCII)

_Default = TypeVar("_Default", int, None)


def to_meta(advertisement: Advertisement, scope: str, facts: Mapping[str, str] = NO_FACTS) -> dict[str, str]:
    """
    Return the Meta of a service.

    :param scope: Scope of this daemon.
    :param facts: Facts that the device states about itself, see :func:`make_facts`.
    """
    return {
        META_SOURCE: SOURCE,
        META_SCOPE: sanitize(scope),
        META_DEVICE: sanitize(advertisement.device_id),
        META_USN: sanitize(advertisement.usn),
        META_NT: sanitize(advertisement.nt),
        META_LOCATION: sanitize(advertisement.location),
        META_SERVER: sanitize(advertisement.server),
        META_MAX_AGE: str(advertisement.max_age),
        **facts,
    }


def make_facts(values: Mapping[str, str]) -> dict[str, str]:
    """
    Return facts that can be added to the Meta of a service: printable, of limited length, without empty values.

    :param values: Text from a device by key, or the Meta of a service. Keys that are not in :data:`FACT_KEYS` are
        ignored.
    """
    texts = {key: sanitize(" ".join(values[key].split())).strip() for key in FACT_KEYS if key in values}
    return {key: text for key, text in texts.items() if text}


def facts_by_name(meta: Mapping[str, str]) -> dict[str, str]:
    """Return the facts in the Meta of a service by their names in labels and JSON, such as ``friendly_name``."""
    return {key.removeprefix("ssdp-").replace("-", "_"): meta[key] for key in FACT_KEYS if key in meta}


def from_meta(
    meta: Mapping[str, str], address: str, interpret: Callable[[Message, str], Meaning | None]
) -> Advertisement | None:
    """
    Return the advertisement that a service was registered for, or None if it would not be accepted now.

    :param address: Address of the service, which counts as the sender.
    :param interpret: See :func:`ssdpreg.discovery.interpret.interpreter`.
    """
    message = Alive(
        nt=meta.get(META_NT, ""),
        usn=meta.get(META_USN, ""),
        location=meta.get(META_LOCATION, ""),
        max_age=max_age_of(meta, None),
        server=meta.get(META_SERVER, ""),
    )
    meaning = interpret(message, address)
    return meaning if isinstance(meaning, Advertisement) else None


def max_age_of(meta: Mapping[str, str], default: _Default) -> int | _Default:
    """Return the max-age in seconds that a service was registered with, or a default for unreadable Meta."""
    max_age = meta.get(META_MAX_AGE, "")
    return int(max_age) if _MAX_AGE.fullmatch(max_age) else default


def sanitize(value: str) -> str:
    """Return text from the network without control characters, truncated to the length that Consul accepts."""
    if len(value) <= _VALUE_LIMIT and value.isascii() and value.isprintable():
        # Nearly always: the text is shared with the advertisement.
        return value
    if not value.isprintable():
        value = "".join(character for character in value if character.isprintable())
    return value.encode()[:_VALUE_LIMIT].decode(errors="ignore")
