"""
What tests of ssdpreg, and of parts that others write for it, are made with.

:class:`BackendTestsMixin` holds what every backend must do; whoever writes one runs it. :class:`FakeConsulAgent` is a
Consul agent in memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface.verify import verifyObject

from ssdpreg.interfaces import IRegistryBackend
from ssdpreg.registration import Check, Outcome, Plan, Registration

if TYPE_CHECKING:
    # Trial's, which it is in truth, has no types.
    from unittest import TestCase
else:
    TestCase = object


def make_registration(number: int = 0, scope: str = "test", **changes: Any) -> Registration:
    """
    Make up a service.

    :param number: Which one.
    :param scope: Whose.
    :param changes: Attributes of :class:`ssdpreg.registration.Registration` that are to differ.
    """
    service_id = f"ssdpreg-api-2-0-{number:016x}"
    registration = Registration(
        service_id=service_id,
        name="RackHD-service:api:2.0",
        address=f"192.0.2.{number % 250 + 1}",
        port=8080,
        tags=(),
        meta={
            "external-source": "ssdpreg",
            "ssdpreg-scope": scope,
            "ssdp-device": f"device-{number}",
            "ssdp-location": f"http://192.0.2.{number % 250 + 1}:8080/",
        },
        checks=frozenset({Check(f"{service_id}-alive", kind="alive")}),
    )
    return replace(registration, **changes)


class BackendTestsMixin(TestCase):
    """
    What every backend must do.

    To be mixed into a :class:`twisted.trial.unittest.TestCase` that has a :meth:`make_backend`.
    """

    def make_backend(self, scope: str = "test") -> IRegistryBackend:
        """
        Make a backend that has nothing written down, and see to it that it is closed.

        :param scope: Marks entries as its own. Backends of different scopes share the place where they write.
        """
        raise NotImplementedError

    async def test_interface(self) -> None:
        """It has the methods that a backend has."""
        verifyObject(IRegistryBackend, self.make_backend())

    async def test_nothing(self) -> None:
        """At first nothing is written down, and an empty plan changes nothing."""
        backend = self.make_backend()
        self.assertEqual(await backend.apply(Plan()), Outcome())
        self.assertEqual(await backend.read(), {})

    async def test_register(self) -> None:
        """What was registered is read as it was told."""
        backend = self.make_backend()
        registration = make_registration()
        outcome = await backend.apply(Plan(register=(registration,)))
        self.assertEqual(outcome, Outcome(applied=frozenset({registration.service_id})))
        self.assertEqual(await backend.read(), {registration.service_id: registration})

    async def test_everything_is_kept(self) -> None:
        """Tags in their order, text in any script, IPv6 addresses and all checks come back."""
        backend = self.make_backend()
        registration = make_registration(
            name="Inservice-urn:MalformedData",
            address="2001:db8::5",
            port=65535,
            tags=("zebra", "ünï cödé", "ant"),
        )
        service_id = registration.service_id
        registration = replace(
            registration,
            meta={**registration.meta, "ssdp-server": 'Größe/1.0 "電源" \\ <b>', "ssdp-usn": ""},
            checks=registration.checks
            | {
                Check(f"{service_id}-http-0a", "http", "http://[2001:db8::5]/x?a=b", 15.0, 2.5, True, 300.0),
                Check(f"{service_id}-tcp-0b", "tcp", "[2001:db8::5]:80", 0.5),
            },
        )
        await backend.apply(Plan(register=(registration,)))
        self.assertEqual(await backend.read(), {service_id: registration})

    async def test_register_again(self) -> None:
        """Repeating a plan changes nothing."""
        backend = self.make_backend()
        plan = Plan(register=(make_registration(1), make_registration(2)))
        first = await backend.apply(plan)
        before = await backend.read()
        self.assertEqual(await backend.apply(plan), first)
        self.assertEqual(await backend.read(), before)

    async def test_replace(self) -> None:
        """A service with an ID that is known takes the place of the one before it, name and all."""
        backend = self.make_backend()
        await backend.apply(Plan(register=(make_registration(),)))
        moved = make_registration(name="RackHD-other", address="192.0.2.99", port=1, tags=("moved",))
        await backend.apply(Plan(register=(moved,)))
        self.assertEqual(await backend.read(), {moved.service_id: moved})

    async def test_replace_checks(self) -> None:
        """A check that is no longer wanted goes, whether another takes its place or not."""
        backend = self.make_backend()
        plain = make_registration()
        http = Check(f"{plain.service_id}-http-0a", "http", "http://192.0.2.1/", 15.0)
        tcp = Check(f"{plain.service_id}-tcp-0b", "tcp", "192.0.2.1:80", 15.0)
        for checks in ({http}, {tcp}, {http, tcp}, set()):
            registration = replace(plain, checks=plain.checks | checks)
            await backend.apply(Plan(register=(registration,)))
            self.assertEqual(await backend.read(), {plain.service_id: registration})

    async def test_deregister(self) -> None:
        """What was deregistered is gone, and nothing else."""
        backend = self.make_backend()
        leaving, staying = make_registration(1), make_registration(2)
        await backend.apply(Plan(register=(leaving, staying)))
        outcome = await backend.apply(Plan(deregister=(leaving,)))
        self.assertEqual(outcome, Outcome(applied=frozenset({leaving.service_id})))
        self.assertEqual(await backend.read(), {staying.service_id: staying})

    async def test_deregister_unknown(self) -> None:
        """What is not there is as good as deregistered."""
        backend = self.make_backend()
        unknown = make_registration()
        outcome = await backend.apply(Plan(deregister=(unknown,)))
        self.assertEqual(outcome, Outcome(applied=frozenset({unknown.service_id})))

    async def test_many(self) -> None:
        """A plan may be long, and do both."""
        backend = self.make_backend()
        registrations = [make_registration(number) for number in range(60)]
        await backend.apply(Plan(register=tuple(registrations[:40])))
        outcome = await backend.apply(Plan(register=tuple(registrations[40:]), deregister=tuple(registrations[:30])))
        changed = registrations[40:] + registrations[:30]
        self.assertEqual(outcome, Outcome(applied=frozenset(each.service_id for each in changed)))
        self.assertEqual(await backend.read(), {each.service_id: each for each in registrations[30:]})

    async def test_scopes(self) -> None:
        """A backend shows nothing of what another daemon wrote."""
        ours, theirs = self.make_backend("ours"), self.make_backend("theirs")
        our_service, their_service = make_registration(1, "ours"), make_registration(2, "theirs")
        await ours.apply(Plan(register=(our_service,)))
        await theirs.apply(Plan(register=(their_service,)))
        self.assertEqual(await ours.read(), {our_service.service_id: our_service})
        self.assertEqual(await theirs.read(), {their_service.service_id: their_service})

    async def test_keep_alive(self) -> None:
        """Signs of life change nothing that is written down."""
        backend = self.make_backend()
        await backend.keep_alive()
        registration = make_registration()
        await backend.apply(Plan(register=(registration,)))
        await backend.keep_alive()
        self.assertEqual(await backend.read(), {registration.service_id: registration})

    async def test_retire(self) -> None:
        """A daemon that retires leaves the services to whoever deregisters them, and may do so without any."""
        backend = self.make_backend()
        await backend.retire()
        registration = make_registration()
        await backend.apply(Plan(register=(registration,)))
        await backend.retire()
        self.assertEqual(await backend.read(), {registration.service_id: registration})


#: What Consul 1.8 takes: it refuses a request with any other field.
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


class _NoError(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text


class FakeConsulAgent(Resource):
    """
    The part of a Consul agent that ssdpreg talks to, in memory, with the answers of Consul 1.8.

    Checks are remembered, but not run: time does not pass here.

    :ivar services: By ID, as the agent lists them. Tests may put there what others have registered.
    :ivar checks: By ID, as the agent lists them.
    :ivar requests: Method and path of every request there has been.
    :ivar denied: Names of services that may not be written.
    :ivar unreadable: Whether the token may read nothing: everything looks empty then.
    :ivar faults: Statuses and texts to answer with, by what the path begins with; an empty one stands for all paths.
    :ivar down: Whether every connection is closed without an answer.
    :ivar silent: Whether there is no answer at all.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.services: dict[str, dict[str, Any]] = {}
        self.checks: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str]] = []
        self.denied: set[str] = set()
        self.unreadable = False
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

    def forget(self) -> None:
        """Lose everything, as an agent does that is started anew without its data."""
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
        except _NoError as error:
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
                raise _NoError(*fault)
        for allowed, pattern, answer in self._routes:
            match = re.fullmatch(pattern, path)
            if match is None:
                continue
            if method != allowed:
                raise _NoError(405, f"method {method} not allowed")
            return answer(request, *map(unquote, match.groups()))
        raise _NoError(404, "")

    def _register(self, request: Any) -> None:
        body = _decode(request.content.read(), _SERVICE_FIELDS)
        checks = [_decode_check(check) for check in body.get("Checks") or ()]
        if not body.get("Name"):
            raise _NoError(400, "Missing service name")
        service_id = body.get("ID") or body["Name"]
        address, port = body.get("Address", ""), body.get("Port", 0)
        if address in ("0.0.0.0", "::", "[::]"):
            raise _NoError(400, "Invalid service address")
        for check in checks:
            _validate_check(check)
        _validate_meta(body.get("Meta") or {})
        if body["Name"] in self.denied:
            raise _NoError(403, f"Permission denied: Missing service:write on {body['Name']}")
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
                # The status of a check that is known survives its registration.
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
            raise _NoError(500, "ServiceID missing")
        self.services.pop(service_id, None)
        for check_id, check in list(self.checks.items()):
            if check["ServiceID"] == service_id:
                del self.checks[check_id]

    def _pass(self, request: IRequest, check_id: str) -> None:
        check = self.checks.get(check_id)
        if check is None or check["Type"] != "ttl":
            raise _NoError(500, f'CheckID "{check_id}" does not have associated TTL')
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
        return {entry_id: entry for entry_id, entry in sorted(entries.items()) if chosen(entry)}

    def _show_service(self, request: IRequest, service_id: str) -> Any:
        service = self.services.get(service_id)
        if service is None:
            raise _NoError(404, f"unknown service ID: {service_id}")
        return service


