"""Limit of the length of a listing. Pure."""

from __future__ import annotations

#: Bytes of the longest listing: 100,000 services, of which most have about 1 kB each.
MOST_BYTES = 128 * 1024 * 1024
#: Services of a listing. Their registrations need about 300 MB of memory.
MOST_ENTRIES = 250_000
#: Bytes of a listing without entries, and of each entry. Text from the network makes at most 4 kB of an entry.
_BASE = 64 * 1024
_PER_ENTRY = 8 * 1024


class ListingLimit:
    """
    Limit of the length of a listing in bytes. It follows from the number of entries that the listing can have.

    Other programs may have added entries since the previous listing, so the limit doubles after each listing that was
    too long. The first listing after the start may have any number of entries.
    """

    def __init__(self) -> None:
        self._bytes = MOST_BYTES

    @property
    def bytes(self) -> int:
        """The limit."""
        return self._bytes

    def set_entries(self, count: int) -> None:
        """Set the number of entries after a listing."""
        self._bytes = min(_BASE + _PER_ENTRY * count, MOST_BYTES)

    def raise_to(self, count: int) -> None:
        """Permit a listing of at least so many entries."""
        self._bytes = max(self._bytes, min(_BASE + _PER_ENTRY * count, MOST_BYTES))

    def add_entry(self) -> None:
        """Record that an entry was added."""
        self._bytes = min(self._bytes + _PER_ENTRY, MOST_BYTES)

    def exceed(self) -> None:
        """Record that a listing was too long."""
        self._bytes = min(2 * self._bytes, MOST_BYTES)
