"""
Program that registers services with a Consul agent as the daemon does, without a network.

Usage: ``python -m tests.support.writer ADDRESS SCOPE FIRST LAST``. It registers the services of
:func:`ssdpreg.testing.make_registration` with these numbers, and prints its log.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.logger import globalLogBeginner, textFileLogObserver

from ssdpreg.backends.consul_agent import make_backend
from ssdpreg.config import ConsulConfig
from ssdpreg.reconciler import Reconciler
from ssdpreg.registration import Registration
from ssdpreg.testing import make_registration


def main(address: str, scope: str, first: int, last: int) -> None:
    """Register services until the process is killed."""
    reactor: Any = global_reactor
    reactor.seconds = time.monotonic
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)], redirectStandardIO=False)
    registrations = [make_registration(number, scope) for number in range(first, last)]
    desired = {registration.service_id: registration for registration in registrations}
    backend = make_backend(reactor, ConsulConfig(address=address), scope)
    reconciler = Reconciler(reactor, backend, desired, _adopt)
    reactor.callWhenRunning(reconciler.startService)
    reactor.run()


def _adopt(found: Iterable[Registration]) -> None:
    """Adopt nothing: the services of another configuration match no search term."""


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