def _decode(content: bytes, fields: frozenset[str]) -> dict[str, Any]:
    try:
        body = json.loads(content)
    except ValueError:
        raise _NoError(400, f"Request decode failed: {'unexpected EOF' if content else 'EOF'}") from None
    _refuse_unknown(body, fields)
    if not isinstance(body.get("Port", 0), int):
        raise _NoError(
            400, "Request decode failed: json: cannot unmarshal string into Go struct field .Port of type int"
        )
    decoded: dict[str, Any] = body
    return decoded


def _decode_check(check: dict[str, Any]) -> dict[str, Any]:
    _refuse_unknown(check, _CHECK_FIELDS)
    for field in _DURATIONS:
        if str(check.get(field, "")).isdecimal():
            raise _NoError(400, f'Request decode failed: time: missing unit in duration "{check[field]}"')
    return check


def _refuse_unknown(body: Mapping[str, Any], fields: frozenset[str]) -> None:
    for field in body:
        if field not in fields:
            raise _NoError(400, f'Request decode failed: json: unknown field "{field}"')


def _validate_check(check: Mapping[str, Any]) -> None:
    if check.get("Status", "") not in ("", "passing", "warning", "critical"):
        raise _NoError(400, "Status for checks must 'passing', 'warning', 'critical'")
    if ("HTTP" in check or "TCP" in check) and "Interval" not in check:
        raise _NoError(400, "Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks")
    if _check_type(check) == "ttl" and "TTL" not in check:
        raise _NoError(400, "Invalid check: TTL must be > 0 for TTL checks")


