"""``ssdpreg purge``: remove the nodes of a scope from Consul's catalog."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

_DESCRIPTION = """
Remove the nodes of a scope from Consul's catalog, and the lock of the scope. This is for a scope whose daemons in
catalog mode have ended for good. Nothing is removed while a daemon of the scope is running, and a node that other
programs use loses only the services of the scope.
"""
_EXIT_STATUS = """
Exit status: 0 if the nodes were removed; 1 if a daemon of the scope is running, if the scope has no nodes, or if Consul
did not respond; 2 for invalid usage or an invalid configuration.
"""


def add_parser(commands: Any) -> None:
    """
    Add the subcommand to the parser of ``ssdpreg``.

    :param commands: Return value of ``ArgumentParser.add_subparsers``.
    """
    parser = commands.add_parser(
        "purge", help="remove the nodes of a scope from Consul", description=_DESCRIPTION, epilog=_EXIT_STATUS
    )
    parser.add_argument(
        "--scope",
        metavar="NAME",
        required=True,
        help="scope of the nodes: backend.scope or backend.lock of its daemons",
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would be removed, and remove nothing")
    parser.add_argument(
        "--config", metavar="FILE", help="configuration that describes Consul; default: the file that the daemon reads"
    )
    parser.add_argument("--address", metavar="HOST:PORT", help="address of Consul; overrides the configuration")
    parser.add_argument("--datacenter", metavar="DC", help="Consul datacenter; overrides the configuration")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from ssdpreg import config
    from ssdpreg.cli.reactor import run_on_reactor
    from ssdpreg.cli.scope_purge import purge_scope
    from ssdpreg.config import ConsulConfig
    from ssdpreg.errors import ConfigError, Fault

    path = arguments.config or config.find()
    backend = config.load(path).with_consul(arguments.address, arguments.datacenter).backend
    if not isinstance(backend, ConsulConfig):
        raise ConfigError(Fault("backend.type", f"{path} does not describe Consul"))
    return run_on_reactor(partial(purge_scope, arguments.scope, backend, dry_run=arguments.dry_run))
