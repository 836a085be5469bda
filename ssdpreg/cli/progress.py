"""How far a search is, for people at a terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn
from twisted.internet.task import LoopingCall

from ssdpreg.cli.output import make_console

#: Seconds between two pictures.
_FRAME = 0.1


class Bar:
    """
    A bar that grows while it is entered; only on a terminal that can draw it.

    :param reactor: Provides ``IReactorTime``.
    :param seconds: How long it takes until the bar is full.
    :param describe: Says what stands beside it.
    """

    def __init__(self, reactor: Any, seconds: float, describe: Callable[[], str]) -> None:
        self._console = make_console()
        # Its own refreshing would be done by a thread.
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
        self._began = reactor.seconds()
        self._describe = describe
        self._drawing = LoopingCall(self._draw)
        self._drawing.clock = reactor

    def __enter__(self) -> None:
        if self._console.is_interactive:
            self._progress.start()
            self._drawing.start(_FRAME)

    def __exit__(self, *_: object) -> None:
        if self._drawing.running:
            self._drawing.stop()
            self._progress.stop()

    def _draw(self) -> None:
        passed = self._reactor.seconds() - self._began
        self._progress.update(self._task, completed=passed, description=self._describe(), refresh=True)
