"""Settings and times of a simulation."""

from __future__ import annotations

from dataclasses import dataclass

#: Seconds between two comparisons of the services that are wrong, and between two checks of the daemon's work.
CHECK = 1.0
MINUTE = 60.0
MEMORY = 900.0
#: Mean seconds between two attacks. Short runs have more attacks, and more faults of the network and the daemon: a day
#: must not take more than two minutes.
ATTACK = 250.0
SHORT = 6.0
RATE_OF_SHORT_RUNS = 1.8
#: The end of each period is quiet: nothing changes, and no fault is active.
PERIOD = 3 * 3600.0
QUIET = 1500.0
#: At the end of the simulation the quiet time is longer than every lifetime of honest devices.
LAST_QUIET = 2400.0


@dataclass(frozen=True)
class Settings:
    """
    Settings of a simulation.

    :ivar seed: Number from which everything is drawn.
    :ivar hours: Simulated hours.
    :ivar devices: Number of devices.
    :ivar loss: Probability that a datagram is lost, without a fault.
    :ivar churn: Mean seconds between two changes of one device.
    :ivar faults: Whether Consul, the network, the daemon and the operators cause faults.
    :ivar attacks: Whether there are attackers.
    :ivar attack: Name of the only kind of attack, empty for all kinds.
    :ivar measure: Whether removals because of losses are counted only.
    :ivar mode: Mode of the backend: ``agent`` or ``catalog``.
    """

    seed: int = 1
    hours: float = 24.0
    devices: int = 300
    loss: float = 0.01
    churn: float = 14400.0
    faults: bool = True
    attacks: bool = True
    attack: str = ""
    measure: bool = False
    mode: str = "agent"
