"""Tests for :mod:`ssdpreg.ssdp.links`."""

from __future__ import annotations

import errno
import socket
import struct
from unittest import mock

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.ssdp import links
from ssdpreg.ssdp.links import KernelLinks, LinkState, LinkWatch
from tests.support.memory_reactor import MemoryLinks

UP, RUNNING, NEWLINK, DONE, ERROR = 0x1, 0x40, 16, 3, 2


class LinkWatchTests(SynchronousTestCase):
    """Tests for :class:`LinkWatch`, with states in memory."""

    def setUp(self) -> None:
        self.links = MemoryLinks()
        self.watch = LinkWatch(lambda: self.links)

    def update(self, *states: LinkState) -> None:
        """Read states, of which the last one is the present one."""
        self.links.earlier = list(states[:-1])
        self.links.present = [states[-1]]
        self.watch.update()

    def test_no_change(self) -> None:
        """An interface that is up has no problem."""
        for _ in range(2):
            self.update(LinkState(2))
            self.assertEqual((self.watch.problem(2), self.watch.take(2)), ("", ""))

    def test_down(self) -> None:
        """An interface that is down has a problem as long as it is down, and one loss afterwards."""
        self.update(LinkState(2))
        for _ in range(2):
            self.update(LinkState(2, up=False))
            self.assertEqual((self.watch.problem(2), self.watch.take(2)), ("interface down", "interface down"))
        self.update(LinkState(2))
        self.assertEqual((self.watch.problem(2), self.watch.take(2)), ("", ""))

    def test_no_carrier(self) -> None:
        """An interface without a carrier has a problem."""
        self.update(LinkState(2, running=False))
        self.assertEqual((self.watch.problem(2), self.watch.take(2)), ("carrier lost", "carrier lost"))

    def test_short_change(self) -> None:
        """A change of which the kernel has notified is found although the interface is up before and after."""
        self.update(LinkState(2))
        self.update(LinkState(2, up=False), LinkState(2))
        self.assertEqual((self.watch.problem(2), self.watch.take(2)), ("", "interface down"))
        self.assertEqual(self.watch.take(2), "")

    def test_short_loss_of_carrier(self) -> None:
        """A loss of the carrier is found by the number of changes, also if the kernel has not notified of it."""
        self.update(LinkState(2, carrier_changes=4))
        self.assertEqual(self.watch.take(2), "")
        self.update(LinkState(2, carrier_changes=6))
        self.assertEqual((self.watch.problem(2), self.watch.take(2)), ("", "carrier lost"))

    def test_message_without_number_of_changes(self) -> None:
        """A message without the number of changes is no loss, and the number is compared with the one before."""
        self.update(LinkState(2, carrier_changes=4))
        self.update(LinkState(2, carrier_changes=None), LinkState(2, carrier_changes=4))
        self.assertEqual(self.watch.take(2), "")
        self.update(LinkState(2, carrier_changes=None), LinkState(2, carrier_changes=6))
        self.assertEqual(self.watch.take(2), "carrier lost")

    def test_removed(self) -> None:
        """An interface that is not listed was removed, and its losses are not kept."""
        self.update(LinkState(2, up=False))
        self.update(LinkState(3))
        self.assertEqual((self.watch.problem(2), self.watch.take(2)), ("interface removed", "interface removed"))

    def test_unreadable(self) -> None:
        """While the states cannot be read, no interface has a problem, and the log has one line."""
        with capturedLogs() as events:
            for _ in range(2):
                self.update(LinkState(2, up=False))
                self.links.failure = OSError(errno.EPERM, "refused by the test")
                self.watch.update()
                self.assertEqual(self.watch.problem(2), "")
                self.assertTrue(self.links.closed)
            self.links.failure = OSError(errno.EPERM, "refused by the test")
            self.watch.update()
        self.assertEqual(len(events), 2)
        self.update(LinkState(2, up=False))
        self.assertEqual(self.watch.problem(2), "interface down")

    def test_unavailable(self) -> None:
        """If the states are unavailable, no interface has a problem."""

        def fail() -> MemoryLinks:
            raise PermissionError(errno.EPERM, "refused by the test")

        with capturedLogs() as events:
            watch = LinkWatch(fail)
            watch.update()
            watch.update()
        self.assertEqual((watch.problem(2), watch.take(2), len(events)), ("", "", 1))

    def test_too_many_changes(self) -> None:
        """If the kernel could not notify of every change, datagrams may have been lost on any interface."""
        self.update(LinkState(2))
        self.links.failure = OSError(errno.ENOBUFS, "refused by the test")
        with capturedLogs() as events:
            self.watch.update()
        self.assertEqual(events, [])
        self.assertEqual(self.watch.take(2), "state unknown")
        self.assertEqual(self.watch.take(2), "")


