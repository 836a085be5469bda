"""Facts in the service root of a Redfish service: DSP0266, section "Service root". Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ssdpreg.errors import DescriptionError


@dataclass(frozen=True, slots=True)
class RedfishFacts:
    """
    Facts that a Redfish service states about itself, as far as its service root has them. Text from the network.

    :ivar vendor: Value of ``Vendor``.
    :ivar product: Value of ``Product``.
    :ivar version: Value of ``RedfishVersion``.
    :ivar uuid: Value of ``UUID``.
    """

    vendor: str = ""
    product: str = ""
    version: str = ""
    uuid: str = ""


def parse_redfish_root(content: bytes) -> RedfishFacts:
    """
    Parse a service root.

    :param content: The JSON document.
    :raise DescriptionError: If the document is no service root.
    """
    try:
        # Numbers are not needed. A number of 200,000 digits would take long to convert.
        root = json.loads(content, parse_int=_skip_number, parse_float=_skip_number)
    except RecursionError as error:
        raise DescriptionError("the JSON document has too many nested values") from error
    except ValueError as error:
        raise DescriptionError(f"no JSON document: {error}") from error
    # The specification requires both properties of a service root. Some services lack one of them.
    if not isinstance(root, dict) or not root.keys() & {"@odata.id", "RedfishVersion"}:
        raise DescriptionError("the document is no service root of Redfish")
    return RedfishFacts(*(_text(root, key) for key in ("Vendor", "Product", "RedfishVersion", "UUID")))


def _skip_number(digits: str) -> None:
    """Return the value of any number in the document."""


def _text(root: dict[str, object], key: str) -> str:
    """Return the text of a property; empty if it is absent, or null, or of another type."""
    value = root.get(key)
    return value if isinstance(value, str) else ""
