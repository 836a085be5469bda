"""How a command runs on the reactor."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import react
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    eventAsText,
    globalLogBeginner,
)
from twisted.python.failure import Failure
from zope.interface import provider

from ssdpreg.cli.output import make_console, print_lines, safe


def run(command: Callable[[Any], Coroutine[Deferred[Any], Any, int]]) -> int:
    """
    Run a coroutine on the reactor to its end. Ctrl-C cancels it. Warnings go to standard error.

    :param command: Called as ``command(reactor)``.
    :return: What it returned, or 1 where it was cancelled and left it at that; what else it raised is raised.
    """
    outcome: list[int | Failure] = []

    def begin(reactor: Any) -> Deferred[None]:
        running = Deferred.fromCoroutine(command(reactor))

        def cancel() -> Deferred[Any]:
            running.cancel()
            return running

        reactor.addSystemEventTrigger("before", "shutdown", cancel)
        return running.addBoth(outcome.append)

    warnings = FilteringLogObserver(_to_stderr, [LogLevelFilterPredicate(LogLevel.warn)])
    globalLogBeginner.beginLoggingTo([warnings], redirectStandardIO=False, discardBuffer=True)
    with suppress(SystemExit):
        react(begin)
    (status,) = outcome
    if not isinstance(status, Failure):
        return status
    if not status.check(CancelledError):
        status.raiseException()
    return 1


@provider(ILogObserver)
def _to_stderr(event: LogEvent) -> None:
    console = make_console(stderr=True)
    text = eventAsText(event, includeTimestamp=False, includeSystem=False)
    print_lines(console, [safe(line, console) for line in text.splitlines()])
