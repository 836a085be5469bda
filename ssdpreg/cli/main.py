"""Entry point of the ``ssdpreg`` command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ssdpreg import __version__
from ssdpreg.cli import check_config, doctor, explain, inventory, purge, run, schema, search, services, watch
from ssdpreg.errors import BackendError, CaptureError, ConfigError

#: One module for each subcommand, in the order of the help. Each has a function ``add_parser(commands)``.
_SUBCOMMANDS = (search, services, watch, inventory, explain, doctor, run, purge, check_config, schema)

_DESCRIPTION = "Search the network for SSDP devices, and run or inspect the daemon that registers them."
_EXIT_STATUS = """
Exit status: 0 for success; 1 for a failure, such as no device found or no response from the server; 2 for invalid
usage or an invalid configuration. "ssdpreg COMMAND --help" describes each command.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run a subcommand.

    :param argv: Arguments after ``ssdpreg``; None for those of the process.
    :return: The exit status: 0, 1 or 2, as in ``ssdpreg --help``.
    """
    arguments = _make_parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
    except ConfigError as error:
        for fault in error.faults:
            _print_error(fault.problem, f"{fault.path}: " if fault.path else "")
        return 2
    except (BackendError, CaptureError) as error:
        _print_error(str(error))
        return 1
    return status


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ssdpreg", description=_DESCRIPTION, epilog=_EXIT_STATUS)
    parser.add_argument("--version", action="version", version=f"ssdpreg {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for subcommand in _SUBCOMMANDS:
        subcommand.add_parser(commands)
    return parser


def _print_error(text: str, prefix: str = "") -> None:
    # rich takes longer to import than the help takes to print.
    from ssdpreg.cli.output import print_message

    print_message(text, prefix)
