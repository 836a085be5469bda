"""
The daemon with a meter of the reactor's turns.

    python -m bench.receivers.metered CONFIG

SIGUSR1 prints the seconds of the longest turn since the signal before. A turn contains everything that happened in it,
the garbage collection included.
"""

from __future__ import annotations

import signal
import sys
import time
from typing import Any

from twisted.logger import globalLogBeginner, textFileLogObserver

from ssdpreg.daemon.tap import Options, makeService


class Turns:
    """
    Meter of the reactor's turns.

    :ivar longest: Seconds of the longest turn since the last report.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._last = time.perf_counter()
        self.longest = 0.0

    def start(self) -> None:
        """Measure every turn from now."""
        self._last, self.longest = time.perf_counter(), 0.0
        self._turn()

    def _turn(self) -> None:
        now = time.perf_counter()
        self.longest = max(self.longest, now - self._last)
        self._last = now
        # A turn without work takes a millisecond, so that the meter leaves CPU time to the daemon.
        self._reactor.callLater(0.001, self._turn)

    def report(self) -> None:
        """Print the longest turn, and begin again."""
        print(f"{max(self.longest - 0.001, 0.0):.6f}", flush=True)
        self.longest = 0.0


def main(config: str) -> None:
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    options = Options()
    options.parseOptions(["--config", config])
    service: Any = makeService(options)
    from twisted.internet import reactor as installed

    reactor: Any = installed
    turns = Turns(reactor)
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    started = False

    def report(*_: object) -> None:
        nonlocal started
        if not started:
            # The meter costs CPU time: it runs only for rows that read it.
            started = True
            reactor.callFromThread(turns.start)
        reactor.callFromThread(turns.report)

    signal.signal(signal.SIGUSR1, report)
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1])
