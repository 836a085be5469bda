"""Tests for :mod:`ssdpreg.ssdp.quiet_port`."""

from __future__ import annotations

import io
from typing import Any, cast

from twisted.internet import reactor as global_reactor
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import FileLogObserver, capturedLogs, formatEventAsClassicLogText
from twisted.python import log
from twisted.trial.unittest import TestCase

from ssdpreg.daemon.json_log import format_event
from ssdpreg.ssdp.quiet_port import listen_quietly
from tests.support.memory_reactor import MemoryMulticastReactor

reactor = cast("Any", global_reactor)


class QuietPortTests(TestCase):
    """Tests for :func:`listen_quietly`."""

    timeout = 10

    async def test_no_lines(self) -> None:
        """A port that opens and closes writes no line, neither as text nor as JSON. Later messages are written."""
        protocol = DatagramProtocol()
        protocol.noisy = False
        with capturedLogs() as events:
            port = listen_quietly(reactor, 0, protocol, "127.0.0.1", 1000, shared=False)
            number = port.getHost().port
            await port.stopListening()
            log.msg("A message")
        self.assertGreater(number, 0)
        self.assertIsNone(protocol.transport)
        for formatter in (formatEventAsClassicLogText, format_event):
            output = io.StringIO()
            for event in events:
                FileLogObserver(output, formatter)(event)
            (line,) = output.getvalue().splitlines()
            self.assertIn("A message", line)

    def test_other_reactors(self) -> None:
        """A reactor that does not watch descriptors opens the port itself."""
        memory, protocol = MemoryMulticastReactor(), DatagramProtocol()
        port = listen_quietly(memory, 1900, protocol, "192.0.2.1", 1000, shared=True)
        self.assertEqual(memory.ports, [port])
