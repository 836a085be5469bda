"""``ssdpreg explain``: print what the daemon makes of each datagram, and why."""

from __future__ import annotations

import argparse
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from ssdpreg.errors import ConfigError, Fault

_DESCRIPTION = """
Print what the daemon makes of each SSDP datagram, and why: the search term that matches, the standing of the claim, the
registration or the reason of a rejection, and the changes in the table of live services. The source is the network,
beside a running daemon, or a capture of tcpdump or Wireshark (--read). Nothing is registered. Ctrl-C ends the command
and prints a summary.
"""
_EXIT_STATUS = """
Exit status: 0 for success; 1 if a capture cannot be read to its end, or there is no interface to listen on; 2 for
invalid usage or an invalid configuration.
"""


def add_parser(commands: Any) -> None:
    """
    Add the subcommand to the parser of ``ssdpreg``.

    :param commands: Return value of ``ArgumentParser.add_subparsers``.
    """
    parser = commands.add_parser(
        "explain", help="print what the daemon makes of each datagram", description=_DESCRIPTION, epilog=_EXIT_STATUS
    )
    parser.add_argument(
        "--config", metavar="FILE", help="configuration of the daemon; default: the file that the daemon would read"
    )
    parser.add_argument(
        "--read", metavar="FILE", help="capture in the format pcap or pcapng, also with gzip; - for standard input"
    )
    parser.add_argument(
        "--only",
        metavar="URN|ADDRESS",
        help="print only datagrams about a URN, which may end in *, about a device (uuid:ID) or about an IP address",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per line; the last is the summary")
    parser.add_argument("--seconds", metavar="N", type=_parse_seconds, help="duration; default: until Ctrl-C")
    parser.add_argument(
        "--passive",
        action="store_true",
        help="send no searches; default: search as the daemon does, because devices reply only to the searcher",
    )
    parser.add_argument(
        "--daemon",
        metavar="ADDRESS",
        type=_parse_address,
        action="append",
        default=[],
        help="with --read: address of the daemon's host; may be repeated; default: each sender of searches by ssdpreg",
    )
    parser.add_argument(
        "--network",
        metavar="NETWORK",
        type=_parse_network,
        action="append",
        default=[],
        help="with --read: network of the daemon's interface, such as 10.0.0.0/24; may be repeated; default: every "
        "sender counts as being on it",
    )
    parser.set_defaults(run=_run)


def _parse_seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    # A NaN is not between the limits.
    if not 0 < number <= 31_536_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return number


def _parse_address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an IP address") from None


def _parse_network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a network such as 10.0.0.0/24") from None


def _run(arguments: argparse.Namespace) -> int:
    """
    Run the subcommand.

    :raise ConfigError: If options contradict each other.
    """
    live, reading = {"--seconds": arguments.seconds, "--passive": arguments.passive}, arguments.read is not None
    for_captures = {"--daemon": arguments.daemon, "--network": arguments.network}
    for option, value in (live if reading else for_captures).items():
        if value:
            raise ConfigError(Fault(option, f"cannot be used {'with' if reading else 'without'} --read"))

    from ssdpreg.cli.explanations import explain_capture, explain_network
    from ssdpreg.cli.reactor import run_on_reactor

    if reading:
        return explain_capture(arguments)
    return run_on_reactor(partial(explain_network, arguments))
