"""``ssdpreg services``: print the registered services."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any
from urllib.parse import urlsplit

_DESCRIPTION = """
Print the services that a running daemon has registered. With the URL of Consul (--url http://127.0.0.1:8500), print
the services of ssdpreg in Consul.
"""
_EXIT_STATUS = """
Exit status: 0 if the server responded, even without a service; 1 if it did not respond; 2 for invalid usage. The
environment variable CONSUL_HTTP_TOKEN may hold an ACL token for Consul.
"""


def add_parser(commands: Any) -> None:
    """
    Add the subcommand to the parser of ``ssdpreg``.

    :param commands: Return value of ``ArgumentParser.add_subparsers``.
    """
    parser = commands.add_parser(
        "services", help="print the registered services", description=_DESCRIPTION, epilog=_EXIT_STATUS
    )
    add_url_option(parser)
    parser.add_argument("--name", metavar="NAME", help="print only services with this name")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(run=_run)


def add_url_option(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--url``, which ``watch`` has too."""
    parser.add_argument(
        "--url",
        metavar="URL",
        type=_parse_url,
        default="http://127.0.0.1:8580",
        help="URL of the daemon or of Consul; default: http://127.0.0.1:8580",
    )


def _parse_url(text: str) -> str:
    invalid = argparse.ArgumentTypeError(f"{text!r} is not a URL such as http://127.0.0.1:8580")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise invalid from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or parts.query or parts.fragment:
        raise invalid
    return text


def _run(arguments: argparse.Namespace) -> int:
    from ssdpreg.cli.reactor import run_on_reactor
    from ssdpreg.cli.service_list import print_services

    return run_on_reactor(partial(print_services, arguments))
