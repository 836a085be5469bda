"""Simulated Consul agent with checks that expire on the simulated clock, and a client that reaches it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from random import Random
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers

from ssdpreg.backends.http_connection import PreparedURL
from tests.simulation.clock import ProcessClock, WorldClock
from tests.simulation.pauses import Pauses

#: Seconds between two searches of the agent for services with checks that have been critical for too long.
_REAP_INTERVAL = 30.0
#: Shortest ``DeregisterCriticalServiceAfter`` that Consul applies, in seconds.
_SHORTEST_REAP = 60.0
#: Stands for a process where it does not matter which one.
ANY_PROCESS: Any = None
# Consul sends no blanks.
_to_json = json.JSONEncoder(separators=(",", ":")).encode
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Answer(Exception):  # noqa: N818
    """
    A response other than a successful one.

    :ivar status: HTTP status.
    :ivar text: Body.
    :ivar retry_after: Value of Retry-After, or None.
    """

    def __init__(self, status: int, text: str, retry_after: str | None = None) -> None:
        super().__init__(status, text)
        self.status, self.text, self.retry_after = status, text, retry_after


class SimulatedConsul:
    """
    Consul agent, with the responses of Consul 1.8.

    TTL checks expire, alias checks take the status of their service, and services with checks that are critical for too
    long are removed, as in a real agent.

    :param clock: Clock of the world.
    :param random: Source of the latency.
    :ivar services: Services by ID, in the format of the agent's listing.
    :ivar fault: Called with the method, path and body of each request. It may raise an :class:`Answer`, or return text
        that is sent in place of the response.
    :ivar reachable: Whether connections are accepted.
    :ivar silent: Whether requests get no response.
    :ivar latency: Shortest and longest seconds that a response takes.
    :ivar hidden: Whether listings are empty, as with a token that may not read.
    :ivar only_own: Whether listings have only the service of the daemon itself.
    :ivar tokens: Whether a token may write, by token.
    :ivar token_file: Content of the file that has the token of the daemon.
    :ivar requests: Number of requests so far.
    :ivar writes: Number of writes to the raft log so far.
    :ivar changed: Called with the ID after each change of a service, and whether the daemon or the agent made it.
    :ivar probed: Called with the service ID and the host of each health check that the daemon aims at one.
    :ivar pauses: Pauses between requests that it rejects.
    :ivar needless: Number of registrations by the daemon that changed nothing, so far.
    :ivar requested: Called with the method and path of each request that is carried out, and the process that sent it.
    """

    def __init__(self, clock: WorldClock, random: Random) -> None:
        self._clock, self._random = clock, random
        self.services: dict[str, dict[str, Any]] = {}
        self._checks: dict[str, dict[str, Any]] = {}
        self._checks_of: dict[str, dict[str, None]] = {}
        self._ttl: dict[str, tuple[float, float]] = {}
        self._critical_since: dict[str, float] = {}
        self._reap_after: dict[str, float] = {}
        self._alias: dict[str, str] = {}
        self._listings: dict[str, bytes] = {}
        # Entries of services and checks as JSON, and the services that alias checks refer to.
        self._texts: dict[str, str] = {}
        self._check_texts: dict[str, str] = {}
        self._targets: set[str] = set()
        self.fault: Callable[[str, str, bytes], str | None] | None = None
        self.reachable, self.silent, self.hidden, self.only_own = True, False, False, False
        self.token_file = "first"
        self.tokens = {self.token_file: True}
        self.latency = (0.001, 0.02)
        self.requests = 0
        self.needless = 0
        self.pauses = Pauses()
        self.probed: Callable[[str, str], None] = lambda service_id, host: None
        self.writes = 0
        self.changed: Callable[[str, str], None] = lambda service_id, by: None
        self.requested: Callable[[str, str, ProcessClock], None] = lambda method, path, process: None
        clock.callLater(_REAP_INTERVAL, self._reap)

    @property
    def accepts_keep_alives(self) -> bool:
        """Whether a keep-alive of the daemon succeeds soon."""
        passes = self.fault is None or getattr(self.fault, "passes_keep_alives", False)
        refuses = getattr(self.fault, "refuses_writes", False) or not self.tokens.get(self.token_file)
        if refuses and "ssdpreg:alive" not in self._ttl:
            # The check would have to be registered first.
            return False
        return self.reachable and not self.silent and self.latency[1] < 5.0 and passes

    # The agent's own work.

    def clear(self, by: str = "agent") -> None:
        """Remove everything, as a restart without the data directory does."""
        for service_id in list(self.services):
            self.remove_service(service_id, by)
        self._checks.clear()
        self._check_texts.clear()
        self._listings.clear()

    def restart(self) -> None:
        """Restart the agent with its data: TTL checks whose time has run out come back as critical."""
        self._expire_ttl()

    def status(self, check_id: str) -> str:
        """Return the status of a check, or an empty string if there is none."""
        self._expire_ttl()
        check = self._checks.get(check_id)
        return "" if check is None else str(check["Status"])

    def put_service(self, service_id: str, entry: dict[str, Any], by: str) -> None:
        """Add or replace a service."""
        self.services[service_id] = entry
        self._texts.pop(service_id, None)
        self._listings.clear()
        self.changed(service_id, by)

    def put_check(self, check_id: str, service_id: str, status: str, kind: str = "ttl") -> None:
        """Add or replace a check."""
        self._checks[check_id] = {
            "Node": "simulated",
            "CheckID": check_id,
            "Name": "",
            "Status": status,
            "Notes": "",
            "Output": "",
            "ServiceID": service_id,
            "ServiceName": self.services.get(service_id, {}).get("Service", ""),
            "ServiceTags": [],
            "Type": kind,
        }
        self._checks_of.setdefault(service_id, {})[check_id] = None
        self._check_texts.pop(check_id, None)
        self._listings.clear()

    def remove_service(self, service_id: str, by: str) -> None:
        """Remove a service and its checks."""
        if self.services.pop(service_id, None) is None:
            return
        self._texts.pop(service_id, None)
        for check_id in list(self._checks_of.pop(service_id, ())):
            self.remove_check(check_id)
        self._listings.clear()
        self.changed(service_id, by)

    def remove_check(self, check_id: str) -> None:
        """Remove a check."""
        check = self._checks.pop(check_id, None)
        for table in (self._ttl, self._critical_since, self._reap_after, self._alias):
            table.pop(check_id, None)
        if check is not None:
            self._checks_of.get(check["ServiceID"], {}).pop(check_id, None)
            self._check_texts.pop(check_id, None)
            self._listings.clear()

    def check_ids(self, service_id: str) -> list[str]:
        """Return the IDs of the checks of a service."""
        return list(self._checks_of.get(service_id, ()))

    def _set_status(self, check_id: str, status: str) -> None:
        check = self._checks[check_id]
        if check["Status"] == status:
            return
        check["Status"] = status
        self.writes += 1
        self._check_texts.pop(check_id, None)
        self._listings.clear()
        if status == "critical":
            self._critical_since[check_id] = self._clock.seconds()
        else:
            self._critical_since.pop(check_id, None)
        for alias, service_id in self._alias.items():
            if service_id == check["ServiceID"]:
                self._set_status(alias, status)

    def _expire_ttl(self) -> None:
        now = self._clock.seconds()
        for check_id, (_, expires_at) in self._ttl.items():
            if expires_at <= now:
                self._set_status(check_id, "critical")

    def _reap(self) -> None:
        self._clock.callLater(_REAP_INTERVAL, self._reap)
        self._expire_ttl()
        now = self._clock.seconds()
        for check_id, since in list(self._critical_since.items()):
            after = self._reap_after.get(check_id)
            if after is not None and now - since > after and check_id in self._checks:
                self.writes += 1
                self.remove_service(self._checks[check_id]["ServiceID"], "agent")

    # Requests.

    def request(
        self, method: str, url: str, body: bytes | None, process: ProcessClock, token: str = "first"
    ) -> tuple[int, bytes, str | None]:
        """Carry out a request. Return the status, the body and Retry-After of the response."""
        parts = urlsplit(url)
        self._expire_ttl()
        try:
            replaced = None if self.fault is None else self.fault(method, parts.path, body or b"")
            if replaced is not None:
                return 200, replaced.encode(), None
            if token not in self.tokens:
                raise Answer(403, "ACL not found")
            if method == "PUT" and not self.tokens[token] and "/check/pass/" not in parts.path:
                raise Answer(403, "Permission denied")
            self.requested(method, parts.path, process)
            return 200, self._answer(method, parts.path, parse_qs(parts.query), body or b""), None
        except Answer as answer:
            return answer.status, answer.text.encode(), answer.retry_after

    def _answer(self, method: str, path: str, query: Mapping[str, list[str]], body: bytes) -> bytes:
        expression = query.get("filter", [""])[0]
        if path == "/v1/agent/services":
            return self._list("services", self.services, expression)
        if path == "/v1/agent/checks":
            return self._list("checks", self._checks, expression)
        if path == "/v1/agent/service/register":
            self._register(json.loads(body), replace=query.get("replace-existing-checks") == ["true"])
            return b""
        area, _, name = path.rpartition("/")
        name = unquote(name)
        match area:
            case "/v1/agent/service":
                if name not in self.services:
                    raise Answer(404, f"unknown service ID: {name}")
                return json.dumps(self.services[name]).encode()
            case "/v1/agent/service/deregister":
                if name in self.services:
                    self.writes += 1
                self.remove_service(name, "daemon")
                return b""
            case "/v1/agent/check/deregister":
                if name in self._checks:
                    self.writes += 1
                self.remove_check(name)
                return b""
            case "/v1/agent/check/pass":
                if name not in self._ttl:
                    raise Answer(500, f'CheckID "{name}" does not have associated TTL')
                ttl, _ = self._ttl[name]
                self._ttl[name] = ttl, self._clock.seconds() + ttl
                self._set_status(name, "passing")
                return b""
        raise Answer(404, "")

    def _list(self, kind: str, entries: Mapping[str, Mapping[str, Any]], expression: str) -> bytes:
        if self.hidden:
            return b"{}"
        key = kind + expression + str(self.only_own)
        if key not in self._listings:
            matches = _filter(expression)
            hidden = kind == "services" and self.only_own
            chosen = (lambda entry: matches(entry) and entry["Service"] == "ssdpreg") if hidden else matches
            texts = self._texts if kind == "services" else self._check_texts
            members = []
            for entry_id, entry in sorted(entries.items()):
                if chosen(entry):
                    text = texts.get(entry_id)
                    if text is None:
                        text = texts[entry_id] = f"{_to_json(entry_id)}:{_to_json(entry)}"
                    members.append(text)
            self._listings[key] = f"{{{','.join(members)}}}".encode()
        return self._listings[key]

    def _register(self, body: dict[str, Any], *, replace: bool) -> None:
        service_id, now = body.get("ID") or body["Name"], self._clock.seconds()
        self.writes += 1
        before = self.services.get(service_id)
        self.put_service(
            service_id,
            {
                "ID": service_id,
                "Service": body["Name"],
                "Tags": body.get("Tags") or [],
                "Meta": body.get("Meta") or {},
                "Port": body.get("Port", 0),
                "Address": body.get("Address", ""),
                "Weights": {"Passing": 1, "Warning": 1},
                "EnableTagOverride": False,
            },
            "daemon",
        )
        self.needless += before == self.services[service_id]
        for check in sorted(body.get("Checks") or (), key=lambda check: str(check["CheckID"])):
            if "HTTP" in check:
                self.probed(service_id, str(urlsplit(check["HTTP"]).hostname))
            check_id = check["CheckID"]
            # The registration of an existing check does not change its status.
            before = self._checks.get(check_id, {}).get("Status")
            self.put_check(check_id, service_id, before or check.get("Status", "critical"), _kind(check))
            if "TTL" in check:
                ttl = _seconds(check["TTL"])
                self._ttl[check_id] = ttl, now + ttl
            if "AliasService" in check:
                self._alias[check_id] = check["AliasService"]
                self._targets.add(check["AliasService"])
            if "DeregisterCriticalServiceAfter" in check:
                after = _seconds(check["DeregisterCriticalServiceAfter"])
                self._reap_after[check_id] = max(after, _SHORTEST_REAP)
        given = {check["CheckID"] for check in body.get("Checks") or ()}
        for check_id in [each for each in self.check_ids(service_id) if replace and each not in given]:
            if check_id.startswith("_service_maintenance"):
                self.requested("PUT", f"{check_id} is replaced", ANY_PROCESS)
            self.remove_check(check_id)
        self._update_aliases(service_id)

    def _update_aliases(self, service_id: str) -> None:
        """Update the alias checks of a service, and those on it. A service that does not exist is critical."""
        if service_id in self._targets:
            affected = [each for each in self._alias if service_id in (self._alias[each], self._service_of(each))]
        else:
            affected = [each for each in self._checks_of.get(service_id, ()) if each in self._alias]
        for alias in affected:
            target = self._alias[alias]
            statuses = [self._checks[each]["Status"] for each in self._checks_of.get(target, ())]
            critical = target not in self.services or "critical" in statuses
            self._set_status(alias, "critical" if critical else "passing")

    def _service_of(self, check_id: str) -> str:
        return str(self._checks[check_id]["ServiceID"])

    # Connections.

    def call_later(self, delay: float, function: Callable[[], None]) -> None:
        """Call a function later, independently of the daemon's process."""
        self._clock.callLater(delay, function)

    def delay(self) -> float:
        """Return the seconds that the next response takes."""
        return self._random.uniform(*self.latency)


