"""Parser of query strings in the syntax of Consul's HTTP API. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs

from ssdpreg.config.go_syntax import parse_bool, parse_duration
from ssdpreg.web.errors import ResponseError

#: Default and upper limit of ``?wait=``, in seconds, as in Consul.
_DEFAULT_WAIT = 300.0
_LONGEST_WAIT = 600.0

_INDEX = re.compile(r"\d{1,20}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Query:
    """
    Parameters of a query to the catalogue.

    :ivar index: Index that the client has seen; 0 for a query that returns at once.
    :ivar wait: Seconds to wait for a change.
    :ivar tags: Tags that a service must have, in lower case.
    :ivar node_meta: Meta that a node must have.
    :ivar filter: Filter expression, or the empty string.
    :ivar pretty: Whether to indent the response.
    """

    index: int
    wait: float
    tags: frozenset[str]
    node_meta: Mapping[str, str]
    filter: str
    pretty: bool


def parse_query(text: str, datacenter: str) -> Query:
    """
    Parse a query string as Consul 1.8 does.

    ``near``, ``stale`` and ``cached`` are accepted without effect. They choose between the copies of a cluster, and
    this daemon has one copy.

    :param text: The query string of the URL. Parameters may lack a value.
    :param datacenter: The only datacenter that ``dc`` accepts.
    :raise ResponseError: If a value is invalid.
    """
    values = parse_qs(text, keep_blank_values=True)
    first = {name: each[0] for name, each in values.items()}
    if "stale" in first and "consistent" in first:
        raise ResponseError("Cannot specify ?stale with ?consistent, conflicting semantics.")
    if first.get("dc", datacenter) not in ("", datacenter):
        raise ResponseError("No path to datacenter", 500)
    _check_passing(first.get("passing", ""))
    return Query(
        index=_parse_index(first.get("index", "")),
        wait=_parse_wait(first.get("wait", "")),
        tags=frozenset(tag.casefold() for tag in values.get("tag", ())),
        node_meta=dict(_parse_pair(pair) for pair in values.get("node-meta", ())),
        filter=first.get("filter", ""),
        pretty="pretty" in first,
    )


def _check_passing(text: str) -> None:
    """Check the value of ``passing``, which has no effect: every service in the catalogue passes."""
    try:
        # "?passing" without a value means true.
        parse_bool(text or "true")
    except ValueError as error:
        raise ResponseError("Invalid value for ?passing") from error


def _parse_pair(text: str) -> tuple[str, str]:
    key, _, value = text.partition(":")
    return key, value


def _parse_index(text: str) -> int:
    if not text:
        return 0
    if not _INDEX.fullmatch(text):
        raise ResponseError("Invalid index")
    return int(text)


def _parse_wait(text: str) -> float:
    if not text:
        return _DEFAULT_WAIT
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise ResponseError("Invalid wait time") from error
    return min(seconds, _LONGEST_WAIT) if seconds > 0 else _DEFAULT_WAIT
