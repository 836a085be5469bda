"""States of the network interfaces, read from the kernel by rtnetlink(7). Linux only."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from twisted.logger import Logger

# Linux: <linux/netlink.h>, <linux/rtnetlink.h>, <linux/if_link.h>, <linux/if.h>. Python does not define them.
_NETLINK_ROUTE = 0
_RTMGRP_LINK = 1
_NLM_F_REQUEST = 0x1
_NLM_F_DUMP = 0x300
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_RTM_NEWLINK = 16
_RTM_GETLINK = 18
_IFLA_MASTER = 10
_IFLA_EXT_MASK = 29
_IFLA_CARRIER_CHANGES = 35
_RTEXT_FILTER_SKIP_STATS = 1 << 3
_IFF_UP = 0x1
_IFF_RUNNING = 0x40

#: struct nlmsghdr, struct ifinfomsg, struct rtattr.
_HEADER = struct.Struct("@IHHII")
_LINK = struct.Struct("@BxHiII")
_ATTRIBUTE = struct.Struct("@HH")
#: A request for the states of all links, without their statistics.
_REQUEST = (
    _HEADER.pack(_HEADER.size + _LINK.size + _ATTRIBUTE.size + 4, _RTM_GETLINK, _NLM_F_REQUEST | _NLM_F_DUMP, 1, 0)
    + _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    + _ATTRIBUTE.pack(_ATTRIBUTE.size + 4, _IFLA_EXT_MASK)
    + struct.pack("@I", _RTEXT_FILTER_SKIP_STATS)
)
#: Longest datagram of the kernel, in bytes.
_LONGEST = 1 << 16


@dataclass(frozen=True, slots=True)
class LinkState:
    """
    State of a network interface at one time.

    :ivar index: Number of the interface in the kernel.
    :ivar up: Whether it is enabled (``IFF_UP``).
    :ivar running: Whether it has a carrier (``IFF_RUNNING``); true if the driver does not report it.
    :ivar carrier_changes: Number of times that it lost or got its carrier; None if the message does not have it.
    :ivar is_port: Whether it is a part of another interface, such as a port of a bridge.
    """

    index: int
    up: bool = True
    running: bool = True
    carrier_changes: int | None = 0
    is_port: bool = False

    @property
    def problem(self) -> str:
        """Reason why it cannot receive, or an empty text."""
        if not self.up:
            return "interface down"
        return "" if self.running else "carrier lost"


class Links(Protocol):
    """Source of the states of the interfaces: :class:`KernelLinks`, or one for tests."""

    def read(self) -> tuple[Sequence[LinkState], Sequence[LinkState]]: ...
    def close(self) -> None: ...


class KernelLinks:
    """
    States of the interfaces in the kernel.

    :raise OSError: If the process may not open the socket.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE)
        try:
            self._socket.setblocking(False)
            # The kernel notifies of each change, so that a short interruption between two calls is noticed, too.
            self._socket.bind((0, _RTMGRP_LINK))
        except OSError:
            self._socket.close()
            raise
        # The latest list of the kernel, and its meaning. It changes rarely, and is read every second.
        self._bodies: list[bytes] = []
        self._present: list[LinkState] = []

    def read(self) -> tuple[Sequence[LinkState], Sequence[LinkState]]:
        """
        Read the states of all interfaces.

        :return: Every state of any interface since the last call, oldest first; and the present ones.
        :raise OSError: If the kernel does not list them, or if there were more changes than the buffer holds.
        """
        earlier = list(self._drain())
        self._socket.send(_REQUEST)
        bodies = list(self._receive_list())
        if bodies != self._bodies:
            self._bodies, self._present = bodies, [state for body in bodies if (state := _parse(body))]
        return earlier, self._present

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _receive_list(self) -> Iterator[bytes]:
        """Yield the bodies of the messages about links that the kernel sends on request."""
        while True:
            for kind, body in _messages(self._socket.recv(_LONGEST)):
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR:
                    raise OSError(-struct.unpack_from("@i", body)[0], "netlink")
                if kind == _RTM_NEWLINK:
                    yield body

    def _drain(self) -> Iterator[LinkState]:
        """Yield the states of which the kernel has notified."""
        while True:
            try:
                datagram = self._socket.recv(_LONGEST)
            except BlockingIOError:
                return
            for kind, body in _messages(datagram):
                if kind == _RTM_NEWLINK and (state := _parse(body)):
                    yield state


