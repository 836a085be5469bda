"""Calls that are yet to come, and can be called off together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall


class Later:
    """
    Calls functions later, unless it is told to forget them.

    :param reactor: Provides ``IReactorTime``.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._calls: set[IDelayedCall] = set()

    def call(self, delay: float, function: Callable[..., object], *arguments: object) -> None:
        """
        Call a function.

        :param delay: Seconds from now.
        """

        def run() -> None:
            self._calls.discard(call)
            function(*arguments)

        call = self._reactor.callLater(delay, run)
        self._calls.add(call)

    def forget(self) -> None:
        """Call off what was not called yet."""
        for call in self._calls:
            call.cancel()
        self._calls.clear()
