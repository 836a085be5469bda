"""Tests for :mod:`ssdpreg.backends.serial_thread`."""

from __future__ import annotations

import threading
import time

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from ssdpreg.backends.serial_thread import SerialThread


class SerialThreadTests(TestCase):
    """Tests for :class:`SerialThread`."""

    def setUp(self) -> None:
        self.thread = SerialThread(reactor, "test")
        self.addCleanup(self.thread.stop)

    async def test_order(self) -> None:
        """Calls run one after the other in another thread, in the order of the requests."""
        log: list[tuple[int, int]] = []

        def work(number: int) -> int:
            log.append((number, threading.get_ident()))
            time.sleep(0.01 if number == 0 else 0.0)
            return number

        results = [self.thread.call(work, number) for number in range(10)]
        self.assertEqual([await result for result in results], list(range(10)))
        self.assertEqual([number for number, _ in log], list(range(10)))
        self.assertEqual(len({ident for _, ident in log}), 1)
        self.assertNotIn(threading.get_ident(), {ident for _, ident in log})

    async def test_error(self) -> None:
        """An exception of the function is the failure of the Deferred."""
        await self.assertFailure(self.thread.call(int, "x"), ValueError)

    async def test_lazy(self) -> None:
        """The thread is started by the first call, and :meth:`SerialThread.stop` may be called without one."""
        self.thread.stop()
        self.assertFalse(self.thread.started)
        await self.thread.call(int)
        self.assertTrue(self.thread.started)
