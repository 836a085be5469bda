"""``ssdpreg schema``: print the JSON Schema of the configuration."""

from __future__ import annotations

import argparse
from typing import Any


def add_parser(commands: Any) -> None:
    """
    Add the subcommand to the parser of ``ssdpreg``.

    :param commands: Return value of ``ArgumentParser.add_subparsers``.
    """
    parser = commands.add_parser(
        "schema",
        help="print the JSON Schema of the configuration, for editors",
        description="Print the JSON Schema of the configuration, for editors.",
    )
    parser.set_defaults(run=_run)


def _run(_: argparse.Namespace) -> int:
    from ssdpreg import config
    from ssdpreg.cli.output import print_json

    print_json(config.schema())
    return 0
