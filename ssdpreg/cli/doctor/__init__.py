"""``ssdpreg doctor``: examine this host, and print what would keep the daemon from working."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

_DESCRIPTION = """
Examine this host: its configuration, network interfaces, firewall, limits, Consul and the running daemon. Print one
line per check: the result, what was checked, the finding, and what to do about it. Nothing is changed, and nothing is
written to Consul. Without root, some checks are skipped and reported as such.
"""
_EXIT_STATUS = "Exit status: 0 if there is no fault, even with warnings; 1 if there is a fault; 2 for invalid usage."


def add_parser(commands: Any) -> None:
    """
    Add the subcommand to the parser of ``ssdpreg``.

    :param commands: Return value of ``ArgumentParser.add_subparsers``.
    """
    parser = commands.add_parser(
        "doctor",
        help="examine this host, and print what to do about each fault",
        description=_DESCRIPTION,
        epilog=_EXIT_STATUS,
    )
    parser.add_argument(
        "--config", metavar="FILE", help="configuration file; default: the file that the daemon would read"
    )
    parser.add_argument("--address", metavar="HOST:PORT", help="address of Consul, which overrides the configuration")
    parser.add_argument(
        "--long",
        action="store_true",
        help="also wait up to 135 s for the IGMP and MLD queriers; needs root",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from ssdpreg.cli.doctor.examination import examine_host
    from ssdpreg.cli.reactor import run_on_reactor

    return run_on_reactor(partial(examine_host, arguments))
