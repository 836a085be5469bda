"""All rows of the fault matrix, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests.faults.consul_faults import CONSUL_FAULTS, run_consul_fault
from tests.faults.row import Row

#: Seconds of a fault: in the long and in the short form.
LONG, SHORT = 45.0, 10.0


@dataclass(frozen=True)
class RowDefinition:
    """
    Row of the matrix.

    :ivar text: Description.
    :ivar run: Called with the duration of the fault in seconds.
    :ivar heavy: Whether it needs the whole machine.
    """

    text: str
    run: Callable[[float], Row]
    heavy: bool = False


ROWS: dict[str, RowDefinition] = {
    name: RowDefinition(fault.text, partial(run_consul_fault, name, fault)) for name, fault in CONSUL_FAULTS.items()
}


def run_row(name: str, seconds: float) -> Row:
    """
    Run one row.

    :param seconds: Duration of the fault.
    """
    return ROWS[name].run(seconds)
