"""
Backend for Consul in agent mode: each service is registered with the agent on the same host.

The daemon registers one more service, which represents itself and has a TTL check. Every other service has an alias
check that takes the status of the daemon's service. When the daemon dies, the TTL check and all alias checks become
critical, and the agent deregisters the services.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from zope.interface import implementer

from ssdpreg.backends.changes import run_changes
from ssdpreg.backends.consul_checks import CheckTable
from ssdpreg.backends.consul_connection import connect
from ssdpreg.backends.consul_format import format_registration, is_owned, parse_registration
from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.backends.consul_own_service import OwnService
from ssdpreg.backends.http_client import MAX_CONNECTIONS
from ssdpreg.errors import BackendForgotError, BackendRefusedError, BackendUnavailableError
from ssdpreg.interfaces import IRegistryBackend, IRequestStatistics
from ssdpreg.registration import ID_PREFIX, SOURCE, Outcome, Plan, Registration
from ssdpreg.registration.meta import META_SOURCE

if TYPE_CHECKING:
    from ssdpreg.config import ConsulConfig

_SERVICES_FILTER = f'Meta["{META_SOURCE}"] == "{SOURCE}"'
_CHECKS_FILTER = f'ServiceID matches "^{ID_PREFIX}"'


@implementer(IRegistryBackend, IRequestStatistics)
class ConsulAgent:
    """
    Backend that registers services with one Consul agent.

    It sends only fields that Consul 1.8 knows, because that version rejects a request with an unknown field.

    :param http: Client of the agent.
    :param scope: Scope of the daemon. Services of other scopes are neither returned nor changed.
    """

    def __init__(self, http: ConsulHTTP, scope: str) -> None:
        self._http = http
        self._scope = scope
        self._own = OwnService(http, scope)
        self._checks = CheckTable()

    @property
    def requests(self) -> Mapping[tuple[str, str], int]:
        return self._http.requests

    @property
    def seconds(self) -> Mapping[str, float]:
        return self._http.seconds

    async def read(self) -> Mapping[str, Registration]:
        await self._own.choose_id()
        services = await self._list("list-services", "/v1/agent/services", _SERVICES_FILTER)
        checks = await self._list("list-checks", "/v1/agent/checks", _CHECKS_FILTER)
        if self._own.service_id not in services:
            await self._own.check_absence()
        owned = {
            service_id: service
            for service_id, service in services.items()
            if service_id.startswith(ID_PREFIX) and is_owned(service, self._scope)
        }
        self._checks.load(owned, checks)
        return {service_id: self._parse(service) for service_id, service in owned.items()}

    async def apply(self, plan: Plan) -> Outcome:
        refused: dict[str, BackendRefusedError] = {}
        if plan.register:
            try:
                await self._own.ensure_registered()
            except BackendUnavailableError as error:
                return Outcome(unavailable=error)
            except BackendRefusedError as error:
                # An alias check on a service that does not exist is critical.
                refused = {registration.service_id: error for registration in plan.register}
        changes = [
            *((self._register, each) for each in plan.register if each.service_id not in refused),
            *((self._deregister, each) for each in plan.deregister),
        ]
        outcome = await run_changes(changes, MAX_CONNECTIONS)
        return replace(outcome, refused={**refused, **outcome.refused})

    async def keep_alive(self) -> None:
        await self._own.ensure_registered()
        await self._own.pass_check()

    async def retire(self) -> None:
        await self._own.deregister()

    async def close(self) -> None:
        await self._http.close()

    async def _list(self, operation: str, path: str, expression: str) -> dict[str, Any]:
        listing = await self._http.get(operation, path, filter=expression)
        if not isinstance(listing, dict):
            raise BackendUnavailableError(f"{path}: the response is not a listing")
        return listing

    async def _register(self, registration: Registration) -> None:
        service_id = registration.service_id
        checks = {check.check_id + self._own.check_suffix: check for check in registration.checks}
        body = format_registration(registration, checks, self._own.service_id)
        try:
            await self._http.put("register", "/v1/agent/service/register", body)
        except BackendForgotError as error:
            # A Consul agent knows this path. The server is something else.
            raise BackendRefusedError(404, str(error)) from error
        for check_id in self._checks.add_service(service_id, checks):
            await self._remove("deregister-check", "/v1/agent/check/deregister", check_id)
            self._checks.remove_check(service_id, check_id)

    async def _deregister(self, registration: Registration) -> None:
        await self._remove("deregister", "/v1/agent/service/deregister", registration.service_id)
        self._checks.remove_service(registration.service_id)

    async def _remove(self, operation: str, path: str, removed_id: str) -> None:
        """Remove a service or a check. One that does not exist counts as removed."""
        with suppress(BackendForgotError):
            await self._http.put(operation, f"{path}/{quote(removed_id, safe='')}")

    def _parse(self, service: Mapping[str, Any]) -> Registration:
        suffix = self._own.check_suffix
        # Checks without the suffix are aliases of a service that no longer represents the daemon.
        check_ids = [each.removesuffix(suffix) for each in self._checks.of(service["ID"]) if each.endswith(suffix)]
        return parse_registration(service, check_ids)


def make_backend(reactor: Any, config: ConsulConfig, scope: str) -> IRegistryBackend:
    """See :meth:`ssdpreg.interfaces.IBackendMaker.make_backend`."""
    return ConsulAgent(connect(reactor, config), scope)
