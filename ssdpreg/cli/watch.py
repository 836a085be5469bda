"""``ssdpreg watch``: print each change of the registered services."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from ssdpreg.cli.services import add_url_option

_DESCRIPTION = """
Print one line for each registered service, and then one line for each change: + for a service that was added, ~ for
one that changed, - for one that was removed. The source is a running daemon, or Consul with --url
http://127.0.0.1:8500. Ctrl-C ends the command. After a restart of the daemon, changes are printed when its first
searches are complete.
"""
_EXIT_STATUS = """
Exit status: 0 if Ctrl-C ended the command; 1 if the server did not respond to the first request, or the output was
closed; 2 for invalid usage.
"""


def add_parser(commands: Any) -> None:
    """
    Add the subcommand to the parser of ``ssdpreg``.

    :param commands: Return value of ``ArgumentParser.add_subparsers``.
    """
    parser = commands.add_parser(
        "watch", help="print each change of the registered services", description=_DESCRIPTION, epilog=_EXIT_STATUS
    )
    add_url_option(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from ssdpreg.cli.reactor import run_on_reactor
    from ssdpreg.cli.watcher import watch_services

    return run_on_reactor(partial(watch_services, arguments))
