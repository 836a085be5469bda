"""
The clock of the reactor.

By default ``reactor.seconds()`` is ``time.time()``, so Twisted's timers follow the time of day, which can be set: NTP
often corrects it by years soon after a host without a battery-backed clock has booted. A step forward would expire all
services, and a step back would stop all timers until the old time is reached again. The daemon uses a clock that cannot
be set.

A reading of the monotonic clock has no meaning outside of the process: the clock starts at an arbitrary moment, such as
the boot of the host. A value that leaves the process is an age or a remaining time (both differences of two readings),
or the time of day from ``time.time()``.
"""

from __future__ import annotations

import time
from typing import Any


def use_monotonic_clock(reactor: Any) -> None:
    """
    Replace the clock of a reactor, before any of its timers is started, by the monotonic clock of the system.

    :param reactor: Its ``seconds`` is replaced. All timers of Twisted read that.
    """
    reactor.seconds = time.monotonic
