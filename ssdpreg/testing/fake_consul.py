"""Consul agent in memory, with the responses of Consul 1.8."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

#: Fields that Consul 1.8 accepts. It rejects a request with any other field.
# fmt: off
_SERVICE_FIELDS = frozenset(
    {
        "ID", "Name", "Tags", "Address", "Port", "Meta", "Weights", "Check", "Checks", "EnableTagOverride",
        "Kind", "Proxy", "Connect", "TaggedAddresses", "Token",
    }
)
_CHECK_FIELDS = frozenset(
    {
        "CheckID", "Name", "Notes", "Status", "TTL", "HTTP", "TCP", "GRPC", "Interval", "Timeout", "Method",
        "Body", "Header", "TLSSkipVerify", "AliasNode", "AliasService", "DeregisterCriticalServiceAfter",
        "SuccessBeforePassing", "FailuresBeforeCritical", "OutputMaxSize",
    }
)
# fmt: on
_DURATIONS = ("TTL", "Interval", "Timeout", "DeregisterCriticalServiceAfter")


class FakeResponseError(Exception):
    """
    Response with an error status.

    :ivar status: HTTP status.
    :ivar text: Body.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text


class FakeConsulAgent(Resource):
    """
    The part of a Consul agent that ssdpreg uses, in memory, with the responses of Consul 1.8.

    Checks are stored, but not run: their status changes only by requests.

    :ivar services: Services by ID, in the format of the agent's listing. Tests may add services of other programs.
    :ivar checks: Checks by ID, in the format of the agent's listing.
    :ivar requests: Method and path of every request so far.
    :ivar denied: Names of services that the token may not write.
    :ivar unreadable: Whether the token may read nothing: all listings are empty then.
    :ivar hidden: IDs of services that the token may not read: no listing has them.
    :ivar faults: Statuses and texts of error responses, by prefix of the path. An empty prefix matches all paths.
    :ivar down: Whether every connection is closed without a response.
    :ivar silent: Whether there is no response at all.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.services: dict[str, dict[str, Any]] = {}
        self.checks: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str]] = []
        self.denied: set[str] = set()
        self.unreadable = False
        self.hidden: set[str] = set()
        self.faults: dict[str, tuple[int, str]] = {}
        self.down = False
        self.silent = False
        self._routes: list[tuple[str, str, Callable[..., Any]]] = [
            ("PUT", "/v1/agent/service/register", self._register),
            ("PUT", "/v1/agent/service/deregister/([^/]*)", self._deregister),
            ("PUT", "/v1/agent/check/pass/([^/]*)", self._pass),
            ("PUT", "/v1/agent/check/deregister/([^/]*)", self._deregister_check),
            ("GET", "/v1/agent/services", self._list_services),
            ("GET", "/v1/agent/checks", self._list_checks),
            ("GET", "/v1/agent/service/([^/]*)", self._show_service),
        ]

    def clear(self) -> None:
        """Remove all services and checks, as a restart of an agent without its data does."""
        self.services.clear()
        self.checks.clear()

    def render(self, request: Any) -> Any:
        method, path = request.method.decode(), request.path.decode()
        self.requests.append((method, path))
        if self.down:
            request.transport.loseConnection()
        if self.down or self.silent:
            return NOT_DONE_YET
        try:
            answer = self._answer(request, method, path)
        except FakeResponseError as error:
            request.setResponseCode(error.status)
            request.setHeader("Content-Type", "text/plain")
            return error.text.encode()
        if answer is None:
            return b""
        request.setHeader("Content-Type", "application/json")
        return json.dumps(answer, indent=4).encode() + b"\n"

    def _answer(self, request: IRequest, method: str, path: str) -> Any:
        for start, fault in self.faults.items():
            if path.startswith(start):
                raise FakeResponseError(*fault)
        for allowed, pattern, answer in self._routes:
            match = re.fullmatch(pattern, path)
            if match is None:
                continue
            if method != allowed:
                raise FakeResponseError(405, f"method {method} not allowed")
            return answer(request, *map(unquote, match.groups()))
        raise FakeResponseError(404, "")

    def _register(self, request: Any) -> None:
        body = _decode(request.content.read(), _SERVICE_FIELDS)
        checks = [_decode_check(check) for check in body.get("Checks") or ()]
        if not body.get("Name"):
            raise FakeResponseError(400, "Missing service name")
        service_id = body.get("ID") or body["Name"]
        address, port = body.get("Address", ""), body.get("Port", 0)
        if address in ("0.0.0.0", "::", "[::]"):
            raise FakeResponseError(400, "Invalid service address")
        for check in checks:
            _validate_check(check)
        _validate_meta(body.get("Meta") or {})
        if body["Name"] in self.denied:
            raise FakeResponseError(403, f"Permission denied: Missing service:write on {body['Name']}")
        self.services[service_id] = {
            "ID": service_id,
            "Service": body["Name"],
            "Tags": body.get("Tags") or [],
            "Meta": body.get("Meta") or {},
            "Port": port,
            "Address": address,
            "Weights": {"Passing": 1, "Warning": 1},
            "EnableTagOverride": False,
            **_tagged_addresses(address, port),
        }
        for number, check in enumerate(checks, 1):
            check_id = check.get("CheckID") or f"service:{service_id}" + (f":{number}" if len(checks) > 1 else "")
            before = self.checks.get(check_id, {})
            self.checks[check_id] = {
                "Node": "fake",
                "CheckID": check_id,
                "Name": check.get("Name") or f"Service '{body['Name']}' check",
                # The registration of an existing check does not change its status.
                "Status": before.get("Status") or check.get("Status") or "critical",
                "Notes": check.get("Notes", ""),
                "Output": before.get("Output", ""),
                "ServiceID": service_id,
                "ServiceName": body["Name"],
                "ServiceTags": body.get("Tags") or [],
                "Type": _check_type(check),
                "Definition": {},
                "CreateIndex": 0,
                "ModifyIndex": 0,
            }

    def _deregister(self, request: IRequest, service_id: str) -> None:
        if not service_id:
            raise FakeResponseError(500, "ServiceID missing")
        self.services.pop(service_id, None)
        for check_id, check in list(self.checks.items()):
            if check["ServiceID"] == service_id:
                del self.checks[check_id]

    def _pass(self, request: IRequest, check_id: str) -> None:
        check = self.checks.get(check_id)
        if check is None or check["Type"] != "ttl":
            raise FakeResponseError(500, f'CheckID "{check_id}" does not have associated TTL')
        check["Status"] = "passing"

    def _deregister_check(self, request: IRequest, check_id: str) -> None:
        self.checks.pop(check_id, None)

    def _list_services(self, request: IRequest) -> Any:
        return self._list(request, self.services)

    def _list_checks(self, request: IRequest) -> Any:
        return self._list(request, self.checks)

    def _list(self, request: Any, entries: Mapping[str, Mapping[str, Any]]) -> Any:
        if self.unreadable:
            return {}
        (expression,) = request.args.get(b"filter", [b""])
        chosen = _filter(expression.decode())
        return {
            entry_id: entry
            for entry_id, entry in sorted(entries.items())
            if chosen(entry) and entry.get("ServiceID", entry_id) not in self.hidden
        }

    def _show_service(self, request: IRequest, service_id: str) -> Any:
        service = self.services.get(service_id)
        if service is None:
            raise FakeResponseError(404, f"unknown service ID: {service_id}")
        return service


def _decode(content: bytes, fields: frozenset[str]) -> dict[str, Any]:
    try:
        body = json.loads(content)
    except ValueError:
        raise FakeResponseError(400, f"Request decode failed: {'unexpected EOF' if content else 'EOF'}") from None
    _reject_unknown(body, fields)
    if not isinstance(body.get("Port", 0), int):
        raise FakeResponseError(
            400, "Request decode failed: json: cannot unmarshal string into Go struct field .Port of type int"
        )
    decoded: dict[str, Any] = body
    return decoded


def _decode_check(check: dict[str, Any]) -> dict[str, Any]:
    _reject_unknown(check, _CHECK_FIELDS)
    for field in _DURATIONS:
        if str(check.get(field, "")).isdecimal():
            raise FakeResponseError(400, f'Request decode failed: time: missing unit in duration "{check[field]}"')
    return check


def _reject_unknown(body: Mapping[str, Any], fields: frozenset[str]) -> None:
    for field in body:
        if field not in fields:
            raise FakeResponseError(400, f'Request decode failed: json: unknown field "{field}"')


def _validate_check(check: Mapping[str, Any]) -> None:
    if check.get("Status", "") not in ("", "passing", "warning", "critical"):
        raise FakeResponseError(400, "Status for checks must 'passing', 'warning', 'critical'")
    if ("HTTP" in check or "TCP" in check) and "Interval" not in check:
        raise FakeResponseError(400, "Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks")
    if _check_type(check) == "ttl" and "TTL" not in check:
        raise FakeResponseError(400, "Invalid check: TTL must be > 0 for TTL checks")


def _check_type(check: Mapping[str, Any]) -> str:
    for field, kind in {"HTTP": "http", "TCP": "tcp", "AliasService": "alias"}.items():
        if field in check:
            return kind
    return "ttl"


def _validate_meta(meta: Mapping[str, str]) -> None:
    if len(meta) > 64:
        raise FakeResponseError(400, "Invalid Service Meta: Node metadata cannot contain more than 64 key/value pairs")
    for key, value in meta.items():
        if not re.fullmatch(r"[A-Za-z0-9_-]+", key):
            problem = "Key contains invalid characters"
        elif len(value.encode()) > 512:
            problem = "Value is too long (limit: 512 characters)"
        else:
            continue
        raise FakeResponseError(
            400, f"Invalid Service Meta: Couldn't load metadata pair ('{key}', '{value}'): {problem}"
        )


def _tagged_addresses(address: str, port: int) -> dict[str, Any]:
    family = "ipv6" if ":" in address else "ipv4" if re.fullmatch(r"[\d.]+", address) else ""
    if not family:
        return {}
    return {"TaggedAddresses": {f"{net}_{family}": {"Address": address, "Port": port} for net in ("lan", "wan")}}


def _filter(expression: str) -> Callable[[Mapping[str, Any]], bool]:
    """Return a filter for one of the expressions that ssdpreg uses. Other expressions are not supported."""
    if not expression:
        return lambda entry: True
    equal = re.fullmatch(r'Meta\["([^"]+)"\] == "([^"]*)"', expression)
    if equal is not None:
        return lambda service: service["Meta"].get(equal[1]) == equal[2]
    matches = re.fullmatch(r'ServiceID matches "([^"]+)"', expression)
    if matches is not None:
        return lambda check: re.search(matches[1], check["ServiceID"]) is not None
    chosen = re.fullmatch(r'CheckID == "([^"]*)"', expression)
    if chosen is not None:
        return lambda check: check["CheckID"] == chosen[1]
    raise FakeResponseError(500, f"Failed to create boolean expression evaluator: {expression}")
