"""The ``ssdpreg`` command, for people; the daemon itself is ``twistd ssdpreg``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from rich.console import Console
from rich.json import JSON
from rich.text import Text

from ssdpreg import __version__, config
from ssdpreg.backends import find_backend
from ssdpreg.errors import ConfigError

_DESCRIPTION = "Find out what announces itself over SSDP, and prepare the daemon (twistd ssdpreg) that registers it."
_EXIT_STATUS = "Exit status: 0 if all is well, 1 if there was trouble, 2 for a wrong usage or configuration."


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
            path = f"{fault.path}: " if fault.path else ""
            _to_stderr(Text.assemble((path, "bold"), fault.problem))
        return 2
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ssdpreg", description=_DESCRIPTION, epilog=_EXIT_STATUS)
    parser.add_argument("--version", action="version", version=f"ssdpreg {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

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
        _to_stderr(Text(f"Checking {path}"))
    checked = config.load(path)
    find_backend(checked.backend.type)
    _print_json(config.normalised(checked))
    return 0


def _schema(_: argparse.Namespace) -> int:
    _print_json(config.schema())
    return 0


def _print_json(data: object) -> None:
    # In ASCII: a plugin's options may hold what no terminal can show.
    Console().print(JSON(json.dumps(data), ensure_ascii=True), soft_wrap=True)


def _to_stderr(text: Text) -> None:
    Console(stderr=True).print(text, soft_wrap=True)
