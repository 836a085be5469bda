"""
Faults between several keys of an object. Pure.

The argument of each rule is an object of the file as decoded JSON. Its values may have wrong types, which are other
faults: the kinds of the keys report them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ssdpreg.config.consul_address import scheme_of
from ssdpreg.config.faults import Path, RelativeFault, format_path, quote
from ssdpreg.registration.names import dns_name


def find_ssdp_faults(raw: Mapping[str, Any]) -> Iterator[RelativeFault]:
    """Yield URNs and DNS names that occur twice, and checks of URNs that ``tags`` does not list."""
    urns: dict[str, Path] = {}
    names: dict[str, Path] = {}
    for path, tag, urn in _listed_urns(raw.get("tags")):
        if urn in urns:
            yield RelativeFault(path, f"{quote(urn)} is already listed at {format_path(('ssdp', *urns[urn]))}")
            continue
        urns[urn] = path
        # The names of a pattern's services depend on the types that devices will announce.
        if raw.get("names") == "dns" and not urn.endswith("*"):
            name = dns_name(tag, urn)
            if name in names:
                other = format_path(("ssdp", *names[name]))
                yield RelativeFault(path, f"has the same DNS name as {other}: {quote(name)}")
            names.setdefault(name, path)
    checks = raw.get("checks")
    if urns and isinstance(checks, dict):
        for urn in checks.keys() - urns.keys():
            yield RelativeFault(("checks", urn), "is not listed in ssdp.tags")


def _listed_urns(tags: object) -> Iterator[tuple[Path, str, str]]:
    """Yield the path, the tag and the URN for each string of ``tags``."""
    if isinstance(tags, dict):
        for tag, urns in tags.items():
            if isinstance(urns, list):
                yield from ((("tags", tag, index), tag, urn) for index, urn in enumerate(urns) if isinstance(urn, str))


def find_check_faults(raw: Mapping[str, Any]) -> Iterator[RelativeFault]:
    """Yield a fault unless a check is either an HTTP check or a TCP check."""
    if (raw.get("http") is None) == (raw.get("tcp", False) is False):
        yield RelativeFault((), 'requires exactly one of "http": "/PATH" and "tcp": true')


def find_consul_faults(raw: Mapping[str, Any]) -> Iterator[RelativeFault]:
    """Yield keys without the key that they require, and keys that conflict with another key."""
    given = {key for key, value in raw.items() if value is not None}
    if raw.get("mode", "agent") == "agent":
        for key in ("lock", "node_prefix"):
            if raw.get(key):
                yield RelativeFault((key,), 'requires "mode": "catalog"')
    for key, other in (("cert_file", "key_file"), ("key_file", "cert_file")):
        if key in given and other not in given:
            yield RelativeFault((key,), f"requires {other}")
    if {"token", "token_file"} <= given:
        yield RelativeFault(("token_file",), "conflicts with token: remove one of them")
    scheme = scheme_of(raw)
    if scheme is not None and raw["scheme"] != scheme:
        problem = f"{quote(raw['scheme'])} conflicts with the address, which starts with {scheme}://"
        yield RelativeFault(("scheme",), problem)
