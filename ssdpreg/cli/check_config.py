"""``ssdpreg check-config``: validate a configuration."""

from __future__ import annotations

import argparse
from typing import Any


def add_parser(commands: Any) -> None:
    """
    Add the subcommand to the parser of ``ssdpreg``.

    :param commands: Return value of ``ArgumentParser.add_subparsers``.
    """
    parser = commands.add_parser(
        "check-config",
        help="validate a configuration and print it with all defaults",
        description="Print every error of a configuration, or the complete configuration with all defaults.",
    )
    parser.add_argument(
        "file", metavar="FILE", nargs="?", help="configuration file; default: the file that the daemon would read"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from ssdpreg import config
    from ssdpreg.backends import find_backend
    from ssdpreg.cli.output import print_json, print_message

    path = arguments.file
    if path is None:
        path = config.find()
        print_message(f"Checking {path}")
    checked = config.load(path)
    find_backend(checked.backend.type)
    print_json(config.normalised(checked))
    return 0
