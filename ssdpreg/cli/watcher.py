"""Execution of ``ssdpreg watch``: wait for changes of the registered services, and print them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text
from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater

from ssdpreg.cli.output import escape_invisible, make_console, print_lines, print_message
from ssdpreg.cli.reader import Reader, Service, make_reader
from ssdpreg.cli.service_list import consul_token
from ssdpreg.errors import BackendUnavailableError

#: Longest wait of a blocking query, in seconds. It is short, because a change of health alone does not end the query.
_LONGEST_WAIT = 10
#: Seconds between two queries, as a limit for changes that follow each other quickly.
_QUERY_INTERVAL = 0.2
#: Seconds between two attempts to reach a server that does not respond.
_RETRY_INTERVAL = 1.0

_STYLES = {"added": "green", "changed": "yellow", "removed": "red"}
_SIGNS = {"added": "+", "changed": "~", "removed": "-"}

#: Services by their keys.
Services = Mapping[tuple[str, str], Service]


@dataclass(frozen=True, slots=True)
class ServiceChange:
    """
    Change of a registered service.

    :ivar kind: ``added``, ``changed`` or ``removed``.
    :ivar before: The service before the change, or None if it was added.
    :ivar service: The service after the change, or before it if it was removed.
    """

    kind: str
    before: Service | None
    service: Service


def compare(before: Services, after: Services) -> Iterator[ServiceChange]:
    """Yield the changes between two states."""
    for key, service in before.items():
        if key not in after:
            yield ServiceChange("removed", service, service)
    for key, service in after.items():
        if key not in before:
            yield ServiceChange("added", None, service)
        elif service != before[key]:
            yield ServiceChange("changed", before[key], service)


async def watch_services(arguments: argparse.Namespace, reactor: Any) -> int:
    """
    Print changes until the coroutine is cancelled.

    :param arguments: Options of :func:`ssdpreg.cli.watch.add_parser`.
    :return: Exit status.
    :raise BackendError: If the server does not respond to the first request, or rejects a request.
    """
    console = make_console()
    print_change = _print_json if arguments.json else _print_line
    watcher = Watcher(reactor, make_reader(reactor, arguments.url, consul_token()))
    try:
        while True:
            for change in await watcher.changes():
                print_change(console, change)
    except CancelledError:
        return 0


class Watcher:
    """
    Source of the changes at one server.

    :param reactor: Provides ``IReactorTime``.
    :param reader: Client of the server.
    """

    def __init__(self, reactor: Any, reader: Reader) -> None:
        self._reactor = reactor
        self._reader = reader
        self._services: Services = {}
        self._index = 0

    async def changes(self) -> list[ServiceChange]:
        """
        Wait for the next state, and return its differences from the last one. The list may be empty.

        :raise BackendUnavailableError: If the server does not respond to the first request. After that, retry.
        :raise BackendRefusedError: If the server rejects a request.
        """
        try:
            services = await self._query()
        except BackendUnavailableError as error:
            if not self._index:
                raise
            services = await self._reconnect(error)
        after = {service.key: service for service in services}
        changes = list(compare(self._services, after))
        self._services = after
        return changes

    async def _query(self) -> list[Service]:
        """Wait until the index of the server changes or the query times out, and return all services."""
        if self._index:
            await deferLater(self._reactor, _QUERY_INTERVAL)
        _, index = await self._reader.names(self._index, _LONGEST_WAIT)
        services = await self._reader.services()
        # The index falls when the server has restarted without its state. Begin again with 1.
        self._index = index if index > 0 and index >= self._index else 1
        return services

    async def _reconnect(self, error: BackendUnavailableError) -> list[Service]:
        """
        Wait until the server responds and is ready, and return all services.

        A daemon that has just started has no services yet. They would all be reported as removed.
        """
        print_message(f"{error}; retrying")
        self._index = 1
        while True:
            await deferLater(self._reactor, _RETRY_INTERVAL)
            try:
                if await self._reader.ready():
                    services = await self._reader.services()
                    break
            except BackendUnavailableError:
                continue
        print_message("The server responds again.")
        return services


def _print_line(console: Console, change: ServiceChange) -> None:
    before, service = change.before or change.service, change.service
    values = [
        service.name,
        _format_change(before.endpoint, service.endpoint),
        _format_change(before.health, service.health),
    ]
    if before.tags != service.tags:
        values.append(_format_change(",".join(before.tags), ",".join(service.tags)))
    now = datetime.now().isoformat(" ", "seconds")
    line = f"{_SIGNS[change.kind]} {now} {escape_invisible(' '.join(values), console)}"
    print_lines(console, [Text(line, _STYLES[change.kind])])


def _format_change(before: str, after: str) -> str:
    return after if before == after else f"{before} -> {after}"


def _print_json(console: Console, change: ServiceChange) -> None:
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    document = {"time": now, "change": change.kind, "service": change.service.document()}
    print_lines(console, [json.dumps(document)])
