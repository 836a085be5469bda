"""A row of the benchmark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """
    One measurement, and the contenders that it compares.

    :ivar name: Name for ``--only``.
    :ivar title: Name in the table.
    :ivar contenders: Programs that are measured one after the other in each round.
    :ivar measure: Returns the figures of a contender: value by name. A name ends with its unit.
    """

    name: str
    title: str
    contenders: Sequence[str]
    measure: Callable[[str], dict[str, float]]
