"""Execution of ``ssdpreg explain``: live, or from a capture."""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
from collections.abc import Sequence
from typing import IO, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from ssdpreg import config as configuration
from ssdpreg.cli.capture import Capture
from ssdpreg.cli.capture_replay import Replay, ReplayClock, ReplayNetwork
from ssdpreg.cli.explain_output import ExplanationPrinter
from ssdpreg.cli.explainer import Explainer
from ssdpreg.cli.explanation import ExplanationFilter
from ssdpreg.cli.output import print_message
from ssdpreg.cli.report import format_interfaces
from ssdpreg.config import Config
from ssdpreg.daemon.tap import make_network
from ssdpreg.errors import CaptureError, ConfigError, Fault
from ssdpreg.ssdp.messages import SearchRequest

#: Group of packets without a datagram of SSDP, in the summary.
_NOT_SSDP = "UDP to and from other ports"


def explain_capture(arguments: argparse.Namespace) -> int:
    """
    Explain the datagrams of a capture.

    :param arguments: Options of :func:`ssdpreg.cli.explain.add_parser`.
    :return: Exit status.
    :raise ConfigError: If the configuration is invalid.
    :raise CaptureError: If the file is not a capture.
    """
    config = _load(arguments)
    try:
        with _open(arguments.read) as file:
            return _replay(arguments, config, file)
    except OSError as error:
        raise CaptureError(f"Cannot read {arguments.read}: {error.strerror or error}") from error


def _open(path: str) -> IO[bytes]:
    return os.fdopen(os.dup(sys.stdin.fileno()), "rb") if path == "-" else open(path, "rb")


def _replay(arguments: argparse.Namespace, config: Config, file: IO[bytes]) -> int:
    printer = _make_printer(arguments)
    clock = ReplayClock()
    explainer = Explainer(clock, config, _scope(config), ReplayNetwork, printer.print, clock.seconds)
    replay = Replay(clock, explainer, arguments.daemon, arguments.network, config.ssdp.named_networks)
    capture = Capture(file, arguments.read)
    try:
        replay.run(capture)
    except KeyboardInterrupt:
        # Ctrl-C: print the summary of what was read.
        pass
    finally:
        capture.close()
    printer.summary.other.update(capture.other)
    if replay.not_ssdp:
        printer.summary.other[_NOT_SSDP] = replay.not_ssdp
    printer.print_summary(explainer.registry.registrations)
    if capture.damage:
        print_message(f"{arguments.read} was not read to its end: {capture.damage}")
        return 1
    return 0


async def explain_network(arguments: argparse.Namespace, reactor: Any) -> int:
    """
    Explain the datagrams that this host receives, until the coroutine is cancelled or the time is over.

    :param arguments: Options of :func:`ssdpreg.cli.explain.add_parser`.
    :return: Exit status.
    :raise ConfigError: If the configuration is invalid.
    """
    config = _load(arguments)
    printer = _make_printer(arguments)
    open_network = make_network(reactor, config)

    def open_sockets(deliver: object, drop: object) -> Any:
        network = open_network(deliver=deliver, drop=drop)
        return PassiveNetwork(network) if arguments.passive else network

    explainer = Explainer(reactor, config, _scope(config), open_sockets, printer.print, time.time)
    registry = explainer.registry
    registry.startService()
    try:
        if not registry.interfaces:
            print_message("No interface to listen on: an interface must be up, with multicast and an IPv4 address.")
            return 1
        print_message(f"Listening on {format_interfaces(registry.interfaces)}")
        await (Deferred() if arguments.seconds is None else deferLater(reactor, arguments.seconds))
    except CancelledError:
        # Ctrl-C: print the summary.
        pass
    finally:
        await registry.stopService()
    printer.print_summary(registry.registrations)
    return 0


class PassiveNetwork:
    """
    Sockets that send no searches.

    :param network: The sockets.
    """

    def __init__(self, network: Any) -> None:
        self._network = network

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def search(self, request: SearchRequest) -> None:
        """Send nothing."""

    def search_hosts(self, st: str, hosts: Sequence[str]) -> None:
        """Send nothing."""


def _load(arguments: argparse.Namespace) -> Config:
    return configuration.load(arguments.config or configuration.find())


def _scope(config: Config) -> str:
    return config.scope(socket.gethostname())


def _make_printer(arguments: argparse.Namespace) -> ExplanationPrinter:
    """
    Return the printer for the options.

    :raise ConfigError: If ``--only`` is not valid.
    """
    try:
        only = ExplanationFilter(arguments.only)
    except ValueError as error:
        raise ConfigError(Fault("--only", str(error))) from error
    return ExplanationPrinter(only, as_json=arguments.json)
