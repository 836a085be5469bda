"""What stands behind the question mark, as Consul reads it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs

from ssdpreg.web.errors import AnswerError

#: Seconds that a reader waits for a change, unless it says otherwise, and at most.
_DEFAULT_WAIT = 300.0
_LONGEST_WAIT = 600.0

#: As Go reads durations; 0 needs no unit.
_DURATION = re.compile(r"(?P<sign>[+-]?)(?:0|(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)", re.ASCII)
_DURATION_PART = re.compile(r"([\d.]+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}

_INDEX = re.compile(r"\d{1,20}", re.ASCII)
#: As Go reads truth values.
_TRUE = ("", "1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


@dataclass(frozen=True, slots=True)
class Query:
    """
    What a reader of the catalogue wants to know.

    :ivar index: The state that it has seen already, 0 for none.
    :ivar wait: Seconds that it is ready to wait for another.
    :ivar tags: What every service must be tagged with, in any case of letters.
    :ivar node_meta: What every node must have as meta data.
    :ivar pretty: Whether people are to read the answer.
    """

    index: int
    wait: float
    tags: frozenset[str]
    node_meta: Mapping[str, str]
    pretty: bool


def parse_query(text: str, datacenter: str) -> Query:
    """
    Read a query as Consul 1.8 does. What only orders or hastens an answer (``near``, ``stale``, ``cached``) changes
    nothing here, where there is one copy of everything.

    :param text: As it stands in the URL, where a name may go without a value.
    :param datacenter: The only one that can be asked for.
    :raise AnswerError: If it cannot be answered.
    """
    values = parse_qs(text, keep_blank_values=True)
    first = {name: each[0] for name, each in values.items()}
    if "stale" in first and "consistent" in first:
        raise AnswerError("Cannot specify ?stale with ?consistent, conflicting semantics.")
    if first.get("dc", datacenter) not in ("", datacenter):
        raise AnswerError("No path to datacenter", 500)
    if first.get("filter"):
        raise AnswerError("?filter is not supported by ssdpreg: use ?tag, or filter what is answered")
    if first.get("passing", "") not in (*_TRUE, *_FALSE):
        raise AnswerError("Invalid value for ?passing")
    return Query(
        index=_index(first.get("index", "")),
        wait=_wait(first.get("wait", "")),
        tags=frozenset(tag.casefold() for tag in values.get("tag", ())),
        node_meta=dict(_pair(pair) for pair in values.get("node-meta", ())),
        pretty="pretty" in first,
    )


def _pair(text: str) -> tuple[str, str]:
    key, _, value = text.partition(":")
    return key, value


def _index(text: str) -> int:
    if not text:
        return 0
    if not _INDEX.fullmatch(text):
        raise AnswerError("Invalid index")
    return int(text)


def _wait(text: str) -> float:
    if not text:
        return _DEFAULT_WAIT
    duration = _DURATION.fullmatch(text)
    if duration is None:
        raise AnswerError("Invalid wait time")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(text))
    if not seconds or duration["sign"] == "-":
        return _DEFAULT_WAIT
    return min(seconds, _LONGEST_WAIT)
