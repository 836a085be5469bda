"""The Consul service that represents this daemon, with the TTL check that ends when the daemon ends."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from twisted.internet.defer import DeferredLock

import ssdpreg
from ssdpreg.backends.consul_format import REAP_AFTER, format_duration, is_owned, owner_meta
from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.backends.consul_lookup import find_service
from ssdpreg.backends.instance import Instance, current_instance
from ssdpreg.errors import (
    BackendError,
    BackendForgotError,
    BackendInUseError,
    BackendRefusedError,
    BackendUnavailableError,
)
from ssdpreg.registration import SOURCE
from ssdpreg.registration.meta import sanitize

#: Seconds of the TTL check. The daemon passes the check every 10 s, so two attempts may fail.
_TTL = 30.0

#: Identity of the daemon, see :mod:`ssdpreg.backends.instance`.
META_INSTANCE = "ssdpreg-instance"
_META_VERSION = "ssdpreg-version"


def other_service_id(scope: str) -> str:
    """Return the ID of the service of a scope for the case that another program or scope uses ``ssdpreg``."""
    return f"{SOURCE}:{hashlib.sha256(scope.encode()).hexdigest()[:8]}"


class OwnService:
    """
    The service that represents this daemon in a Consul agent.

    It is also a lock: while its TTL check is passing, only the daemon with the identity in its Meta writes the services
    of the scope. A daemon that has not passed the check for the duration of its TTL must check whether another daemon
    has taken over.

    :param http: Client of the agent.
    :param scope: Scope of the daemon.
    :param instance: Identity of the daemon. None stands for that of the process.
    :ivar service_id: ``ssdpreg``, or if another program or scope uses that ID, ``ssdpreg:`` and a digest of the scope.
    """

    def __init__(self, http: ConsulHTTP, scope: str, instance: Instance | None = None) -> None:
        self._http = http
        self._scope = scope
        self._given_instance = instance
        self._id_chosen = False
        self._registered = False
        # Time when the agent was last known to have the service, with a passing check.
        self._confirmed_at = 0.0
        self._registering = DeferredLock()
        self.service_id = SOURCE

    @property
    def check_suffix(self) -> str:
        """
        Suffix of the IDs of alias checks on this service.

        It differs between the two possible service IDs, so that an alias check on the other one is replaced.
        """
        return self.service_id.removeprefix(SOURCE)

    async def choose_id(self) -> None:
        """Choose the service ID, unless it is chosen already: the agent may have a foreign service with that ID."""
        if not self._id_chosen:
            await self._find()

    async def exists(self) -> bool:
        """
        Find out why a listing lacks this service, and prepare to register it again if it is lost.

        :return: Whether the service exists, so the listing was incomplete.
        """
        before = self.service_id
        self._id_chosen = False
        found = await self._find()
        # Another program may have registered a service with the ID, so that this one has another ID now.
        exists = found is not None and self.service_id == before
        self._registered = self._registered and exists
        return exists

    async def check_instance(self, service: Mapping[str, Any]) -> None:
        """
        Check that no other daemon has taken over.

        :param service: The service as the agent returned it just now.
        :raise BackendInUseError: If another daemon that is alive uses the service.
        """
        self._registered = service["Service"] == SOURCE and service["Meta"] == self._meta
        self._confirmed_at = self._http.now()
        other = (service["Meta"] or {}).get(META_INSTANCE, "")
        if other == self._instance.instance_id:
            return
        # Earlier versions wrote no identity.
        if not other or self._instance.has_ended(other) or not await self._is_passing():
            return
        version = (service["Meta"] or {}).get(_META_VERSION, "")
        raise BackendInUseError(
            f"another daemon registers the services of scope {self._scope!r} at {self._http.url}"
            f" (instance {sanitize(other[:40])}, version {sanitize(version[:20])}); set backend.scope to run both"
        )

    async def ensure_registered(self) -> None:
        """
        Register the service, unless it is registered already.

        :raise BackendInUseError: If another daemon that is alive uses the service.
        """
        await self._registering.run(self._register, False)

    async def register_again(self) -> None:
        """Register the service, also if it is registered already: this is a write that the agent should accept."""
        await self._registering.run(self._register, True)

    async def pass_check(self) -> None:
        """
        Pass the TTL check. Its status stays the same, so this causes no write to Consul's log.

        :raise BackendForgotError: If the agent has lost the check. It is registered again.
        """
        try:
            await self._pass()
        except BackendForgotError:
            self._registered = False
            await self.register_again()
            raise
        self._confirmed_at = self._http.now()

    async def deregister(self) -> None:
        """Deregister the service."""
        found = await self._find()
        if found is not None:
            await self.check_instance(found)
        with suppress(BackendForgotError):
            await self._http.put("deregister", f"/v1/agent/service/deregister/{quote(self.service_id, safe='')}")
        self._registered = False

    @property
    def _check_id(self) -> str:
        return f"{self.service_id}:alive"

    @property
    def _instance(self) -> Instance:
        return self._given_instance or current_instance()

    @property
    def _meta(self) -> dict[str, str]:
        return {
            **owner_meta(self._scope),
            _META_VERSION: ssdpreg.__version__,
            META_INSTANCE: self._instance.instance_id,
        }

    async def _register(self, always: bool) -> None:
        found = None
        if not self._registered or self._http.now() - self._confirmed_at >= _TTL:
            found = await self._find()
            if found is not None:
                await self.check_instance(found)
        if self._registered and not always:
            return
        check = {
            "CheckID": self._check_id,
            "Name": "ssdpreg is alive",
            "TTL": format_duration(_TTL),
            "Status": "passing",
            "DeregisterCriticalServiceAfter": format_duration(REAP_AFTER),
        }
        body = {"ID": self.service_id, "Name": SOURCE, "Meta": self._meta, "Checks": [check]}
        try:
            await self._http.put("register", "/v1/agent/service/register", body)
        except BackendForgotError as error:
            # A Consul agent does not send this response to a registration.
            raise BackendUnavailableError(f"{self._http.url} answers a registration with: {error}") from error
        except BackendRefusedError:
            if found is not None:
                # The service of an earlier run exists. If its check expires, Consul removes all registrations.
                with suppress(BackendError):
                    await self._pass()
            raise
        self._registered = True
        self._confirmed_at = self._http.now()

    async def _pass(self) -> None:
        await self._http.put("keep-alive", f"/v1/agent/check/pass/{quote(self._check_id, safe='')}")

    async def _find(self) -> Mapping[str, Any] | None:
        """Return the service, or None if there is none. Choose its ID if that is still to be done."""
        if not self._id_chosen:
            self.service_id = SOURCE
        service = await find_service(self._http, self.service_id)
        if not self._id_chosen:
            if service is not None and not is_owned(service, self._scope):
                self.service_id = other_service_id(self._scope)
                service = await find_service(self._http, self.service_id)
            self._id_chosen = True
        elif service is not None and not is_owned(service, self._scope):
            # Another program has registered a service with this ID.
            self._id_chosen = self._registered = False
            return await self._find()
        return service

    async def _is_passing(self) -> bool:
        path = "/v1/agent/checks"
        checks = await self._http.get("find-check", path, filter=f'CheckID == "{self._check_id}"')
        if not isinstance(checks, dict):
            raise BackendUnavailableError(f"{self._http.url}{path}: the response is malformed: it is not a JSON object")
        check = checks.get(self._check_id)
        return isinstance(check, dict) and check.get("Status") == "passing"
