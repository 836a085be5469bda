"""``ssdpreg services``: prints what a daemon has registered."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from rich.table import Table
from rich.text import Text

from ssdpreg.cli.output import make_console, print_json, print_lines, print_table, safe
from ssdpreg.cli.reader import Service, make_reader
from ssdpreg.cli.running import run

_DESCRIPTION = """
Print what a running daemon shows, or what is in Consul of it: --url http://127.0.0.1:8500.
"""
_EXIT_STATUS = """
Exit status: 0 if it answered, even that there is nothing; 1 if it did not; 2 for a wrong usage. The token that Consul
may want is the one in CONSUL_HTTP_TOKEN.
"""

#: How each state of health looks.
STYLES = {"passing": "green", "warning": "yellow", "critical": "red", "maintenance": "blue"}


def add_parser(commands: Any) -> None:
    """Add the subcommand to those of a parser."""
    parser = commands.add_parser(
        "services", help="print what a daemon has registered", description=_DESCRIPTION, epilog=_EXIT_STATUS
    )
    add_url(parser)
    parser.add_argument("--name", metavar="NAME", help="only services that are called so")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(run=lambda arguments: run(partial(_services, arguments)))


def add_url(parser: argparse.ArgumentParser) -> None:
    """Add the option that says whom to ask."""
    parser.add_argument(
        "--url",
        metavar="URL",
        type=_url,
        default="http://127.0.0.1:8580",
        help="of the daemon, or of Consul; default: http://127.0.0.1:8580",
    )


def token() -> str:
    """Tell what to show Consul, empty for nothing."""
    return os.environ.get("CONSUL_HTTP_TOKEN", "")


def _url(text: str) -> str:
    wrong = argparse.ArgumentTypeError(f"{text!r} is none: http://127.0.0.1:8580 is")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or parts.query or parts.fragment:
        raise wrong
    return text


async def _services(arguments: argparse.Namespace, reactor: Any) -> int:
    services = await make_reader(reactor, arguments.url, token()).services(arguments.name)
    if arguments.json:
        print_json({"services": [service.document() for service in services]})
    elif services:
        _print_table(services)
    else:
        called = "" if arguments.name is None else f" is called {arguments.name!r}"
        print_lines(make_console(stderr=True), [f"No service of ssdpreg at {arguments.url}{called}."])
    return 0


def _print_table(services: Sequence[Service]) -> None:
    console = make_console()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("Service", overflow="fold")
    table.add_column("Device", overflow="fold")
    table.add_column("Address", overflow="fold")
    tagged = any(service.tags for service in services)
    if tagged:
        table.add_column("Tags", overflow="fold")
    table.add_column("Health", no_wrap=True)
    for service in services:
        cells = [service.name, service.device, service.endpoint]
        if tagged:
            cells.append(", ".join(service.tags))
        health = Text(safe(service.health, console), STYLES.get(service.health, ""))
        table.add_row(*(Text(safe(cell, console)) for cell in cells), health)
    print_table(console, table)
