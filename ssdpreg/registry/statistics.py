"""Numbers of the registry for the metrics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RegistryStatistics:
    """
    Numbers for the metrics, since the start of the daemon unless stated otherwise.

    :ivar tracked: Services in the table now, those included that are not live.
    :ivar evictions: Services that gave way to others when the table was full.
    :ivar displaced_claims: Claims that gave way because services had too many besides their current ones.
    :ivar homes: Homes that are kept of services that have left.
    :ivar byebyes: Byebyes that are kept for the adoption of services.
    :ivar moves: Moves of services.
    :ivar contests: Contests about services.
    :ivar rejected_searches: Searches that were not sent, because too many were waiting for their budget or for a
        socket.
    :ivar interruptions: Times in which datagrams may have been lost.
    :ivar overflows: Datagrams that the kernel dropped because a receive buffer was full.
    :ivar memo_bytes: Size of the memo of repeated datagrams, in bytes.
    :ivar suppressed_lines: Log lines about rejected announcements that were not logged because of their budget.
    """

    tracked: int
    evictions: int
    displaced_claims: int
    homes: int
    byebyes: int
    moves: int
    contests: int
    rejected_searches: int
    interruptions: int
    overflows: int
    memo_bytes: int
    suppressed_lines: int
