"""A configuration that registers what a search has found. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from ssdpreg import config
from ssdpreg.cli.found import Device
from ssdpreg.discovery.search_terms import SearchTerm, SearchTerms, search_target
from ssdpreg.errors import ConfigError

_ANYTHING = SearchTerm("*", "")


def propose(devices: Sequence[Device], interfaces: Sequence[str]) -> str:
    """
    Write the text of a ``registry.json``, with the URNs of all services and devices that the daemon could register.

    A URN that another one stands for, as an earlier version does, is left out. The tag of a URN is who defined it.

    :param interfaces: As in ``ssdp.interfaces``; empty for all.
    :raise ConfigError: If there is nothing to write.
    """
    tags: dict[str, list[str]] = {}
    for urn in _needed(offer.nt for device in devices for offer in device.offers if not offer.problem):
        tags.setdefault(_tag(urn), []).append(urn)
    ssdp: dict[str, object] = {"tags": {tag: sorted(tags[tag]) for tag in sorted(tags)}}
    if interfaces:
        ssdp["interfaces"] = list(interfaces)
    text = json.dumps({"ssdp": ssdp}, indent=4) + "\n"
    config.parse(text)
    return text


def _needed(types: Iterable[str]) -> list[str]:
    # A Redfish service is searched for by another URN than it announces.
    urns = {search_target(_ANYTHING, nt) for nt in types if _is_urn(nt)}
    needed: dict[str, str] = {}
    # ":2" before ":10".
    for urn in sorted(urns, key=lambda urn: (len(urn), urn)):
        if not SearchTerms(needed).match(urn):
            needed[urn] = _tag(urn)
    return list(needed)


def _is_urn(nt: str) -> bool:
    """Whether a type can be configured. An asterisk would make a pattern of it."""
    if not nt.startswith("urn:") or "*" in nt:
        return False
    try:
        config.parse(json.dumps({"ssdp": {"tags": {_tag(nt): [nt]}}}))
    except ConfigError:
        return False
    return True


def _tag(urn: str) -> str:
    """Say who defined a URN: ``upnp`` of ``urn:schemas-upnp-org:…``, ``dmtf`` of ``urn:dmtf-org:…``."""
    authority = urn.split(":")[1]
    return authority.removeprefix("schemas-").rpartition("-")[0] or authority
