"""Text and JSON output of ``ssdpreg search``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ssdpreg.cli.output import escape_invisible, make_console, print_table
from ssdpreg.cli.search_results import FoundDevice, ReceivedAdvertisement

#: Names and addresses.
Interfaces = Sequence[tuple[str, str]]


def print_devices(devices: Sequence[FoundDevice]) -> None:
    """Print each device as a block of lines."""
    console = make_console()
    for number, device in enumerate(devices):
        if number:
            console.print()
        name = Text(escape_invisible(device.device_id, console) or "no device ID", "bold")
        console.print(Text.assemble(name, "  ", ", ".join(device.addresses)), soft_wrap=True)
        for _, group in groupby(device.advertisements, lambda each: (each.location, each.problem)):
            print_table(console, _make_table(list(group), console))


def _make_table(advertisements: Sequence[ReceivedAdvertisement], console: Console) -> Table:
    """
    Return the table of one LOCATION.

    :param advertisements: All with the same LOCATION and problem.
    """
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=0)
    table.add_column(style="dim")
    table.add_column(overflow="fold")

    def add_rows(label: str, values: Sequence[str], style: str = "") -> None:
        for value in dict.fromkeys(values):
            table.add_row("", label, Text(escape_invisible(value, console), style))
            label = ""

    location, problem = advertisements[0].location, advertisements[0].problem
    add_rows("Location", [location or "none"])
    if problem:
        add_rows("", [f"cannot be registered: {problem}"], "yellow")
    add_rows("Types", [each.nt for each in advertisements])
    add_rows("Server", [each.server for each in advertisements if each.server])
    add_rows("Max-age", ["unknown" if each.max_age is None else f"{each.max_age} s" for each in advertisements])
    return table


def make_document(interfaces: Interfaces, devices: Sequence[FoundDevice]) -> dict[str, Any]:
    """Return the JSON document of a search."""
    return {
        "interfaces": [{"name": name, "address": address} for name, address in interfaces],
        "devices": [
            {
                "device": device.device_id,
                "addresses": list(device.addresses),
                "advertisements": [
                    {
                        "type": each.nt,
                        "usn": each.usn,
                        "location": each.location,
                        "server": each.server,
                        "max_age": each.max_age,
                        "address": each.address,
                        "problem": each.problem or None,
                    }
                    for each in device.advertisements
                ],
            }
            for device in devices
        ],
    }


def explain_no_device(urns: Sequence[str], seconds: float, ttl: int, interfaces: Interfaces) -> list[str]:
    """
    Return the message for a search without a result, with the likely causes.

    :param urns: Search targets; empty for all.
    :param seconds: Duration of the search.
    :param ttl: IP time to live of the search.
    """
    if not interfaces:
        return [
            "No interface to search on: an interface must be up, with multicast and an IPv4 address (see: ip address)."
        ]
    wanted = f" for {' '.join(urns)}" if urns else ""
    return [
        f"No device found{wanted} within {seconds:g} s on {format_interfaces(interfaces)}. Check:",
        "  firewall   must accept UDP to port 1900, and replies: UDP from any port to a high port",
        "  interface  must be connected to the network of the devices: --interface selects another",
        f"  TTL        a search passes at most {format_count(ttl - 1, 'router')}: --ttl raises the limit",
        "  time       some devices reply slowly or only announce themselves: --seconds extends the search",
    ]


def format_interfaces(interfaces: Interfaces) -> str:
    """Return the names and addresses of interfaces in one line."""
    return ", ".join(f"{name} ({address})" for name, address in interfaces)


def format_count(number: int, noun: str) -> str:
    """Return a number with a noun in the singular or plural."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