def _check_type(check: Mapping[str, Any]) -> str:
    for field, kind in {"HTTP": "http", "TCP": "tcp", "AliasService": "alias"}.items():
        if field in check:
            return kind
    return "ttl"


def _validate_meta(meta: Mapping[str, str]) -> None:
    if len(meta) > 64:
        raise _NoError(400, "Invalid Service Meta: Node metadata cannot contain more than 64 key/value pairs")
    for key, value in meta.items():
        if not re.fullmatch(r"[A-Za-z0-9_-]+", key):
            problem = "Key contains invalid characters"
        elif len(value.encode()) > 512:
            problem = "Value is too long (limit: 512 characters)"
        else:
            continue
        raise _NoError(400, f"Invalid Service Meta: Couldn't load metadata pair ('{key}', '{value}'): {problem}")


def _tagged_addresses(address: str, port: int) -> dict[str, Any]:
    family = "ipv6" if ":" in address else "ipv4" if re.fullmatch(r"[\d.]+", address) else ""
    if not family:
        return {}
    return {"TaggedAddresses": {f"{net}_{family}": {"Address": address, "Port": port} for net in ("lan", "wan")}}


def _filter(expression: str) -> Callable[[Mapping[str, Any]], bool]:
    """Understand the expressions that ssdpreg uses, and no others."""
    if not expression:
        return lambda entry: True
    equal = re.fullmatch(r'Meta\["([^"]+)"\] == "([^"]*)"', expression)
    if equal is not None:
        return lambda service: service["Meta"].get(equal[1]) == equal[2]
    matches = re.fullmatch(r'ServiceID matches "([^"]+)"', expression)
    if matches is not None:
        return lambda check: re.search(matches[1], check["ServiceID"]) is not None
    raise _NoError(500, f"Failed to create boolean expression evaluator: {expression}")
