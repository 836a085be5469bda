"""Event loop in the network namespace of a host."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tests.support.hosts import Host

T = TypeVar("T")

#: Seconds in which a coroutine that another thread waits for must end.
_TIMEOUT = 60.0


class HostLoop:
    """
    asyncio event loop in a thread. The sockets that its tasks open are in the namespace of one host.

    :param host: The host.
    """

    def __init__(self, host: Host) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=host.inside, args=(self._run,), daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop, and wait for its result. Must not be called in the thread of the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(_TIMEOUT)

    def call(self, function: Callable[[], T]) -> T:
        """Call a function in the thread of the loop, and wait for its result."""

        async def called() -> T:
            return function()

        return self.run(called())

    def close(self) -> None:
        """Cancel all tasks, and end the thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
