"""Progress bar of a search, for terminals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn
from twisted.logger import Logger

from ssdpreg.cli.output import make_console
from ssdpreg.timers import RepeatingCall

#: Seconds between two updates.
_UPDATE_INTERVAL = 0.1


class ProgressBar:
    """
    Context manager that draws a bar of the elapsed time, if standard output is a terminal that can redraw a line.

    :param reactor: Provides ``IReactorTime``.
    :param seconds: Time until the bar is full.
    :param describe: Called without arguments. Returns the text beside the bar.
    """

    log = Logger()

    def __init__(self, reactor: Any, seconds: float, describe: Callable[[], str]) -> None:
        self._console = make_console()
        # The automatic refresh of rich would start a thread.
        self._progress = Progress(
            TextColumn("Searching"),
            BarColumn(),
            TextColumn("{task.description}"),
            console=self._console,
            auto_refresh=False,
            transient=True,
        )
        self._task = self._progress.add_task(describe(), total=seconds)
        self._reactor = reactor
        self._start = reactor.seconds()
        self._describe = describe
        self._updates = RepeatingCall(reactor, _UPDATE_INTERVAL, self._update, self.log, "Display of the progress")

    def __enter__(self) -> None:
        if self._console.is_interactive:
            self._progress.start()
            self._updates.start()

    def __exit__(self, *_: object) -> None:
        if self._updates.running:
            self._updates.stop()
            self._progress.stop()

    def _update(self) -> None:
        elapsed = self._reactor.seconds() - self._start
        self._progress.update(self._task, completed=elapsed, description=self._describe(), refresh=True)