class LinkWatch:
    """
    Record of the times at which interfaces could not receive.

    :param open_links: Makes the source of the states.
    """

    log = Logger()

    def __init__(self, open_links: Callable[[], Links]) -> None:
        self._open_links = open_links
        self._links: Links | None = None
        self._states: dict[int, LinkState] = {}
        #: Reasons by index of the interface, for :meth:`take`.
        self._lost: dict[int, str] = {}
        self._failed = False

    def update(self) -> None:
        """Read the states. If they cannot be read, every interface is regarded as able to receive."""
        try:
            if self._links is None:
                self._links = self._open_links()
            earlier, present = self._links.read()
        except OSError as error:
            self._process_error(error)
            return
        self._failed = False
        for state in (*earlier, *present):
            self._process(state)
        self._states = {state.index: self._states[state.index] for state in present}
        self._lost = {index: reason for index, reason in self._lost.items() if index in self._states}

    def problem(self, index: int) -> str:
        """
        Return why an interface cannot receive.

        :param index: Number of the interface in the kernel.
        :return: The reason; empty if it can receive, or if its state is unknown.
        """
        if not self._states:
            return ""
        state = self._states.get(index)
        return "interface removed" if state is None else state.problem

    def take(self, index: int) -> str:
        """Return why an interface could not receive at any time since the last call, or an empty text."""
        return self._lost.pop(index, "") or self.problem(index)

    def close(self) -> None:
        """Close the source of the states."""
        if self._links is not None:
            self._links.close()
        self._links = None
        self._states = {}

    def _process_error(self, error: OSError) -> None:
        """Log an error once. If notifications were lost, datagrams may have been lost on any interface."""
        if error.errno == errno.ENOBUFS:
            self._lost.update(dict.fromkeys(self._states, "state unknown"))
        elif not self._failed:
            self._failed = True
            self.log.warn("Cannot read the states of network interfaces: {error}", error=error)
        self.close()

    def _process(self, state: LinkState) -> None:
        before = self._states.get(state.index)
        if before is not None and state.carrier_changes is None:
            state = replace(state, carrier_changes=before.carrier_changes)
        self._states[state.index] = state
        if state.problem:
            self._lost.setdefault(state.index, state.problem)
        elif before is not None and before.carrier_changes != state.carrier_changes:
            self._lost.setdefault(state.index, "carrier lost")


def _messages(datagram: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the type and the body of each message in a datagram of the kernel."""
    offset = 0
    while offset + _HEADER.size <= len(datagram):
        length, kind, *_ = _HEADER.unpack_from(datagram, offset)
        yield kind, datagram[offset + _HEADER.size : offset + length]
        offset += _align(max(length, _HEADER.size))


def _parse(body: bytes) -> LinkState | None:
    """
    Parse the body of a message about a link.

    :return: None for a message of another family, such as one about a port of a bridge.
    """
    family, _, index, flags, _ = _LINK.unpack_from(body)
    if family != socket.AF_UNSPEC:
        return None
    carrier_changes = None
    is_port = False
    offset = _LINK.size
    while offset + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, offset)
        if kind == _IFLA_MASTER:
            is_port = True
        elif kind == _IFLA_CARRIER_CHANGES:
            carrier_changes = struct.unpack_from("@I", body, offset + _ATTRIBUTE.size)[0]
        offset += _align(max(length, _ATTRIBUTE.size))
    return LinkState(index, bool(flags & _IFF_UP), bool(flags & _IFF_RUNNING), carrier_changes, is_port)


def _align(length: int) -> int:
    return (length + 3) & ~3
