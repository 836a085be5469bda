"""One copy of values that many devices have in common, so that a large table needs less memory. Pure."""

from __future__ import annotations

from functools import lru_cache

#: Number of values that are kept. The SERVER of a device names its product, and most devices have few max-ages.
_KEPT = 1024


@lru_cache(_KEPT)
def shared_text(text: str) -> str:
    """Return the copy of a text that was used before, or the text itself."""
    return text


@lru_cache(_KEPT)
def shared_number(number: int) -> int:
    """Return the copy of a number that was used before, or the number itself."""
    return number


def shared_with(other: str, text: str) -> str:
    """Return the other text if both are equal, so that only one of them is kept."""
    return other if text == other else text