class KernelLinksTests(SynchronousTestCase):
    """Tests for :class:`KernelLinks`, with this machine's interfaces, and with messages of the test."""

    def setUp(self) -> None:
        self.links = KernelLinks()
        self.addCleanup(self.links.close)

    def replace_socket(self, *datagrams: list[bytes]) -> _ScriptedSocket:
        """Replace the socket by one from which datagrams are read, a list of them before each request."""
        real, scripted = self.links._socket, _ScriptedSocket(datagrams)
        self.links._socket = scripted  # type: ignore[assignment]
        real.close()
        return scripted

    def test_loopback(self) -> None:
        """Loopback is up, and nothing has changed."""
        index = socket.if_nametoindex("lo")
        for _ in range(2):
            _, present = self.links.read()
            [loopback] = [state for state in present if state.index == index]
            self.assertEqual(loopback, LinkState(index))

    def test_socket(self) -> None:
        """The socket receives the notifications about links, and about nothing else."""
        handle = self.links._socket
        self.assertEqual((handle.family, handle.proto), (socket.AF_NETLINK, 0))
        self.assertEqual(handle.getsockname()[1], 1)
        self.assertEqual((handle.gettimeout(), handle.get_inheritable()), (0.0, False))

    def test_request(self) -> None:
        """One request asks for all links, without their statistics, which are most of the answer."""
        scripted = self.replace_socket([], [message(DONE, b"\0\0\0\0")])
        self.links.read()
        header = struct.pack("@IHHII", 40, 18, 0x301, 1, 0)
        self.assertEqual(scripted.sent, [header + bytes(16) + struct.pack("@HHI", 8, 29, 8)])

    def test_longest_datagram(self) -> None:
        """A datagram of 64 KiB is received as a whole."""
        states = [link(number, UP | RUNNING, 6) for number in range(2, 1300)]
        listed = b"".join(states)[: 65_536 // len(states[0]) * len(states[0])]
        self.replace_socket([], [listed, message(DONE, b"\0\0\0\0")])
        _, present = self.links.read()
        self.assertEqual(len(present), len(listed) // len(states[0]))
        self.assertGreater(len(listed), 65_400)

    def test_messages(self) -> None:
        """All messages of a datagram are parsed, and notifications are separated from the present states."""
        notified = [link(2, 0, 5), link(3, UP, 7) + link(4, UP | RUNNING)]
        listed = [link(2, UP | RUNNING, 6) + link(9, UP, family=socket.AF_INET), message(DONE, b"\0\0\0\0")]
        self.replace_socket(notified, listed)
        earlier, present = self.links.read()
        self.assertEqual(
            earlier, [LinkState(2, False, False, 5), LinkState(3, True, False, 7), LinkState(4, True, True, None)]
        )
        self.assertEqual(present, [LinkState(2, True, True, 6)])

    def test_list_without_a_change(self) -> None:
        """A list that is the same as the one before is not parsed again. Any other is."""
        first, second = link(2, UP | RUNNING, 6), link(2, UP | RUNNING, 7)
        done = message(DONE, b"\0\0\0\0")
        self.replace_socket([], [first, done], [first + done], [second, done])
        parsed = mock.Mock(wraps=links._parse)
        self.patch(links, "_parse", parsed)
        found = [self.links.read()[1] for _ in range(3)]
        self.assertEqual(found, [[LinkState(2, True, True, 6)]] * 2 + [[LinkState(2, True, True, 7)]])
        self.assertEqual(parsed.call_count, 2)

    def test_message_without_a_body(self) -> None:
        """A message at the end of a datagram may have no body."""
        self.replace_socket([], [link(2, UP | RUNNING, 6) + message(DONE, b"")])
        self.assertEqual(self.links.read()[1], [LinkState(2, True, True, 6)])

    def test_two_readers(self) -> None:
        """A process may read the states through several sockets."""
        other = KernelLinks()
        self.addCleanup(other.close)
        self.assertEqual(other.read()[1], self.links.read()[1])

    def test_error(self) -> None:
        """An error that the kernel reports is raised."""
        self.replace_socket([], [message(ERROR, struct.pack("@i", -errno.EPERM))])
        self.assertEqual(self.assertRaises(OSError, self.links.read).errno, errno.EPERM)

    def test_any_bytes(self) -> None:
        """Messages with wrong lengths neither raise another exception nor cause an endless loop."""
        self.replace_socket([message(NEWLINK, bytes(16) + b"\0" * 8), struct.pack("@IHHII", 0, 0, 0, 0, 0)], [])
        self.assertRaises(BlockingIOError, self.links.read)


class _ScriptedSocket:
    """Socket from which scripted datagrams are read."""

    def __init__(self, datagrams: tuple[list[bytes], ...]) -> None:
        self.sent: list[bytes] = []
        self._datagrams = list(datagrams)
        self._current = self._datagrams.pop(0)

    def recv(self, size: int) -> bytes:
        if not self._current:
            raise BlockingIOError(errno.EAGAIN, "nothing to read")
        return self._current.pop(0)[:size]

    def send(self, request: bytes) -> None:
        self.sent.append(request)
        self._current = self._datagrams.pop(0)

    def close(self) -> None:
        """Do nothing."""


def message(kind: int, body: bytes) -> bytes:
    """Return a message of rtnetlink."""
    return struct.pack("@IHHII", 16 + len(body), kind, 0, 0, 0) + body


def link(index: int, flags: int, carrier_changes: int | None = None, family: int = socket.AF_UNSPEC) -> bytes:
    """Return a message about a link, with a name of five bytes, which is padded."""
    body = struct.pack("@BxHiII", family, 1, index, flags, 0) + struct.pack("@HH5s3x", 9, 3, b"veth0")
    if carrier_changes is not None:
        body += struct.pack("@HHI", 8, 35, carrier_changes)
    return message(NEWLINK, body)
