"""The ``ssdpreg`` command, for people; the daemon itself is ``twistd ssdpreg``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rich.text import Text

from ssdpreg import __version__, config
from ssdpreg.backends import find_backend
from ssdpreg.cli import search, services, watch
from ssdpreg.cli.output import make_console, print_json, print_lines, safe
from ssdpreg.errors import BackendError, ConfigError

_DESCRIPTION = "Find out what announces itself over SSDP, and prepare the daemon (twistd ssdpreg) that registers it."
_EXIT_STATUS = """
Exit status: 0 if all is well, 1 if there was trouble, such as nothing found or nobody who answers, 2 for a wrong usage
or configuration. "ssdpreg COMMAND --help" tells more.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run a command.

    :param argv: What follows ``ssdpreg``; ``None`` for what the process was called with.
    :return: The exit status: see ``ssdpreg --help``.
    """
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
    except ConfigError as error:
        for fault in error.faults:
            _to_stderr(fault.problem, f"{fault.path}: " if fault.path else "")
        return 2
    except BackendError as error:
        _to_stderr(str(error))
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ssdpreg", description=_DESCRIPTION, epilog=_EXIT_STATUS)
    parser.add_argument("--version", action="version", version=f"ssdpreg {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (search, services, watch):
        command.add_parser(commands)

    check_config = commands.add_parser(
        "check-config",
        help="list every fault of a configuration, or print it in full",
        description="List every fault of a configuration, or print it in full, with what it leaves open filled in.",
    )
    check_config.add_argument("file", metavar="FILE", nargs="?", help="default: the one that the daemon would find")
    check_config.set_defaults(run=_check_config)

    schema = commands.add_parser(
        "schema",
        help="print the JSON Schema of the configuration, for editors",
        description="Print the JSON Schema of the configuration, for editors.",
    )
    schema.set_defaults(run=_schema)
    return parser


def _check_config(arguments: argparse.Namespace) -> int:
    path = arguments.file
    if path is None:
        path = config.find()
        _to_stderr(f"Checking {path}")
    checked = config.load(path)
    find_backend(checked.backend.type)
    print_json(config.normalised(checked))
    return 0


def _schema(_: argparse.Namespace) -> int:
    print_json(config.schema())
    return 0


def _to_stderr(text: str, place: str = "") -> None:
    console = make_console(stderr=True)
    print_lines(console, [Text.assemble((safe(place, console), "bold"), safe(text, console))])
