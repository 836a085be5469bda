"""The daemon's discovery with a record of its decisions: the source of explanations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from ssdpreg.cli.explanation import INVALID, TIMER, Explanation, TableChange
from ssdpreg.cli.recording_table import RecordingTable
from ssdpreg.config import Config
from ssdpreg.daemon.tap import make_location_rules, make_registry, make_rules
from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.events import Appeared, Changed, ClaimState, Event, Left, SearchNeeded, TrackedState
from ssdpreg.discovery.interpret import BootNotice, Departure, Meaning, Rejection, interpret
from ssdpreg.discovery.search_terms import SearchTerms
from ssdpreg.discovery.standing import standing_of
from ssdpreg.errors import MessageError
from ssdpreg.registration import Registration
from ssdpreg.registry import Registry
from ssdpreg.ssdp.messages import Message, SearchRequest
from ssdpreg.ssdp.protocol import PeerAddress
from ssdpreg.ssdp.reception import Reception

#: Number of contests whose ends are reported.
_MOST_CONTESTS = 1000


class Explainer:
    """
    The daemon's registry, which processes each datagram as in the daemon, and an explanation of each result.

    :param reactor: Clock of the registry.
    :param config: The daemon's configuration.
    :param scope: Scope of the daemon, which is a part of service IDs.
    :param open_network: Creates the sockets, as ``open_network(deliver=…, drop=…)``.
    :param report: Called with each explanation.
    :param wall_clock: Returns the time of the registry's clock in seconds since the epoch.
    :ivar registry: The registry.
    """

    def __init__(
        self,
        reactor: Any,
        config: Config,
        scope: str,
        open_network: Callable[..., Any],
        report: Callable[[Explanation], None],
        wall_clock: Callable[[], float],
    ) -> None:
        self._reactor, self._report, self._wall_clock = reactor, report, wall_clock
        self._trust = config.ssdp.trust
        self._rules = make_rules(config, scope)
        self._terms = SearchTerms(config.search_terms())
        self._changes: list[TableChange] = []
        # Services with a contest, by device ID and URN.
        self._contested: dict[tuple[str, str], None] = {}
        self._table = RecordingTable()
        self.registry: Registry = make_registry(
            reactor,
            config,
            scope,
            lambda: 0,
            open_network=lambda deliver, drop: open_network(deliver=self.deliver, drop=self.drop),
            make_table=self._make_table,
        )
        locations = make_location_rules(config, lambda: self.registry.broadcasts)
        self._interpret: Callable[[Message, str], Meaning | None] = partial(
            interpret, terms=self._terms, locations=locations
        )

    def _make_table(self, *arguments: Any) -> RecordingTable:
        self._table = RecordingTable(*arguments)
        self._table.caused = self._record
        self._table.decided = self._explain_decisions
        return self._table

    # Datagrams.

    def deliver(self, message: Message, reception: Reception, peer: PeerAddress) -> None:
        """Process a message as the daemon does, and report the explanation."""
        meaning = self._interpret(message, reception.sender)
        before = self._states(meaning)
        self._changes, self._table.rejection = [], ""
        self.registry.deliver(message, reception, peer)
        after = self._states(meaning)
        self._compare(before, after)
        facts = self._facts(message, reception, peer)
        if isinstance(meaning, Advertisement):
            facts.update(self._explain_advertisement(meaning, reception, after))
        elif isinstance(meaning, Departure):
            facts.update(self._explain_departure(before, after))
        elif isinstance(meaning, Rejection):
            facts.update(result="rejected", reason=meaning.reason)
        elif isinstance(message, SearchRequest):
            facts.update(result="ignored", reason="search of another program")
        else:
            facts.update(result="ignored", reason="ssdp:update changes no service")
        self._report(Explanation(**facts, changes=tuple(self._changes)))

    def drop(
        self, error: MessageError, reception: Reception, peer: PeerAddress, message: Message | None = None
    ) -> None:
        """Drop a datagram as the daemon does, and report the explanation."""
        self.registry.drop(error, reception, peer)
        facts = self._facts(message, reception, peer)
        self._report(Explanation(**facts, result="dropped", reason=error.kind, detail=str(error)))

    def skip(
        self,
        message: Message | MessageError,
        reason: str,
        reception: Reception,
        peer: PeerAddress,
        result: str = "not received",
    ) -> None:
        """
        Report a datagram that the daemon does not receive.

        :param message: The message, or the error of a datagram that is none.
        :param result: Result to report.
        """
        detail = str(message) if isinstance(message, MessageError) else ""
        facts = self._facts(None if isinstance(message, MessageError) else message, reception, peer)
        self._report(Explanation(**facts, result=result, reason=reason, detail=detail))

    def _facts(self, message: Message | None, reception: Reception, peer: PeerAddress) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "time": self._wall_clock(),
            "kind": INVALID if message is None else message.kind,
            "sender": reception.sender,
            "port": peer[1],
            "interface": reception.interface,
        }
        match message:
            case None:
                return facts
            case SearchRequest():
                return {**facts, "nt": message.st}
            case _:
                nt = message.st if message.kind == "response" else message.nt  # type: ignore[union-attr]
        term = self._terms.match(nt)
        return {
            **facts,
            "nt": nt,
            "usn": message.usn,
            "location": getattr(message, "location", ""),
            "term": None if term is None else term.urn,
            "tag": "" if term is None else term.tag,
        }

    def _explain_advertisement(
        self,
        advertisement: Advertisement,
        reception: Reception,
        after: Sequence[TrackedState],
    ) -> dict[str, Any]:
        facts: dict[str, Any] = {"standing": standing_of(advertisement, reception).name.lower()}
        if self._table.rejection:
            return {**facts, "result": "rejected", "reason": self._table.rejection}
        (state,) = after
        facts["registration"] = self._registered(state.advertisement)
        kinds = {change.kind for change in self._changes}
        for kind, result in (("appeared", "registered"), ("moved", "moved"), ("updated", "updated")):
            if kind in kinds:
                return {**facts, "result": result}
        claim = next((each for each in state.claims if each.location == advertisement.location), None)
        if not state.live:
            reason = f"the standing is lower than ssdp.trust, which is {self._trust}"
            return {**facts, "result": "waiting", "reason": reason}
        if claim is None or claim is not state.claims[0]:
            return {**facts, "result": "claim", "reason": "the service is registered at another LOCATION"}
        if claim.sender != reception.sender:
            reason = "another sender holds the service"
            return {**facts, "result": "ignored", "reason": reason, "detail": f"the holder is {claim.sender}"}
        left = claim.expires_at - self._reactor.seconds()
        return {**facts, "result": "known", "detail": f"expires in {_seconds(left)} if it is not received again"}

    def _explain_departure(self, before: Sequence[TrackedState], after: Sequence[TrackedState]) -> dict[str, Any]:
        if not before:
            return {"result": "ignored", "reason": "no such service in the table"}
        registration = self._registered(before[0].advertisement)
        if any(state.leaves_at < math.inf for state in after):
            return {"result": "leaving", "registration": registration}
        return {"result": "ignored", "reason": "the sender does not hold the service", "registration": registration}

    # Changes in the table.

    def _record(self, events: Iterable[Event]) -> None:
        self._changes += [self._describe(event) for event in events]

    def _describe(self, event: Event) -> TableChange:
        """Describe an event before the registry applies it."""
        registration = self._registered(event.advertisement)
        match event:
            case Appeared(advertisement, standing):
                new = self._rules.registration(advertisement, standing)
                return TableChange("appeared", f"{_service(new)} appeared, ID {new.service_id}")
            case Changed(advertisement, standing):
                new = self._rules.registration(advertisement, standing)
                if new == registration:
                    return TableChange("standing", f"{_service(new)} has the standing {standing.name.lower()} now")
                if registration is None or _endpoint(registration) == _endpoint(new):
                    return TableChange("updated", f"{_service(new)} has other facts or checks")
                return TableChange("moved", f"{new.name} moved from {_endpoint(registration)} to {_endpoint(new)}")
            case Left(advertisement, reason):
                text = advertisement.urn if registration is None else _service(registration)
                return TableChange("left", f"{text} left: {reason}")
            case SearchNeeded():
                hosts = f" and to {', '.join(event.hosts)}" if event.hosts else ""
                return TableChange(
                    "search", f"search for {event.advertisement.search_target} is sent to the group{hosts}"
                )

    def _compare(self, before: Sequence[TrackedState], after: Sequence[TrackedState]) -> None:
        """Record the decisions that began with the message, which cause no events."""
        known = {state.advertisement.urn: state for state in before}
        for state in after:
            old = known.get(state.advertisement.urn)
            name = self._name(state.advertisement)
            if state.leaves_at < math.inf and (old is None or old.leaves_at == math.inf):
                wait = _seconds(state.leaves_at - self._reactor.seconds())
                self._changes.append(TableChange("leaving", f"{name} leaves in {wait} unless it is received again"))
            elif state.leaves_at == math.inf and old is not None and old.leaves_at < math.inf:
                self._changes.append(TableChange("stays", f"{name} stays: it was received after its byebye"))
            if state.contested and not (old is not None and old.contested):
                self._changes.append(self._begin_contest(state))
            elif not state.contested and old is not None and old.contested:
                self._changes.append(self._end_contest(state))
            if state.move_at < math.inf and (old is None or old.move_at == math.inf):
                wait = _seconds(state.move_at - self._reactor.seconds())
                self._changes.append(
                    TableChange("delayed", f"a move of {name} waits {wait}: it moved a short time ago")
                )

    def _explain_decisions(self, events: Iterable[Event], now: float) -> None:
        """Report what the passing of time caused."""
        time = self._wall_clock()
        for event in events:
            advertisement = event.advertisement
            self._report_decision(time, advertisement, self._describe(event))
            known = (advertisement.device_id, advertisement.urn) in self._contested
            if isinstance(event, SearchNeeded) and not known and len(self._contested) < _MOST_CONTESTS:
                for state in self._table.states(advertisement.device_id, advertisement.urn):
                    if state.contested:
                        self._report_decision(time, advertisement, self._begin_contest(state))
        for key in list(self._contested):
            states = self._table.states(*key)
            if not states:
                del self._contested[key]
            elif not states[0].contested:
                self._report_decision(time, states[0].advertisement, self._end_contest(states[0]))

    def _begin_contest(self, state: TrackedState) -> TableChange:
        if len(self._contested) < _MOST_CONTESTS:
            self._contested[state.advertisement.device_id, state.advertisement.urn] = None
        claims = "; ".join(map(_claim, state.claims))
        return TableChange("contested", f"contest about {self._name(state.advertisement)} begins: {claims}")

    def _end_contest(self, state: TrackedState) -> TableChange:
        self._contested.pop((state.advertisement.device_id, state.advertisement.urn), None)
        text = f"contest about {self._name(state.advertisement)} ended: {_claim(state.claims[0])}"
        return TableChange("decided", text)

    def _report_decision(self, time: float, advertisement: Advertisement, change: TableChange) -> None:
        self._report(
            Explanation(
                time,
                TIMER,
                nt=advertisement.nt,
                usn=advertisement.usn,
                location=advertisement.location,
                term=advertisement.term.urn,
                tag=advertisement.term.tag,
                registration=self._registered(advertisement),
                changes=(change,),
            )
        )

    def _states(self, meaning: Meaning | None) -> list[TrackedState]:
        return (
            []
            if meaning is None or isinstance(meaning, Rejection | BootNotice)
            else self._table.states(meaning.device_id, meaning.urn)
        )

    def _registered(self, advertisement: Advertisement) -> Registration | None:
        service_id = self._rules.service_id(advertisement.device_id, advertisement.urn)
        return self.registry.registrations.get(service_id)

    def _name(self, advertisement: Advertisement) -> str:
        return self._rules.registration(advertisement).name


def _service(registration: Registration) -> str:
    return f"{registration.name} at {_endpoint(registration)}"


def _endpoint(registration: Registration) -> str:
    address = f"[{registration.address}]" if ":" in registration.address else registration.address
    return f"{address}:{registration.port}"


def _claim(claim: ClaimState) -> str:
    return f"{claim.location} claimed by {claim.sender}, {claim.standing.name.lower()}"


def _seconds(number: float) -> str:
    return f"{round(number, 1):g} s"
