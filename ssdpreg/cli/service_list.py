"""Execution of ``ssdpreg services``: read the registered services once, and print them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from ssdpreg.cli.output import escape_invisible, make_console, print_json, print_message, print_table
from ssdpreg.cli.reader import Service, make_reader

#: Colour of each state of health.
_COLOURS = {"passing": "green", "warning": "yellow", "critical": "red", "maintenance": "blue"}


async def print_services(arguments: argparse.Namespace, reactor: Any) -> int:
    """
    Print the registered services.

    :param arguments: Options of :func:`ssdpreg.cli.services.add_parser`.
    :return: Exit status.
    :raise BackendError: If the server does not respond, or rejects the request.
    """
    services = await make_reader(reactor, arguments.url, consul_token()).services(arguments.name)
    if arguments.json:
        print_json({"services": [service.document() for service in services]})
    elif services:
        _print_table(services)
    else:
        condition = "" if arguments.name is None else f" with the name {arguments.name!r}"
        print_message(f"No service of ssdpreg at {arguments.url}{condition}.")
    return 0


def consul_token() -> str:
    """Return the ACL token for Consul, empty if the environment has none."""
    return os.environ.get("CONSUL_HTTP_TOKEN", "")


def _print_table(services: Sequence[Service]) -> None:
    console = make_console()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("Service", overflow="fold")
    table.add_column("Device", overflow="fold")
    table.add_column("Address", overflow="fold")
    any_tags = any(service.tags for service in services)
    if any_tags:
        table.add_column("Tags", overflow="fold")
    table.add_column("Health", no_wrap=True)
    for service in services:
        cells = [service.name, service.device, service.endpoint]
        if any_tags:
            cells.append(", ".join(service.tags))
        health = Text(escape_invisible(service.health, console), _COLOURS.get(service.health, ""))
        table.add_row(*(Text(escape_invisible(cell, console)) for cell in cells), health)
    print_table(console, table)
