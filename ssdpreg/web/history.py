"""What became of services lately: the latest events, and a count for each minute of the last hour."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from zope.interface import implementer

from ssdpreg.interfaces import IRegistrationListener
from ssdpreg.registration import Registration

_MINUTES = 60
_EVENTS = 50


@dataclass(frozen=True, slots=True)
class Event:
    """
    Something that became of a service.

    :ivar number: Which one it is, from 1.
    :ivar at: When, in seconds of the reactor's clock.
    :ivar kind: ``alive``, ``changed``, ``byebye``, ``expired`` or ``unconfigured``.
    """

    number: int
    at: float
    kind: str
    registration: Registration


@dataclass(frozen=True, slots=True)
class Minute:
    """
    What happened within a minute.

    :ivar number: Which minute of the reactor's clock.
    :ivar services: How many were live at its end.
    :ivar alive: How many appeared.
    :ivar byebye: How many said that they left.
    :ivar expired: How many fell silent.
    """

    number: int
    services: int = 0
    alive: int = 0
    byebye: int = 0
    expired: int = 0


@implementer(IRegistrationListener)
class History:
    """
    Remembers what became of services.

    :param reactor: Provides ``IReactorTime``.
    :ivar counts: How many events there were of each kind.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._live: set[str] = set()
        self._events: deque[Event] = deque(maxlen=_EVENTS)
        self._minutes: deque[Minute] = deque([Minute(self._minute())], maxlen=_MINUTES)
        self.counts: Counter[str] = Counter()

    @property
    def events(self) -> Sequence[Event]:
        """The latest first."""
        return list(reversed(self._events))

    @property
    def latest(self) -> int:
        """The number of the latest event, 0 before the first."""
        return sum(self.counts.values())

    @property
    def minutes(self) -> Sequence[Minute]:
        """The last minutes, up to an hour of them, the present one at the end."""
        self._go_on()
        return list(self._minutes)

    def appeared(self, registration: Registration) -> None:
        self._live_(registration)

    def changed(self, registration: Registration, before: Registration) -> None:
        self._live_(registration)

    def _live_(self, registration: Registration) -> None:
        self._go_on()
        kind = "changed" if registration.service_id in self._live else "alive"
        self._live.add(registration.service_id)
        self._remember(kind, registration)

    def left(self, registration: Registration, reason: str) -> None:
        self._go_on()
        self._live.discard(registration.service_id)
        self._remember(reason, registration)

    def _remember(self, kind: str, registration: Registration) -> None:
        self.counts[kind] += 1
        self._events.append(Event(self.latest, self._reactor.seconds(), kind, registration))
        minute = self._minutes[-1]
        self._minutes[-1] = replace(
            minute,
            services=len(self._live),
            alive=minute.alive + (kind == "alive"),
            byebye=minute.byebye + (kind == "byebye"),
            expired=minute.expired + (kind == "expired"),
        )

    def _minute(self) -> int:
        return int(self._reactor.seconds() // 60)

    def _go_on(self) -> None:
        """Come to the present minute. A clock that is set back stays in the minute that it left."""
        now = self._minute()
        for number in range(max(self._minutes[-1].number + 1, now - _MINUTES + 1), now + 1):
            self._minutes.append(Minute(number, len(self._live)))
