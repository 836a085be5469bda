"""
Backend for Consul in agent mode: each service is registered with the agent on the same host.

The daemon registers one more service, which represents itself and has a TTL check. Every other service has an alias
check that takes the status of the daemon's service. When the daemon dies, the TTL check and all alias checks become
critical, and the agent deregisters the services.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from twisted.logger import Logger
from zope.interface import implementer

from ssdpreg.backends.changes import ChangeRunner
from ssdpreg.backends.consul_checks import CheckTable
from ssdpreg.backends.consul_connection import connect
from ssdpreg.backends.consul_format import (
    check_check,
    check_service,
    format_registration,
    is_owned,
    parse_registration,
    represents,
)
from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.backends.consul_lookup import find_service
from ssdpreg.backends.consul_own_service import OwnService
from ssdpreg.backends.consul_statistics import ConsulStatistics
from ssdpreg.backends.fault_checks import FaultCheck
from ssdpreg.backends.garbage import LongLivedObjects
from ssdpreg.backends.http_client import ResponseTooLongError
from ssdpreg.backends.instance import Instance
from ssdpreg.backends.listing_limit import MOST_ENTRIES, ListingLimit
from ssdpreg.errors import BackendForgotError, BackendRefusedError, BackendUnavailableError
from ssdpreg.interfaces import IKnownRegistrations, IOverlappingPlans, IRegistryBackend, IWriteProbe
from ssdpreg.registration import ID_PREFIX, SOURCE, Outcome, Plan, Registration
from ssdpreg.registration.meta import META_SOURCE

if TYPE_CHECKING:
    from ssdpreg.config import ConsulConfig

#: Changes in progress at a time. More do not make Consul faster.
_MAX_CHANGES = 16
#: Number of services above which a warning is logged. Each minute, an agent copies all its checks for each alias check:
#: docs/scale.md has the CPU time.
_MANY_SERVICES = 2000

_SERVICES_FILTER = f'Meta["{META_SOURCE}"] == "{SOURCE}"'
_CHECKS_FILTER = f'ServiceID matches "^{ID_PREFIX}"'


@implementer(IRegistryBackend, IWriteProbe, IKnownRegistrations, IOverlappingPlans)
class ConsulAgent(ConsulStatistics):
    """
    Backend that registers services with one Consul agent.

    It sends only fields that Consul 1.8 knows, because that version rejects a request with an unknown field.

    :param http: Client of the agent.
    :param scope: Scope of the daemon. Services of other scopes are neither returned nor changed.
    :param instance: Identity of the daemon. None stands for that of the process.
    """

    log = Logger()

    def __init__(self, http: ConsulHTTP, scope: str, instance: Instance | None = None) -> None:
        super().__init__(http)
        self._scope = scope
        self._own = OwnService(http, scope, instance)
        self._checks = CheckTable()
        self._changes = ChangeRunner(_MAX_CHANGES)
        self._limit = ListingLimit()
        self._objects = LongLivedObjects()
        self._warned = False
        self.known: Mapping[str, Registration] = {}

    async def read(self) -> Mapping[str, Registration]:
        await self._own.choose_id()
        listing = await self._list()
        if listing.own is None and await self._own.exists():
            # The service may have been registered while the agent listed its services.
            listing = await self._list()
            if listing.own is None:
                # Consul leaves out services that the token may not read, instead of rejecting the request.
                raise BackendRefusedError(403, "the ACL token may not list services, so the listing is incomplete")
        elif listing.own_id != self._own.service_id:
            # The alias checks have other IDs now.
            listing = await self._list()
        if listing.own is not None:
            await self._check_complete(listing)
        # The length of an incomplete listing says nothing about the next one.
        self._limit.set_entries(listing.entries)
        if listing.own is not None:
            await self._own.check_instance(listing.own)
        self._checks = listing.checks
        self._warn_of_many(len(listing.registrations))
        return listing.registrations

    async def apply(self, plan: Plan) -> Outcome:
        return await self.apply_overlapping(plan, lambda: None)

    async def apply_overlapping(self, plan: Plan, room: Callable[[], None]) -> Outcome:
        refused: dict[str, BackendRefusedError] = {}
        if plan:
            try:
                await self._own.ensure_registered()
            except BackendUnavailableError as error:
                return Outcome(unavailable=error)
            except BackendRefusedError as error:
                # An alias check on a service that does not exist is critical.
                refused = {registration.service_id: error for registration in plan.register}
        check = FaultCheck(self.probe)
        deregister, register = check.guard(self._deregister), check.guard(self._register)
        changes = [
            *((deregister, each) for each in plan.deregister),
            *((register, each) for each in plan.register if each.service_id not in refused),
        ]
        outcome = await self._changes.run(changes, room)
        return replace(outcome, refused={**refused, **outcome.refused})

    async def probe(self) -> None:
        await self._own.register_again()

    async def keep_alive(self) -> None:
        await self._own.ensure_registered()
        await self._own.pass_check()

    async def retire(self) -> None:
        await self._own.deregister()

    async def close(self) -> None:
        await self._http.close()

    def _warn_of_many(self, count: int) -> None:
        """Log one warning for each time that the number of services exceeds the limit."""
        if count > _MANY_SERVICES and not self._warned:
            self.log.warn(
                'Registered {count} services with one agent. More than {limit} keep it busy: use "mode": "catalog"',
                count=count,
                limit=_MANY_SERVICES,
            )
        self._warned = count > _MANY_SERVICES

    async def _list(self) -> _Listing:
        listing = _Listing(self._own, self._scope, self.known, self._objects)
        # With the checks at hand, each service becomes a registration as soon as it is received.
        await self._get_members("list-checks", "/v1/agent/checks", listing.add_check, _CHECKS_FILTER)
        await self._get_members("list-services", "/v1/agent/services", listing.add_service, _SERVICES_FILTER)
        return listing

    async def _check_complete(self, listing: _Listing) -> None:
        """
        Ask for one of the known services that a listing lacks: each comparison would register all of them again.

        :raise BackendUnavailableError: If the agent has the service.
        """
        missing = next((each for each in self.known if each not in listing.registrations), None)
        if missing is None:
            return
        try:
            found = await find_service(self._http, missing)
        except BackendRefusedError:
            # A token that may not read a service may not register it either: only that registration is rejected.
            return
        # Another program may have registered a service with this ID.
        if found is not None and is_owned(found, self._scope):
            raise BackendUnavailableError(
                f"{self._http.url}/v1/agent/services: the listing is incomplete: it lacks {missing}"
            )

    async def _get_members(self, operation: str, path: str, process: Callable[[str, Any], None], chosen: str) -> None:
        try:
            await self._http.get_members(operation, path, process, self._limit.bytes, filter=chosen)
        except ResponseTooLongError:
            self._limit.exceed()
            raise
        except BackendForgotError as error:
            # A Consul agent does not send this response to a listing.
            raise BackendUnavailableError(f"{self._http.url}{path}: the response is: {error}") from error

    async def _register(self, registration: Registration) -> None:
        service_id = registration.service_id
        checks = {check.check_id + self._own.check_suffix: check for check in registration.checks}
        body = format_registration(registration, checks, self._own.service_id)
        try:
            await self._http.put("register", "/v1/agent/service/register", body)
        except BackendForgotError as error:
            # A Consul agent does not send this response to a registration.
            raise BackendRefusedError(404, str(error)) from error
        self._limit.add_entry()
        for check_id in self._checks.add_service(service_id, checks):
            await self._remove("deregister-check", "/v1/agent/check/deregister", check_id, "check")
            self._checks.remove_check(service_id, check_id)

    async def _deregister(self, registration: Registration) -> None:
        await self._remove("deregister", "/v1/agent/service/deregister", registration.service_id, "service")
        self._checks.remove_service(registration.service_id)

    async def _remove(self, operation: str, path: str, removed_id: str, kind: str) -> None:
        """
        Remove a service or a check. One that does not exist counts as removed.

        :param kind: ``service`` or ``check``. Consul's text for an unknown ID contains it.
        """
        try:
            await self._http.put(operation, f"{path}/{quote(removed_id, safe='')}")
        except BackendForgotError as error:
            if kind not in str(error).lower():
                raise BackendRefusedError(404, str(error)) from error


class _Listing:
    """
    Services and checks of the daemon, as the agent lists them. Checks have to be added first.

    :param known: Registrations that are used in place of equal ones.
    :param objects: Counts the registrations.
    :ivar own_id: Service ID that the daemon itself had at the beginning.
    :ivar own: The service of the daemon itself, or None if it is not listed.
    :ivar registrations: Registrations by service ID.
    :ivar checks: Checks of the services.
    :ivar entries: Number of listed services, of all scopes.
    """

    def __init__(
        self, own: OwnService, scope: str, known: Mapping[str, Registration], objects: LongLivedObjects
    ) -> None:
        self._known, self._objects = known, objects
        self.own_id, self._suffix, self._scope = own.service_id, own.check_suffix, scope
        self.own: Mapping[str, Any] | None = None
        self.registrations: dict[str, Registration] = {}
        self.checks = CheckTable()
        self.entries = 0
        self._made = 0

    def add_check(self, check_id: str, check: Any) -> None:
        """Add a check of the listing."""
        self.checks.load(check_check(check), check_id)

    def add_service(self, service_id: str, service: Any) -> None:
        """Add a service of the listing."""
        entry = check_service(service)
        self.entries += 1
        if self.entries > MOST_ENTRIES:
            raise ValueError(f"there are more than {MOST_ENTRIES} services")
        if entry["ID"] != service_id or not is_owned(entry, self._scope):
            return
        if service_id == self.own_id:
            self.own = entry
        elif service_id.startswith(ID_PREFIX):
            check_ids, known = self._check_ids(service_id), self._known.get(service_id)
            if known is None or not represents(entry, check_ids, known):
                known = parse_registration(entry, check_ids)
                self._made += 1
                self._objects.grow(self._made)
            self.registrations[service_id] = known

    def _check_ids(self, service_id: str) -> list[str]:
        # Checks without the suffix are aliases of a service that no longer represents the daemon.
        suffix = self._suffix
        return [each.removesuffix(suffix) for each in self.checks.of(service_id) if each.endswith(suffix)]


def make_backend(reactor: Any, config: ConsulConfig, scope: str) -> IRegistryBackend:
    """See :meth:`ssdpreg.interfaces.IBackendMaker.make_backend`."""
    return ConsulAgent(connect(reactor, config), scope)
