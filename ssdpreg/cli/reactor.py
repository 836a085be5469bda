"""Execution of a subcommand on the reactor."""

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

from ssdpreg.cli.output import print_message


def run_on_reactor(command: Callable[[Any], Coroutine[Deferred[Any], Any, int]]) -> int:
    """
    Run a coroutine on the reactor until it returns. Log warnings to standard error. Ctrl-C cancels the coroutine.

    :param command: Called as ``command(reactor)``.
    :return: The return value of the coroutine, or 1 if it raised ``CancelledError``.
    :raise Exception: Any other exception of the coroutine.
    """
    outcome: list[int | Failure] = []

    def begin(reactor: Any) -> Deferred[None]:
        running = Deferred.fromCoroutine(command(reactor))

        def cancel() -> Deferred[Any]:
            running.cancel()
            return running

        reactor.addSystemEventTrigger("before", "shutdown", cancel)
        return running.addBoth(outcome.append)

    warnings = FilteringLogObserver(_print_event, [LogLevelFilterPredicate(LogLevel.warn)])
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
def _print_event(event: LogEvent) -> None:
    for line in eventAsText(event, includeTimestamp=False, includeSystem=False).splitlines():
        print_message(line)
