"""``ssdpreg inventory``: print the registered services as an inventory of Ansible."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from ssdpreg.cli.services import add_url_option

_DESCRIPTION = """
Print the devices with registered services as a dynamic inventory of Ansible: one group for each service name, and the
facts of each device as variables. The source is a running daemon, or Consul with --url http://127.0.0.1:8500.
"""
_EXIT_STATUS = """
Exit status: 0 if the server responded, even without a service; 1 if it did not respond, or if it has no host of that
name; 2 for invalid usage. The environment variable CONSUL_HTTP_TOKEN may hold an ACL token for Consul.
"""


def add_parser(commands: Any) -> None:
    """
    Add the subcommand to the parser of ``ssdpreg``.

    :param commands: Return value of ``ArgumentParser.add_subparsers``.
    """
    parser = commands.add_parser(
        "inventory", help="print an inventory for Ansible", description=_DESCRIPTION, epilog=_EXIT_STATUS
    )
    wanted = parser.add_mutually_exclusive_group()
    wanted.add_argument("--list", action="store_true", help="print all groups and hosts; this is the default")
    wanted.add_argument("--host", metavar="NAME", help="print the variables of one host")
    add_url_option(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from ssdpreg.cli.ansible_inventory import print_inventory
    from ssdpreg.cli.reactor import run_on_reactor

    return run_on_reactor(partial(print_inventory, arguments))
