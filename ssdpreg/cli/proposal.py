"""Configuration for the daemon, proposed from the results of a search. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from ssdpreg import config
from ssdpreg.cli.search_results import FoundDevice
from ssdpreg.discovery.search_terms import SearchTerm, SearchTerms, search_target
from ssdpreg.errors import ConfigError

_MATCH_ALL = SearchTerm("*", "")


def propose_configuration(devices: Sequence[FoundDevice], interfaces: Sequence[str]) -> str:
    """
    Return the text of a ``registry.json`` with the URNs of all advertisements that the daemon would accept.

    A URN is left out if an earlier version in the same file matches it. The tag of a URN is derived from the
    organization that defined it.

    :param interfaces: Value of ``ssdp.interfaces``; empty for all interfaces.
    :raise ConfigError: If there is no URN to configure.
    """
    tags: dict[str, list[str]] = {}
    for urn in _select_urns(each.nt for device in devices for each in device.advertisements if not each.problem):
        tags.setdefault(_derive_tag(urn), []).append(urn)
    ssdp: dict[str, object] = {"tags": {tag: sorted(tags[tag]) for tag in sorted(tags)}}
    if interfaces:
        ssdp["interfaces"] = list(interfaces)
    text = json.dumps({"ssdp": ssdp}, indent=4) + "\n"
    config.parse(text)
    return text


def _select_urns(types: Iterable[str]) -> list[str]:
    """Return the configurable URNs, without those that another one of them matches."""
    # A Redfish service announces its minor version, and is configured and searched for without it.
    urns = {search_target(_MATCH_ALL, nt) for nt in types if _is_configurable(nt)}
    selected: dict[str, str] = {}
    # ":2" before ":10".
    for urn in sorted(urns, key=lambda urn: (len(urn), urn)):
        if not SearchTerms(selected).match(urn):
            selected[urn] = _derive_tag(urn)
    return list(selected)


def _is_configurable(nt: str) -> bool:
    """Return whether a type is a URN that a configuration may contain. One with an asterisk would be a pattern."""
    if not nt.startswith("urn:") or "*" in nt:
        return False
    try:
        config.parse(json.dumps({"ssdp": {"tags": {_derive_tag(nt): [nt]}}}))
    except ConfigError:
        return False
    return True


def _derive_tag(urn: str) -> str:
    """Return the name of the organization in a URN: ``upnp`` of ``urn:schemas-upnp-org:…``."""
    authority = urn.split(":")[1]
    return authority.removeprefix("schemas-").rpartition("-")[0] or authority
