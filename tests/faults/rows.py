"""All rows of the fault matrix, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests.faults import attacks, host_faults
from tests.faults.consul_faults import CONSUL_FAULTS, run_consul_fault
from tests.faults.row import Row

#: Seconds of a fault: in the long and in the short form.
LONG, SHORT = 45.0, 10.0


@dataclass(frozen=True)
class RowDefinition:
    """
    Row of the matrix.

    :ivar row: The row without measurements.
    :ivar measure: Called with the row to complete, and the duration of the fault in seconds.
    :ivar heavy: Whether it needs the whole machine, so that no other row may run at the same time.
    """

    row: Row
    measure: Callable[[Row, float], None]
    heavy: bool = False


def _host(name: str, text: str, measure: Callable[[Row, float], None], heavy: bool = False) -> RowDefinition:
    return RowDefinition(Row(name, text), measure, heavy)


_DEFINITIONS = (
    *(
        RowDefinition(
            Row(name, fault.text, fault.equal_within, keeps_alive=fault.keeps_alive), partial(run_consul_fault, fault)
        )
        for name, fault in CONSUL_FAULTS.items()
    ),
    _host("consul-stopped", "Consul stopped (SIGSTOP); 500 devices, 50 new", host_faults.consul_stopped, True),
    _host("consul-wiped", "Consul killed, and started without data; 500 devices", host_faults.consul_wiped, True),
    _host("three-servers", "two of three Consul servers killed, no leader", host_faults.three_servers),
    _host("token-replaced", "the token is revoked; later the file has a new one", host_faults.token_replaced),
    _host("token-extended", "the file gets a token with more rights", host_faults.token_extended),
    _host("daemon-killed", "the daemon killed (SIGKILL) five times", host_faults.daemon_killed),
    _host("daemon-stopped", "the daemon stopped (SIGSTOP) longer than max-age", host_faults.daemon_stopped),
    _host("two-daemons", "a second daemon with the same host name", host_faults.two_daemons),
    _host("interface-unplugged", "no carrier for longer than max-age", host_faults.interface_unplugged),
    _host("interface-down", "interface down for longer than max-age", host_faults.interface_down),
    _host("interface-flap", "no carrier for 3 s", host_faults.interface_flap),
    _host("interface-renumbered", "the rack server gets another address", host_faults.interface_renumbered),
    _host("moved-and-left", "ten devices move, and leave later", host_faults.moved_and_left),
    _host("flood", "20,000 services of 10 addresses; then honest changes", attacks.flood, True),
    _host("moving-services", "200 services that move 2,000 times a second", attacks.moving_services, True),
)
ROWS: dict[str, RowDefinition] = {definition.row.name: definition for definition in _DEFINITIONS}


def run_row(name: str, seconds: float) -> Row:
    """
    Run one row.

    :param seconds: Duration of the fault.
    """
    definition = ROWS[name]
    definition.measure(definition.row, seconds)
    return definition.row
