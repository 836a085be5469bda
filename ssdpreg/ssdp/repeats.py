"""
Memo of received datagrams, in which a repeated datagram is found before it is parsed.

A device repeats its announcement byte for byte, and its replies with no other difference than the DATE. The memo maps
such a datagram to the function that processes it again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

#: Processes a message again that was received again unchanged. Returns False if it has to be parsed again, because its
#: meaning may be another one now.
Repeat: TypeAlias = Callable[[], bool]

#: Identity of a datagram, IP address of its sender, and number of the sockets that received it.
DatagramKey: TypeAlias = tuple[bytes, str, int]

#: Number of bytes of the memo: enough for about 3,800 datagrams that are in use at a time. With more of them, most are
#: parsed each time. That takes 25 µs: even 100,000 datagrams in 15 minutes take 0.3 % of a core.
MEMO_BYTES = 16 * 1024 * 1024
#: Longest datagram that is kept, in bytes. Longer ones are rare.
_LONGEST = 2048

#: Bytes of an entry besides the datagram and the texts of its meaning: the key, the function, its arguments, and the
#: place in the dictionary. Measured with Python 3.11: 1,050.
_ENTRY_BYTES = 1200

#: Beginning of a DATE field in the spellings that devices use, and the field without a value.
_DATES = ((b"\nDATE:", b"\nDATE:\n"), (b"\nDate:", b"\nDate:\n"))


def identity(datagram: bytes) -> bytes:
    """
    Return the datagram without the value of its DATE field.

    Two datagrams with the same identity are decoded to equal messages. The value of DATE is not part of a message: UPnP
    Device Architecture 2.0, 1.3.3.

    :param datagram: A datagram that begins with its start line.
    """
    # partition() is faster than find() and slices.
    for name, empty in _DATES:
        head, found, rest = datagram.partition(name)
        if found:
            date, end, rest = rest.partition(b"\n")
            # Bytes outside ASCII decide how the whole datagram is decoded.
            return empty.join((head, rest)) if end and date.isascii() else datagram
    return datagram


class RepeatMemo:
    """
    Memo of received datagrams with a limited size in bytes.

    Entries are added to the newer half. When it is full, it becomes the older half, whose entries are removed unless
    they are used again in time: a lookup costs no more than that in a dictionary.

    :param limit: Largest number of bytes of both halves, as estimated by :meth:`cost`.
    :ivar newer: Functions that process datagrams again, in the newer half.
    """

    def __init__(self, limit: int = MEMO_BYTES) -> None:
        self._limit = limit
        self.newer: dict[DatagramKey, Repeat] = {}
        self._older: dict[DatagramKey, Repeat] = {}
        self._newer_bytes = self._older_bytes = 0
        self._scopes = 0

    def __len__(self) -> int:
        return len(self.newer) + len(self._older)

    @property
    def size(self) -> int:
        """Estimated number of bytes."""
        return self._newer_bytes + self._older_bytes

    def new_scope(self) -> int:
        """
        Return a number for the keys of sockets of one kind on one interface: the meaning of a datagram depends on them.
        """
        self._scopes += 1
        return self._scopes

    def find_older(self, key: DatagramKey) -> Repeat | None:
        """Return the function for a datagram that is not in the newer half, or None if it is in neither."""
        repeat = self._older.pop(key, None)
        if repeat is not None:
            self._older_bytes -= self.cost(key[0])
            self.add(key, repeat)
        return repeat

    def add(self, key: DatagramKey, repeat: Repeat) -> None:
        """Add a datagram, or replace its function, unless it is too long."""
        cost = self.cost(key[0])
        if len(key[0]) > _LONGEST or cost > self._limit // 2:
            return
        if key not in self.newer:
            if self._newer_bytes + cost > self._limit // 2:
                self._older, self.newer = self.newer, {}
                self._older_bytes, self._newer_bytes = self._newer_bytes, 0
            self._newer_bytes += cost
        self.newer[key] = repeat

    def clear(self) -> None:
        """Remove all entries."""
        self.newer, self._older = {}, {}
        self._newer_bytes = self._older_bytes = 0

    @staticmethod
    def cost(datagram: bytes) -> int:
        """
        Return the largest number of bytes of an entry.

        The texts of a message have no more characters than the datagram has bytes, and the device ID is a second copy
        of a part. A character takes up to four bytes if there is any outside ASCII.
        """
        return len(datagram) * (3 if datagram.isascii() else 9) + _ENTRY_BYTES
