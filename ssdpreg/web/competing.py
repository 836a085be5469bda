"""Claims that compete with the current one of a service, in the form of the status page and of JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ssdpreg.registry import Registry


@dataclass(frozen=True, slots=True)
class CompetingClaim:
    """
    Claim that a service is at another LOCATION.

    :ivar location: Claimed LOCATION.
    :ivar sender: IP address that announces it.
    :ivar standing: ``indirect``, ``direct`` or ``confirmed``.
    :ivar answers: Whether the LOCATION's host replied to the latest search.
    :ivar age: Seconds since the claim was received first.
    :ivar silence: Seconds since the latest reception.
    """

    location: str
    sender: str
    standing: str
    answers: bool
    age: float
    silence: float

    def document(self) -> dict[str, Any]:
        """Return the claim in JSON."""
        return {
            "Location": self.location,
            "Sender": self.sender,
            "Standing": self.standing,
            "Answers": self.answers,
            "AgeSeconds": round(self.age),
            "SilenceSeconds": round(self.silence),
        }


class CompetingClaims:
    """
    Source of the competing claims.

    :param reactor: Provides ``IReactorTime``.
    :param registry: The live services.
    """

    def __init__(self, reactor: Any, registry: Registry) -> None:
        self._reactor, self._registry = reactor, registry

    def of(self, service_id: str) -> Sequence[CompetingClaim]:
        """Return the claims of one service. Runs for each service of a listing."""
        others = self._registry.other_claims(service_id)
        if not others:
            return ()
        now = self._reactor.seconds()
        return [
            CompetingClaim(
                each.location,
                each.sender,
                each.standing.name.lower(),
                each.answers,
                now - each.began_at,
                now - each.received_at,
            )
            for each in others
        ]
