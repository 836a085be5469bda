"""How ``ssdpreg search`` words what it has found, or that it has not."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ssdpreg.cli.found import Device, Offer, types
from ssdpreg.cli.output import make_console, print_table, safe

#: Names and addresses.
Interfaces = Sequence[tuple[str, str]]


def print_devices(devices: Sequence[Device]) -> None:
    """Print devices, each as a block of lines."""
    console = make_console()
    for number, device in enumerate(devices):
        if number:
            console.print()
        name = Text(safe(device.device_id, console) or "no device ID", "bold")
        console.print(Text.assemble(name, "  ", ", ".join(device.addresses)), soft_wrap=True)
        for _, offers in groupby(device.offers, lambda offer: (offer.location, offer.problem)):
            print_table(console, _table(list(offers), console))


def _table(offers: Sequence[Offer], console: Console) -> Table:
    """Show what is offered at one LOCATION."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=0)
    table.add_column(style="dim")
    table.add_column(overflow="fold")

    def row(label: str, values: Sequence[str], style: str = "") -> None:
        for value in values:
            table.add_row("", label, Text(safe(value, console), style))
            label = ""

    row("Location", [offers[0].location or "none"])
    if offers[0].problem:
        row("", [f"cannot be registered: {offers[0].problem}"], "yellow")
    row("Types", types(offers))
    row("Server", list(dict.fromkeys(offer.server for offer in offers if offer.server)))
    row(
        "Max-age", list(dict.fromkeys("unknown" if offer.max_age is None else f"{offer.max_age} s" for offer in offers))
    )
    return table


def document(interfaces: Interfaces, devices: Sequence[Device]) -> dict[str, Any]:
    """Describe what was found for machines."""
    return {
        "interfaces": [{"name": name, "address": address} for name, address in interfaces],
        "devices": [
            {
                "device": device.device_id,
                "addresses": list(device.addresses),
                "advertisements": [
                    {
                        "type": offer.nt,
                        "usn": offer.usn,
                        "location": offer.location,
                        "server": offer.server,
                        "max_age": offer.max_age,
                        "address": offer.address,
                        "problem": offer.problem or None,
                    }
                    for offer in device.offers
                ],
            }
            for device in devices
        ],
    }


def advice(urns: Sequence[str], seconds: float, ttl: int, interfaces: Interfaces) -> list[str]:
    """Say what to check where nothing was found."""
    if not interfaces:
        return [
            "There is no interface to search on: one has to be up, with an IPv4 address and multicast (ip address)."
        ]
    what = " ".join(urns) or "anything"
    return [
        f"Nobody announced or answered a search for {what} within {seconds:g} s on {where(interfaces)}. To be checked:",
        "  firewall   it has to let in UDP to port 1900, and the answers, which are UDP from any port to a high one",
        "  interface  is it one to the devices' network? --interface chooses another",
        f"  TTL        a search passes no more than {ttl - 1} routers: --ttl lets it pass others",
        "  time       some devices are slow, or only speak unasked: --seconds gives them more of it",
    ]


def where(interfaces: Interfaces) -> str:
    """Name the interfaces."""
    return ", ".join(f"{name} ({address})" for name, address in interfaces)


def count(number: int, what: str) -> str:
    """Word a number of things."""
    return f"{number} {what}{'' if number == 1 else 's'}"
