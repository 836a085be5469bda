"""
Consul in agent mode: every service is registered with the agent beside this daemon.

What the daemon itself is to Consul hangs on one check: the daemon has a service of its own, with a TTL check that
:meth:`ConsulAgent.keep_alive` passes, and every service it registers has an alias check that follows the daemon's own.
When the daemon dies, all turn critical, and Consul removes them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from twisted.internet.defer import Deferred, DeferredLock, FirstError, gatherResults
from zope.interface import implementer

import ssdpreg
from ssdpreg.backends.consul_http import MAX_CONNECTIONS, ConsulHTTP, from_config
from ssdpreg.errors import BackendForgotError, BackendRefusedError, BackendUnavailableError
from ssdpreg.interfaces import IRegistryBackend, IRequestStatistics
from ssdpreg.registration import ID_PREFIX, SOURCE, Check, Outcome, Plan, Registration

if TYPE_CHECKING:
    from ssdpreg.config import ConsulConfig

#: Meta data by which entries are known as ours, and as those of this daemon.
_SOURCE_KEY = "external-source"
_SCOPE_KEY = "ssdpreg-scope"

#: Seconds without a sign of life after which the daemon counts as dead. It gives one every 10.
_TTL = 30.0

#: Seconds until Consul removes the services of a dead daemon: the shortest time that it knows.
_REAP_AFTER = 60.0

_SERVICES_FILTER = f'Meta["{_SOURCE_KEY}"] == "{SOURCE}"'
_CHECKS_FILTER = f'ServiceID matches "^{ID_PREFIX}"'


@implementer(IRegistryBackend, IRequestStatistics)
class ConsulAgent:
    """
    Keeps services registered with one Consul agent.

    Only what Consul 1.8 knows is sent, since it refuses any field that it does not know.

    :param http: How to reach the agent.
    :param scope: Marks entries as this daemon's own.
    :ivar http: As given; it counts the requests.
    """

    def __init__(self, http: ConsulHTTP, scope: str) -> None:
        self.http = http
        self._scope = scope
        self._own = _OwnService(http, scope)
        # By service ID, the IDs of checks that the agent has, as far as they are ours.
        self._check_ids: dict[str, frozenset[str]] = {}

    @property
    def requests(self) -> Mapping[tuple[str, str], int]:
        return self.http.requests

    @property
    def seconds(self) -> Mapping[str, float]:
        return self.http.seconds

    async def read(self) -> Mapping[str, Registration]:
        await self._own.find()
        services = await self._list("list-services", "/v1/agent/services", _SERVICES_FILTER)
        checks = await self._list("list-checks", "/v1/agent/checks", _CHECKS_FILTER)
        if self._own.service_id not in services:
            await self._own.look_again()
        check_ids: dict[str, set[str]] = {
            service_id: set()
            for service_id, service in services.items()
            if service_id.startswith(ID_PREFIX) and _is_ours(service, self._scope)
        }
        for check_id, check in checks.items():
            service_id = check["ServiceID"]
            # An operator's maintenance mode is a check as well, but no concern of ours.
            if service_id in check_ids and check_id.startswith(f"{service_id}-"):
                check_ids[service_id].add(check_id)
        self._check_ids = {service_id: frozenset(ids) for service_id, ids in check_ids.items()}
        return {service_id: self._to_registration(services[service_id]) for service_id in check_ids}

    async def apply(self, plan: Plan) -> Outcome:
        applied: set[str] = set()
        refused: dict[str, BackendRefusedError] = {}
        unavailable: BackendUnavailableError | None = None

        if plan.register:
            try:
                await self._own.ensure()
            except BackendUnavailableError as error:
                return Outcome(unavailable=error)
            except BackendRefusedError as error:
                # Without the daemon's own service to follow, all others would turn critical.
                refused = {registration.service_id: error for registration in plan.register}

        async def work(steps: Iterator[tuple[Callable[[Registration], Awaitable[None]], Registration]]) -> None:
            nonlocal unavailable
            for change, registration in steps:
                try:
                    await change(registration)
                except BackendRefusedError as error:
                    refused[registration.service_id] = error
                except BackendUnavailableError as error:
                    unavailable = error
                else:
                    applied.add(registration.service_id)
                if unavailable is not None:
                    return

        steps = iter(
            [
                *((self._register, each) for each in plan.register if each.service_id not in refused),
                *((self._deregister, each) for each in plan.deregister),
            ]
        )
        workers = [Deferred.fromCoroutine(work(steps)) for _ in range(min(MAX_CONNECTIONS, len(plan)))]
        try:
            await gatherResults(workers, consumeErrors=True)
        except FirstError as error:
            # Such as a CancelledError, which the caller expects as such.
            error.subFailure.raiseException()
        return Outcome(frozenset(applied), refused, unavailable)

    async def keep_alive(self) -> None:
        await self._own.ensure()
        await self._own.keep_alive()

    async def retire(self) -> None:
        await self._own.deregister()

    async def close(self) -> None:
        await self.http.close()

    async def _list(self, operation: str, path: str, only: str) -> dict[str, Any]:
        listing = await self.http.get(operation, path, filter=only)
        if not isinstance(listing, dict):
            raise BackendUnavailableError(f"{path}: the answer is not a listing")
        return listing

    async def _register(self, registration: Registration) -> None:
        service_id = registration.service_id
        checks = {check.check_id + self._own.suffix: check for check in registration.checks}
        body = {
            "ID": service_id,
            "Name": registration.name,
            "Address": registration.address,
            "Port": registration.port,
            "Tags": list(registration.tags),
            "Meta": dict(registration.meta),
            "Checks": [self._to_check(check_id, check) for check_id, check in checks.items()],
        }
        try:
            await self.http.put("register", "/v1/agent/service/register", body)
        except BackendForgotError as error:
            # Nothing that an agent says: whoever answered there is none.
            raise BackendRefusedError(404, str(error)) from error
        # Consul would remove checks that are not named, if told so, but an operator's maintenance mode with them.
        stale = self._check_ids.get(service_id, frozenset()) - checks.keys()
        self._check_ids[service_id] = stale | checks.keys()
        for check_id in sorted(stale):
            await _undo(self.http, "deregister-check", f"/v1/agent/check/deregister/{quote(check_id, safe='')}")
            self._check_ids[service_id] -= {check_id}

    async def _deregister(self, registration: Registration) -> None:
        service_id = registration.service_id
        await _undo(self.http, "deregister", f"/v1/agent/service/deregister/{quote(service_id, safe='')}")
        self._check_ids.pop(service_id, None)

    def _to_check(self, check_id: str, check: Check) -> dict[str, Any]:
        # It has just been heard. A check that the agent knows already keeps its status.
        body: dict[str, Any] = {"CheckID": check_id, "Status": "passing"}
        if check.kind == "alive":
            return {
                **body,
                "Name": "ssdpreg hears the service",
                "AliasService": self._own.service_id,
                "DeregisterCriticalServiceAfter": _to_duration(_REAP_AFTER),
            }
        body["Interval"] = _to_duration(check.interval)
        if check.kind == "http":
            body |= {"Name": f"HTTP {check.target}", "HTTP": check.target, "TLSSkipVerify": check.tls_skip_verify}
        else:
            body |= {"Name": f"TCP {check.target}", "TCP": check.target}
        if check.timeout is not None:
            body["Timeout"] = _to_duration(check.timeout)
        if check.deregister_after is not None:
            body["DeregisterCriticalServiceAfter"] = _to_duration(check.deregister_after)
        return body

    def _to_registration(self, service: Mapping[str, Any]) -> Registration:
        service_id = service["ID"]
        suffix = self._own.suffix
        return Registration(
            service_id=service_id,
            name=service["Service"],
            address=service["Address"],
            port=service["Port"],
            tags=tuple(service["Tags"] or ()),
            meta=service["Meta"],
            checks=frozenset(
                Check(check_id.removesuffix(suffix))
                for check_id in self._check_ids[service_id]
                # Others follow a service that was once the daemon's own.
                if check_id.endswith(suffix)
            ),
        )


class _OwnService:
    """
    The service that stands for this daemon.

    :ivar service_id: ``ssdpreg``, or where that is somebody else's, ``ssdpreg:`` and a digest of the scope.
    """

    def __init__(self, http: ConsulHTTP, scope: str) -> None:
        self._http = http
        self._scope = scope
        self._meta = {**_marks(scope), "ssdpreg-version": ssdpreg.__version__}
        self._found = False
        self._written = False
        self._ensuring = DeferredLock()
        self.service_id = SOURCE

    async def find(self) -> None:
        """Find out, once, under which ID the daemon is or can be registered."""
        if self._found:
            return
        self.service_id = SOURCE
        service = await self._get()
        if service is not None and not _is_ours(service, self._scope):
            self.service_id = f"{SOURCE}:{hashlib.sha256(self._scope.encode()).hexdigest()[:8]}"
            service = await self._get()
        self._written = service is not None and service["Service"] == SOURCE and service["Meta"] == self._meta
        self._found = True

    async def look_again(self) -> None:
        """
        Say why a listing does not show the service.

        :raise BackendRefusedError: If it is there all the same, and the listing hides it.
        """
        service = await self._get()
        if service is None:
            self._written = False
        elif _is_ours(service, self._scope):
            raise BackendRefusedError(403, "the ACL token may not list services, so ours cannot be told from lost ones")
        else:
            # Somebody else has taken the ID.
            self._found = False
            await self.find()

    async def ensure(self) -> None:
        """Register the service, unless it is there as it should be."""
        await self._ensuring.run(self._ensure)

    async def keep_alive(self) -> None:
        """
        Pass the TTL check, whose status stays as it is and costs Consul nothing.

        :raise BackendForgotError: If there was none. There is now.
        """
        try:
            await self._http.put("keep-alive", f"/v1/agent/check/pass/{quote(self._check_id, safe='')}")
        except BackendForgotError:
            self._written = False
            await self.ensure()
            raise

    async def deregister(self) -> None:
        """Remove the service."""
        await self.find()
        await _undo(self._http, "deregister", f"/v1/agent/service/deregister/{quote(self.service_id, safe='')}")
        self._written = False

    @property
    def suffix(self) -> str:
        """What the IDs of checks end in that follow this service, and not one that once stood for the daemon."""
        return self.service_id.removeprefix(SOURCE)

    async def _ensure(self) -> None:
        await self.find()
        if self._written:
            return
        check = {
            "CheckID": self._check_id,
            "Name": "ssdpreg is alive",
            "TTL": _to_duration(_TTL),
            "Status": "passing",
            "DeregisterCriticalServiceAfter": _to_duration(_REAP_AFTER),
        }
        body = {"ID": self.service_id, "Name": SOURCE, "Meta": self._meta, "Checks": [check]}
        await self._http.put("register", "/v1/agent/service/register", body)
        self._written = True

    @property
    def _check_id(self) -> str:
        return f"{self.service_id}:alive"

    async def _get(self) -> Any:
        try:
            return await self._http.get("find", f"/v1/agent/service/{quote(self.service_id, safe='')}")
        except BackendForgotError:
            return None


def make_backend(reactor: Any, config: ConsulConfig, scope: str) -> IRegistryBackend:
    """See :meth:`ssdpreg.interfaces.IBackendMaker.make_backend`."""
    return ConsulAgent(from_config(reactor, config), scope)


def _marks(scope: str) -> dict[str, str]:
    """Return the meta data by which entries are known as this daemon's."""
    return {_SOURCE_KEY: SOURCE, _SCOPE_KEY: scope}


def _is_ours(service: Mapping[str, Any], scope: str) -> bool:
    meta = service["Meta"] or {}
    return all(meta.get(key) == value for key, value in _marks(scope).items())


async def _undo(http: ConsulHTTP, operation: str, path: str) -> None:
    """Remove something that may be gone already."""
    with suppress(BackendForgotError):
        await http.put(operation, path)


def _to_duration(seconds: float) -> str:
    """Write a time as Go reads it, such as ``15s`` or ``0.5s``: without a unit it would be refused."""
    return f"{seconds:.12g}s"
