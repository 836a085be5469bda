"""``ssdpreg search``: print the devices on the network."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from ssdpreg.errors import ConfigError, Fault

_DESCRIPTION = """
Listen and search for a few seconds, and print every device on the network. No configuration is needed. The daemon may
run at the same time. Ctrl-C ends the search early and prints the devices found so far.
"""
_EXIT_STATUS = "Exit status: 0 if a device was found, 1 if none was found, 2 for invalid usage."


def add_parser(commands: Any) -> None:
    """
    Add the subcommand to the parser of ``ssdpreg``.

    :param commands: Return value of ``ArgumentParser.add_subparsers``.
    """
    parser = commands.add_parser(
        "search",
        help="print every device on the network",
        description=_DESCRIPTION,
        epilog=_EXIT_STATUS,
    )
    parser.add_argument(
        "urns", metavar="URN", type=_parse_urn, nargs="*", help="type to search for, may end in *; default: all types"
    )
    parser.add_argument(
        "--seconds",
        metavar="N",
        type=_number_parser(float, 1, 3600, "number"),
        default=5.0,
        help="duration of the search in seconds; default: 5",
    )
    parser.add_argument(
        "--interface",
        metavar="NAME",
        action="append",
        default=[],
        help="name of an interface, or network of one of its addresses; may be repeated; default: every interface "
        "with multicast",
    )
    parser.add_argument(
        "--ttl",
        metavar="N",
        type=_number_parser(int, 1, 255, "whole number"),
        default=2,
        help="IP time to live of a search, which passes at most N - 1 routers; default: 2",
    )
    parser.add_argument(
        "--mx",
        metavar="N",
        type=_number_parser(int, 1, 5, "whole number"),
        default=3,
        help="longest delay of a reply in seconds; default: 3",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--write-config",
        metavar="FILE",
        help="write a registry.json for the devices found; - prints only this file",
    )
    parser.add_argument("--force", action="store_true", help="overwrite the FILE of --write-config")
    parser.set_defaults(run=_run)


def _parse_urn(text: str) -> str:
    if not text or " " in text or "*" in text[:-1] or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is not a URN, with or without * at its end")
    return text


def _number_parser(kind: type[float], low: int, high: int, noun: str) -> Callable[[str], float]:
    """
    Return a function that parses a number within limits.

    :param kind: ``int`` or ``float``.
    :param noun: Name of the kind in error messages.
    """

    def parse(text: str) -> float:
        try:
            number = kind(text)
        except ValueError:
            number = None
        # A NaN is not between the limits.
        if number is None or not low <= number <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a {noun} from {low} to {high}")
        return number

    return parse


def _run(arguments: argparse.Namespace) -> int:
    """
    Run the subcommand.

    :raise ConfigError: If the options of the output contradict each other, or the file exists.
    """
    target = arguments.write_config
    if target == "-" and arguments.json:
        raise ConfigError(Fault("--write-config", "cannot print to standard output together with --json"))
    if target not in (None, "-") and os.path.lexists(target) and not arguments.force:
        raise ConfigError(Fault("--write-config", f"{target} exists: --force overwrites it"))

    from ssdpreg.cli.network_search import search_network
    from ssdpreg.cli.reactor import run_on_reactor

    return run_on_reactor(partial(search_network, arguments))
