"""Wait loop for tests of other processes. Blocks, so it must not be called in the thread of a running reactor."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], seconds: float = 10.0, every: float = 0.05, what: str = "") -> T:
    """
    Call a function until its result is true.

    :param condition: Called without arguments. An exception ends the wait.
    :param seconds: Longest wait.
    :param every: Seconds between two calls.
    :param what: Name of the condition, for the error.
    :return: The first true result.
    :raise AssertionError: If the result is still false at the end.
    """
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what or 'Condition'}: still {result!r} after {seconds} s")
        time.sleep(every)
    return result