def _kind(check: Mapping[str, Any]) -> str:
    for field, kind in {"HTTP": "http", "TCP": "tcp", "AliasService": "alias"}.items():
        if field in check:
            return kind
    return "ttl"


def _seconds(duration: str) -> float:
    match = re.fullmatch(r"([\d.]+)(ms|s|m|h)", duration)
    if match is None:
        raise Answer(400, f"Request decode failed: time: missing unit in duration {duration}")
    return float(match[1]) * _UNITS[match[2]]


def _filter(expression: str) -> Callable[[Mapping[str, Any]], bool]:
    equal = re.fullmatch(r'Meta\["([^"]+)"\] == "([^"]*)"', expression)
    if equal is not None:
        return lambda entry: bool((entry["Meta"] or {}).get(equal[1]) == equal[2])
    matches = re.fullmatch(r'(\w+) (==|matches) "([^"]+)"', expression)
    if matches is None:
        return lambda entry: True
    if matches[2] == "==":
        return lambda entry: bool(entry[matches[1]] == matches[3])
    pattern = re.compile(matches[3])
    return lambda entry: pattern.search(entry[matches[1]]) is not None


class SimulatedResponse:
    """Response in the form of treq: status, header fields, and a body that is delivered to a protocol."""

    def __init__(self, code: int, body: bytes, retry_after: str | None) -> None:
        self.code = code
        self.headers = Headers({} if retry_after is None else {"Retry-After": [retry_after]})
        self.length = len(body)
        self._body = body

    def deliverBody(self, protocol: Any) -> None:  # noqa: N802
        if self._body:
            protocol.dataReceived(self._body)
        protocol.connectionLost(Failure(ResponseDone()))


