"""Execution of ``ssdpreg run``: the daemon on the runner of ``twistd``, without a search for plugins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from twisted.application.service import ServiceMaker
from twisted.python import usage
from twisted.scripts._twistd_unix import ServerOptions, UnixApplicationRunner

_DAEMON = ServiceMaker("ssdpreg", "ssdpreg.daemon.tap", "The daemon.", "ssdpreg")


class ForegroundOptions(ServerOptions):
    """Options of ``twistd`` with the daemon as the only subcommand. A search for plugins would take longer."""

    @property
    def subCommands(self) -> Iterator[tuple[str, None, Any, str]]:
        self.loadedPlugins = {_DAEMON.tapname: _DAEMON}
        yield _DAEMON.tapname, None, _DAEMON.options, _DAEMON.description


def run_daemon(options: Sequence[str]) -> int:
    """
    Run the daemon until SIGTERM or SIGINT ends it.

    :param options: Options of ``twistd ssdpreg``.
    :return: Exit status.
    """
    config = ForegroundOptions()
    try:
        config.parseOptions(["--nodaemon", "--pidfile=", _DAEMON.tapname, *options])
    except usage.UsageError as error:
        # Without an error, the import of rich would be in vain.
        from ssdpreg.cli.output import print_message

        for line in str(error).splitlines():
            print_message(line)
        return 1
    # Unlike runApp() of twistd, this does not end the process by the received signal, so the exit status is 0.
    UnixApplicationRunner(config).run()
    return 0
