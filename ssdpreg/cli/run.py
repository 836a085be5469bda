"""``ssdpreg run``: run the daemon in the foreground."""

from __future__ import annotations

import argparse
from typing import Any

_DESCRIPTION = """
Run the daemon in the foreground, as "twistd -n ssdpreg" does. Installations by pipx and uv have this command and no
twistd. SIGHUP reloads the configuration; SIGTERM and Ctrl-C end the daemon.
"""
_EXIT_STATUS = "Exit status: 0 after SIGTERM or Ctrl-C; 1 for an invalid configuration; 2 for invalid usage."


def add_parser(commands: Any) -> None:
    """
    Add the subcommand to the parser of ``ssdpreg``.

    :param commands: Return value of ``ArgumentParser.add_subparsers``.
    """
    parser = commands.add_parser(
        "run", help="run the daemon in the foreground", description=_DESCRIPTION, epilog=_EXIT_STATUS
    )
    parser.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        help="configuration file; default: the first registry.json in ./, $HOME, /etc/ssdpreg and /etc/infranm.d",
    )
    parser.add_argument(
        "-a", "--address", metavar="HOST:PORT", help="address of Consul; overrides the configuration file"
    )
    parser.add_argument("-d", "--datacenter", metavar="DC", help="Consul datacenter; overrides the configuration file")
    parser.add_argument("--log-json", action="store_true", help="log to standard output, one JSON object a line")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from ssdpreg.cli.foreground import run_daemon

    options = [
        f"--{name}={value}"
        for name in ("config", "address", "datacenter")
        if (value := getattr(arguments, name)) is not None
    ]
    return run_daemon([*options, *(["--log-json"] if arguments.log_json else [])])
