"""``ssdpreg watch``: prints each change of what a daemon has registered."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from rich.console import Console
from rich.text import Text
from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater

from ssdpreg.cli.output import make_console, print_lines, safe
from ssdpreg.cli.reader import Reader, Service, make_reader
from ssdpreg.cli.running import run
from ssdpreg.cli.services import add_url, token
from ssdpreg.errors import BackendUnavailableError

#: Seconds to wait for a change. Health changes without one of what Consul lets wait for, so it is not long.
_WAIT = 10
#: Seconds between two questions, when changes come one after the other.
_PAUSE = 0.2
#: Seconds between two attempts to reach who does not answer.
_RETRY = 1.0

_DESCRIPTION = """
Print what a running daemon shows, or what is in Consul of it, as a line for each service, and from then on a line for
each change: + for what came, ~ for what changed, - for what left. Ctrl-C ends it. While the daemon does not answer, or
has just started, nothing is known to change.
"""
_EXIT_STATUS = """
Exit status: 0 if it was ended by Ctrl-C; 1 if nobody answered at first, or nobody reads on; 2 for a wrong usage.
"""

_STYLES = {"added": "green", "changed": "yellow", "removed": "red"}
_SIGNS = {"added": "+", "changed": "~", "removed": "-"}


@dataclass(frozen=True, slots=True)
class Change:
    """
    What became of a service.

    :ivar kind: ``added``, ``changed`` or ``removed``.
    :ivar before: As it was, or ``None``.
    :ivar service: As it is, or was at last.
    """

    kind: str
    before: Service | None
    service: Service


Known = Mapping[tuple[str, str], Service]


def compare(before: Known, after: Known) -> Iterator[Change]:
    """Tell what changed between two states."""
    for key, service in before.items():
        if key not in after:
            yield Change("removed", service, service)
    for key, service in after.items():
        if key not in before:
            yield Change("added", None, service)
        elif service != before[key]:
            yield Change("changed", before[key], service)


def add_parser(commands: Any) -> None:
    """Add the subcommand to those of a parser."""
    parser = commands.add_parser(
        "watch", help="print each change of what a daemon has registered", description=_DESCRIPTION, epilog=_EXIT_STATUS
    )
    add_url(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    parser.set_defaults(run=lambda arguments: run(partial(_watch, arguments)))


async def _watch(arguments: argparse.Namespace, reactor: Any) -> int:
    console = make_console()
    show = _print_json if arguments.json else _print_line
    watcher = Watcher(reactor, make_reader(reactor, arguments.url, token()))
    try:
        while True:
            for change in await watcher.changes():
                show(console, change)
    except CancelledError:
        return 0


class Watcher:
    """
    Follows what is registered.

    :param reactor: Provides ``IReactorTime``.
    :param reader: Asks for it.
    """

    def __init__(self, reactor: Any, reader: Reader) -> None:
        self._reactor = reactor
        self._reader = reader
        self._known: Known = {}
        self._index = 0

    async def changes(self) -> list[Change]:
        """
        Wait for changes, which there may be none of for a while.

        :raise BackendUnavailableError: If nobody answers the first time.
        :raise BackendRefusedError: If the answer is no.
        """
        try:
            services = await self._next()
        except BackendUnavailableError as error:
            if not self._index:
                raise
            services = await self._return(error)
        known = {service.key: service for service in services}
        changes = list(compare(self._known, known))
        self._known = known
        return changes

    async def _next(self) -> list[Service]:
        if self._index:
            await deferLater(self._reactor, _PAUSE)
        _, index = await self._reader.names(self._index, _WAIT)
        services = await self._reader.services()
        # An index that falls is another daemon's, or of a Consul that forgot everything.
        self._index = index if index > 0 and index >= self._index else 1
        return services

    async def _return(self, error: BackendUnavailableError) -> list[Service]:
        """Wait until the daemon is there again, and has heard what there is: nothing has left only because it has."""
        _say(f"{error}; waiting for it")
        self._index = 1
        while True:
            await deferLater(self._reactor, _RETRY)
            try:
                if await self._reader.ready():
                    services = await self._reader.services()
                    break
            except BackendUnavailableError:
                continue
        _say("It answers again.")
        return services


def _say(text: str) -> None:
    console = make_console(stderr=True)
    print_lines(console, [safe(text, console)])


def _print_line(console: Console, change: Change) -> None:
    before, service = change.before or change.service, change.service
    facts = [service.name, _turn(before.endpoint, service.endpoint), _turn(before.health, service.health)]
    if before.tags != service.tags:
        facts.append(_turn(",".join(before.tags), ",".join(service.tags)))
    now = datetime.now().isoformat(" ", "seconds")
    line = f"{_SIGNS[change.kind]} {now} {safe(' '.join(facts), console)}"
    print_lines(console, [Text(line, _STYLES[change.kind])])


def _turn(before: str, after: str) -> str:
    return after if before == after else f"{before} -> {after}"


def _print_json(console: Console, change: Change) -> None:
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    document = {"time": now, "change": change.kind, "service": change.service.document()}
    print_lines(console, [json.dumps(document)])