class SimulatedClient:
    """
    Client in place of treq's: its requests reach a simulated Consul after some time.

    :param process: Clock of the process that sends the requests. A killed process gets no responses.
    :param consul: Consul that receives the requests.
    """

    def __init__(self, process: ProcessClock, consul: SimulatedConsul) -> None:
        self._process, self._consul = process, consul

    def request(
        self, method: str, url: PreparedURL, *, data: bytes | None = None, headers: object = None, **options: object
    ) -> Deferred[SimulatedResponse]:
        """Send a request. The Deferred fires with the response, and can be cancelled."""
        consul = self._consul
        tokens = headers.getRawHeaders("X-Consul-Token") if isinstance(headers, Headers) else None
        token = (tokens or ["first"])[0]
        answered: Deferred[SimulatedResponse] = Deferred()
        if self._process.killed:
            return answered
        consul.requests += 1
        if consul.pauses.recording:
            consul.pauses.add(self._process.seconds())

        def refuse() -> None:
            if not answered.called:
                answered.errback(ConnectionRefusedError())

        def arrive() -> None:
            # A request that was cancelled on its way may still be carried out.
            if not consul.reachable:
                self._process.callLater(0.0, refuse)
            elif not consul.silent:
                status, body, retry_after = consul.request(method, url.to_text(), data, self._process, token)
                self._process.callLater(consul.delay() / 2, respond, SimulatedResponse(status, body, retry_after))

        def respond(response: SimulatedResponse) -> None:
            if not answered.called:
                answered.callback(response)

        # The request is sent: it arrives even if the process is killed now.
        consul.call_later(consul.delay() / 2, arrive)
        return answered
