"""Booleans and durations in the syntax of Go, which Consul uses in its environment variables and its HTTP API. Pure."""

from __future__ import annotations

import re

#: The spellings that Go's ``strconv.ParseBool`` accepts.
TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})

#: Seconds of each unit of Go's ``time.ParseDuration``. Microseconds have two spellings: U+00B5 and U+03BC.
UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}

_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_DURATION = re.compile(rf"[+-]?(?:0|(?:{_PART.pattern})+)", re.ASCII)


def parse_bool(text: str) -> bool:
    """
    Parse a boolean as ``strconv.ParseBool`` does.

    :raise ValueError: If the text is in neither :data:`TRUE` nor :data:`FALSE`.
    """
    if text in TRUE:
        return True
    if text in FALSE:
        return False
    raise ValueError(f"{text!r} is not a boolean")


def parse_duration(text: str) -> float:
    """
    Parse a duration as ``time.ParseDuration`` does, for example ``1h30m``, ``-1.5s``, ``.5ms`` or ``0``.

    Go rejects durations of more than about 292 years. This function returns them, up to infinity: callers have limits.

    :return: Seconds, negative for a leading ``-``.
    :raise ValueError: If the text is not a duration.
    """
    if _DURATION.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a duration")
    seconds = sum(float(number) * UNITS[unit] for number, unit in _PART.findall(text))
    return -seconds if text.startswith("-") else seconds
