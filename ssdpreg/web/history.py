"""Latest events of services, and their number in each minute of the last hour."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zope.interface import implementer

from ssdpreg.interfaces import IRegistrationListener
from ssdpreg.registration import Registration
from ssdpreg.values import value

_MINUTES = 60
_EVENTS = 50


@value(frozen=True, slots=True)
class PastEvent:
    """
    An event of a service.

    :ivar number: Serial number, from 1.
    :ivar at: Reading of the reactor's clock.
    :ivar kind: ``alive``, ``changed``, ``byebye``, ``expired``, ``evicted`` or ``unconfigured``.
    """

    number: int
    at: float
    kind: str
    registration: Registration


@dataclass(slots=True)
class Minute:
    """
    Numbers of one minute. Those of the present minute still change.

    :ivar number: Minutes on the reactor's clock. Only differences between numbers have a meaning.
    :ivar services: Live services at the end of the minute.
    :ivar alive: Services that appeared.
    :ivar byebye: Services that left by a byebye.
    :ivar expired: Services that expired.
    """

    number: int
    services: int = 0
    alive: int = 0
    byebye: int = 0
    expired: int = 0


@implementer(IRegistrationListener)
class History:
    """
    Record of the latest events.

    :param reactor: Provides ``IReactorTime``.
    :param registrations: The live services by service ID: the registry's own mapping, of which the size is read.
    :ivar counts: Number of events since the start, by kind.
    """

    def __init__(self, reactor: Any, registrations: Mapping[str, Registration]) -> None:
        self._reactor = reactor
        self._registrations = registrations
        # Arguments of PastEvent: most of many events are never read.
        self._events: deque[tuple[int, float, str, Registration]] = deque(maxlen=_EVENTS)
        first = Minute(_minute(reactor.seconds()), services=len(registrations))
        self._minutes: deque[Minute] = deque([first], maxlen=_MINUTES)
        self._minute_ends_at = _end(first)
        self.counts: Counter[str] = Counter()
        self._latest = 0

    @property
    def events(self) -> Sequence[PastEvent]:
        """The latest events, the last one first."""
        return [PastEvent(*event) for event in reversed(self._events)]

    @property
    def latest(self) -> int:
        """Serial number of the last event, 0 before the first."""
        return self._latest

    @property
    def minutes(self) -> Sequence[Minute]:
        """Up to 60 minutes, the present one at the end."""
        self._add_minutes(self._reactor.seconds())
        return list(self._minutes)

    def appeared(self, registration: Registration) -> None:
        self._record("alive", registration)

    def changed(self, registration: Registration, before: Registration) -> None:
        self._record("changed", registration)

    def left(self, registration: Registration, reason: str) -> None:
        self._record(reason, registration)

    def _record(self, kind: str, registration: Registration) -> None:
        now = self._reactor.seconds()
        if now >= self._minute_ends_at:
            self._add_minutes(now)
        self.counts[kind] += 1
        self._latest += 1
        self._events.append((self._latest, now, kind, registration))
        minute = self._minutes[-1]
        minute.services = len(self._registrations)
        if kind == "alive":
            minute.alive += 1
        elif kind == "byebye":
            minute.byebye += 1
        elif kind == "expired":
            minute.expired += 1

    def _add_minutes(self, now: float) -> None:
        """Append the minutes up to the present one. If the clock was set back, the last minute goes on."""
        last, present = self._minutes[-1], _minute(now)
        if present <= last.number:
            return
        for number in range(max(last.number + 1, present - _MINUTES + 1), present + 1):
            self._minutes.append(Minute(number, services=last.services))
        self._minute_ends_at = _end(self._minutes[-1])


def _minute(seconds: float) -> int:
    """Return the number of a minute."""
    return int(seconds // 60)


def _end(minute: Minute) -> float:
    """Return the time at which a minute ends, on the reactor's clock."""
    return (minute.number + 1) * 60.0
