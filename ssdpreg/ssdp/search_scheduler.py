"""Searches on their way: one after the other, and questions that come together are one search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from ssdpreg.ssdp.messages import SEARCH_ALL, SearchRequest
from ssdpreg.timers import DelayedCalls

#: Seconds between two datagrams, by and large: no more than ten in 200 ms may go out (UPnP Device Architecture 2.0,
#: 1.3.2).
SPACING = 0.1
_SPREAD = (0.5, 1.5)
#: More search targets than this are asked for at once, by ssdp:all.
MOST_TARGETS = 10
#: Seconds that a question waits for others to the same search target.
_GATHERING = 0.2


class Searcher:
    """
    Sends searches without a storm.

    :param reactor: Provides ``IReactorTime``.
    :param send: Sends a search to the network.
    :param mx: Longest wait of a device before it replies, in whole seconds.
    """

    def __init__(self, reactor: Any, send: Callable[[SearchRequest], None], mx: int, random: Random) -> None:
        self._send, self._mx, self._random = send, mx, random
        self._delayed = DelayedCalls(reactor)
        # Targets to ask for, and how long devices may wait before they reply.
        self._questions: dict[str, int] = {}

    def search(self, targets: Sequence[str], delay: float = 0.0) -> None:
        """
        Search for each target, or for everything where they are many.

        :param delay: Seconds until the first.
        """
        self._spread(targets, self._mx, delay)

    def ask(self, target: str, within: float) -> None:
        """
        Search for a target soon.

        :param within: Seconds until the answer is of no more use.
        """
        if not self._questions:
            self._delayed.call(_GATHERING, self._ask)
        mx = max(1, min(int(within / 2), self._mx))
        self._questions[target] = min(mx, self._questions.get(target, mx))

    def stop(self) -> None:
        """Forget what was not sent yet."""
        self._delayed.cancel_all()
        self._questions.clear()

    def _ask(self) -> None:
        questions, self._questions = self._questions, {}
        self._spread(list(questions), min(questions.values()), 0.0)

    def _spread(self, targets: Sequence[str], mx: int, delay: float) -> None:
        for target in targets if len(targets) <= MOST_TARGETS else [SEARCH_ALL]:
            self._delayed.call(delay, self._send, SearchRequest(target, mx))
            delay += SPACING * self._random.uniform(*_SPREAD)
