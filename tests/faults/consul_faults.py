"""Rows about answers of Consul: the proxy answers in its place, while devices come, leave and move."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests.faults import answers
from tests.faults.answers import answer, change_listing, only_for
from tests.faults.devices import Device
from tests.faults.proxy import Behaviour, pass_through
from tests.faults.row import EQUAL_WITHIN, Row
from tests.faults.world import Measurement, World

#: Bound for faults in which one service is refused by itself: it is tried again after 30 s, 60 s and so on.
_ONE_REFUSED = 60.0
#: Duration of a fault of listings: the daemon compares every 30 s.
_COMPARED = 40.0
#: Seconds at the end of a fault in which requests are counted: one comparison.
_WINDOW = 30.0
#: Devices that are live at the beginning, and those of them that leave and that move.
LIVE, LEAVING, MOVING = 40, 10, 10
#: Devices that come during the fault.
COMING = 10

_ONE = "fault-for-one"
_DEEP = b"[" * 100_000


@dataclass(frozen=True)
class ConsulFault:
    """
    Fault of Consul's answers.

    :ivar text: Description.
    :ivar behaviour: Behaviour of the proxy during the fault.
    :ivar keeps_alive: Whether the fault lets keep-alives pass.
    :ivar equal_within: Seconds after the end in which Consul must be equal to the live devices.
    :ivar least: Least duration in seconds, for a fault of requests that the daemon does not send all the time.
    """

    text: str
    behaviour: Behaviour
    keeps_alive: bool = False
    equal_within: float = EQUAL_WITHIN
    least: float = 0.0


def _retry_after(value: str) -> Behaviour:
    return answer(429, b"", Retry_After=value)


def _nonsense(body: bytes) -> Behaviour:
    return answer(200, body, Content_Type="application/json")


def _wrong_shapes(value: object) -> Behaviour:
    return change_listing(lambda services: {**dict.fromkeys(services, value), "ssdpreg-x": value})


#: Requests about the one device that is refused, and about no other.
_FOR_ONE = f'"ssdp-device": "{_ONE}"'
_LISTINGS = "^GET /v1/agent/(services|checks)"
_REGISTER = "^PUT /v1/agent/service/register"

CONSUL_FAULTS: dict[str, ConsulFault] = {
    "reset": ConsulFault("each connection is reset", answers.reset),
    "close": ConsulFault("each connection is closed without a response", answers.close),
    "half-body": ConsulFault("each connection is closed in the middle of the body", answers.half_a_body),
    "hang": ConsulFault("no response", answers.hang),
    "delay-11": ConsulFault("each response after 11 s", answers.delay(11)),
    "delay-9": ConsulFault("each response after 9 s", answers.delay(9), keeps_alive=True),
    "drip": ConsulFault("one byte of each response a second", answers.drip),
    "429": ConsulFault("429 to everything", answer(429)),
    "500": ConsulFault("500 to everything", answer(500, b"rpc error")),
    "503": ConsulFault("503 to everything", answer(503)),
    "retry-after-1": ConsulFault("429 with `Retry-After: 1`", _retry_after("1")),
    "retry-after-20": ConsulFault("429 with `Retry-After: 20`", _retry_after("20")),
    "retry-after-120": ConsulFault("429 with `Retry-After: 120`", _retry_after("120")),
    "retry-after-huge": ConsulFault("429 with `Retry-After: 99999999999`", _retry_after("99999999999")),
    "retry-after-date": ConsulFault("429 with a date in `Retry-After`", _retry_after("Fri, 31 Dec 2055 23:59:59 GMT")),
    "retry-after-nonsense": ConsulFault("429 with `Retry-After: -1e9, soon`", _retry_after("-1e9, soon")),
    "retry-after-writes": ConsulFault(
        "429 with `Retry-After: 120` to registrations only",
        only_for(_REGISTER, _retry_after("120")),
        keeps_alive=True,
    ),
    "301": ConsulFault("301 to everything", answer(301, b"", Location="http://127.0.0.1:9/")),
    "400": ConsulFault("400 to everything", answer(400, b"Client sent an HTTP request to an HTTPS server.")),
    "403": ConsulFault("403 to everything", answer(403, b"Permission denied")),
    "404": ConsulFault("404 to everything", answer(404, b"404 page not found")),
    "405": ConsulFault("405 to everything", answer(405, b"method not allowed")),
    "500-unknown-check": ConsulFault("500 `Unknown check` to everything", answer(500, b'Unknown check "ssdpreg"')),
    "400-writes": ConsulFault("400 to all writes", only_for("^PUT", answer(400, b"Bad Request"))),
    "404-writes": ConsulFault("404 to all writes", only_for("^PUT", answer(404, b"404 page not found"))),
    "400-one": ConsulFault(
        "400 to the registration of one service",
        only_for(_FOR_ONE, answer(400, b"Invalid service")),
        keeps_alive=True,
        equal_within=_ONE_REFUSED,
    ),
    "404-one": ConsulFault(
        "404 to the registration of one service",
        only_for(_FOR_ONE, answer(404, b"404 page not found")),
        keeps_alive=True,
        equal_within=_ONE_REFUSED,
    ),
    "403-one": ConsulFault(
        "403 to the registration of one service",
        only_for(_FOR_ONE, answer(403, b"Permission denied")),
        keeps_alive=True,
        equal_within=_ONE_REFUSED,
    ),
    "hang-one": ConsulFault(
        "no response to the registration of one service", only_for(_FOR_ONE, answers.hang), keeps_alive=True
    ),
    "listing-hangs": ConsulFault(
        "no response to listings only, for at least 130 s",
        only_for(_LISTINGS, answers.hang),
        keeps_alive=True,
        least=130,
    ),
    "listing-500": ConsulFault(
        "500 to listings only", only_for(_LISTINGS, answer(500)), keeps_alive=True, least=_COMPARED
    ),
    "listing-empty": ConsulFault(
        "listings are empty, as after the loss of a read right",
        only_for(_LISTINGS, _nonsense(b"{}")),
        keeps_alive=True,
        least=_COMPARED,
    ),
    "listing-only-own": ConsulFault(
        "the listing has only the daemon's own service",
        change_listing(lambda services: {key: each for key, each in services.items() if key == "ssdpreg"}),
        keeps_alive=True,
        least=_COMPARED,
    ),
    "html": ConsulFault("a web page with status 200", answer(200, b"<html>Log in</html>", Content_Type="text/html")),
    "array": ConsulFault("`[]` with status 200", _nonsense(b"[]")),
    "null": ConsulFault("`null` with status 200", _nonsense(b"null")),
    "shape-null": ConsulFault("services that are `null`", _wrong_shapes(None), keeps_alive=True, least=_COMPARED),
    "shape-text": ConsulFault("services that are text", _wrong_shapes("x"), keeps_alive=True, least=_COMPARED),
    "shape-empty": ConsulFault("services without keys", _wrong_shapes({}), keeps_alive=True, least=_COMPARED),
    "shape-meta": ConsulFault(
        "services whose values have wrong types",
        _wrong_shapes({"ID": 1, "Service": [], "Meta": {"external-source": 7}, "Port": "x", "Tags": {}}),
        keeps_alive=True,
        least=_COMPARED,
    ),
    "deep": ConsulFault("100,000 brackets with status 200", _nonsense(_DEEP)),
    "deep-listing": ConsulFault(
        "100,000 brackets in place of listings",
        only_for(_LISTINGS, _nonsense(_DEEP)),
        keeps_alive=True,
        least=_COMPARED,
    ),
    "blanks": ConsulFault("100 MB of blanks", answers.large(b" " * (1 << 20), 100)),
    "large-json": ConsulFault(
        "100 MB of JSON to listings", only_for(_LISTINGS, answers.large_json), keeps_alive=True, least=_COMPARED
    ),
    "endless-body": ConsulFault("a body without end", answers.endless_body),
    "endless-header": ConsulFault("header fields without end", answers.endless_header),
}


def run_consul_fault(fault: ConsulFault, row: Row, seconds: float) -> None:
    """
    Measure one fault.

    :param row: Row to complete.
    :param seconds: Duration of the fault.
    """
    seconds = max(seconds, fault.least)
    with World() as world:
        devices = world.start(LIVE)
        leaving, moving = devices[:LEAVING], devices[LEAVING : LEAVING + MOVING]
        untouched = devices[LEAVING + MOVING :]
        addresses = [world.devices.new_address() for _ in range(COMING + MOVING // 2)]
        coming = [Device(addresses.pop(), device_id=f"fault-{number}") for number in range(COMING - 1)]
        coming.append(Device(addresses.pop(), device_id=_ONE))
        measurement = Measurement(world, row, untouched)
        world.proxy.behaviour = fault.behaviour
        start = time.monotonic()
        # Half of the moves are to a new address, as by DHCP, and half to a new port of the same address.
        new_addresses = [*addresses, *[None] * (MOVING - len(addresses))]
        steps: list[Callable[[], object]] = [
            *(partial(world.devices.start, device) for device in coming),
            *(partial(world.devices.stop, device) for device in leaving),
            *(
                partial(world.devices.move, device, address, None if address else 9090)
                for device, address in zip(moving, new_addresses, strict=True)
            ),
        ]
        for number, step in enumerate(steps):
            time.sleep(max(0.0, start + number * seconds / 3 / len(steps) - time.monotonic()))
            step()
        time.sleep(max(0.0, start + seconds - time.monotonic()))
        # Not in the short form: at its end the last changes are still under way.
        if seconds >= 1.5 * _WINDOW:
            row.requests = world.proxy.requests_since(time.monotonic() - _WINDOW) / _WINDOW * 60
        world.proxy.behaviour = pass_through
        measurement.wait_until_equal()
