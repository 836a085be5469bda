"""
Program that holds the lock of a scope and looks after dead scopes as the daemon does, without a network.

Usage: ``python -m tests.support.lock_program ADDRESS SCOPE REAP_AFTER [DEAD_AFTER]``. It prints its log, and ends at
SIGTERM. While it holds the lock, it writes a node every 0.5 s in a fenced transaction.
"""

from __future__ import annotations

import sys
import time
from typing import Any
from urllib.parse import quote

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.logger import Logger, globalLogBeginner, textFileLogObserver

from ssdpreg.backends.consul_connection import connect
from ssdpreg.backends.scopes import dead_scopes
from ssdpreg.backends.scopes.lock import make_lock
from ssdpreg.backends.scopes.reaper import make_reaper
from ssdpreg.config import ConsulConfig
from ssdpreg.errors import BackendError
from ssdpreg.timers import RepeatingCall

log = Logger()


def main(address: str, scope: str, reap_after: float, dead_after: float) -> None:
    """Hold the lock until the process is terminated."""
    reactor: Any = global_reactor
    reactor.seconds = time.monotonic
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)], redirectStandardIO=False)
    dead_scopes.DEAD_AFTER = dead_after
    config = ConsulConfig(address=address, mode="catalog", reap_after=reap_after)
    lock = make_lock(reactor, config, scope)
    reaper = make_reaper(reactor, config, scope, lock)
    http = connect(reactor, config)
    node = {"Node": f"written-by-{quote(scope)}", "Address": "192.0.2.1", "Meta": {"test": "1"}}

    async def write() -> None:
        try:
            fence = lock.operation()
            operations = [fence, {"Node": {"Verb": "set", "Node": node}}]
            status, answer = await http.exchange("txn", "PUT", "/v1/txn", operations, accept=409)
        except BackendError as error:
            log.info("Not written: {error}", error=error)
            return
        log.info("Response to a write: {status} {answer}", status=status, answer=answer["Errors"])
        if status == 409:
            lock.lost()

    async def stop() -> None:
        await reaper.stop()
        await lock.stop()

    writing = RepeatingCall(reactor, 0.5, lambda: Deferred.fromCoroutine(write()), log, "Write")
    reactor.callWhenRunning(lock.start)
    reactor.callWhenRunning(reaper.start)
    reactor.callWhenRunning(writing.start)
    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(stop()))
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]) if len(sys.argv) > 4 else 60.0)
