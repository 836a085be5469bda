"""The Consul service that represents this daemon, with the TTL check that ends when the daemon ends."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from twisted.internet.defer import DeferredLock

import ssdpreg
from ssdpreg.backends.consul_format import REAP_AFTER, format_duration, is_owned, owner_meta
from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.errors import BackendForgotError, BackendRefusedError
from ssdpreg.registration import SOURCE

#: Seconds of the TTL check. The daemon passes the check every 10 s, so two attempts may fail.
_TTL = 30.0


class OwnService:
    """
    The service that represents this daemon in a Consul agent.

    :param http: Client of the agent.
    :param scope: Scope of the daemon.
    :ivar service_id: ``ssdpreg``, or if another program or scope uses that ID, ``ssdpreg:`` and a digest of the scope.
    """

    def __init__(self, http: ConsulHTTP, scope: str) -> None:
        self._http = http
        self._scope = scope
        self._meta = {**owner_meta(scope), "ssdpreg-version": ssdpreg.__version__}
        self._id_chosen = False
        self._registered = False
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
        if self._id_chosen:
            return
        self.service_id = SOURCE
        service = await self._read()
        if service is not None and not is_owned(service, self._scope):
            self.service_id = f"{SOURCE}:{hashlib.sha256(self._scope.encode()).hexdigest()[:8]}"
            service = await self._read()
        self._registered = service is not None and service["Service"] == SOURCE and service["Meta"] == self._meta
        self._id_chosen = True

    async def check_absence(self) -> None:
        """
        Find out why a listing lacks this service, and prepare to register it again if it is lost.

        :raise BackendRefusedError: If the service exists, so the listing is incomplete.
        """
        service = await self._read()
        if service is None:
            self._registered = False
        elif is_owned(service, self._scope):
            # Consul leaves out services that the token may not read, instead of rejecting the request.
            raise BackendRefusedError(403, "the ACL token may not list services, so the listing is incomplete")
        else:
            # Another program has registered a service with this ID.
            self._id_chosen = False
            await self.choose_id()

    async def ensure_registered(self) -> None:
        """Register the service, unless it is registered already."""
        await self._registering.run(self._register)

    async def pass_check(self) -> None:
        """
        Pass the TTL check. Its status stays the same, so this causes no write to Consul's log.

        :raise BackendForgotError: If the agent has lost the check. It is registered again.
        """
        try:
            await self._http.put("keep-alive", f"/v1/agent/check/pass/{quote(self._check_id, safe='')}")
        except BackendForgotError:
            self._registered = False
            await self.ensure_registered()
            raise

    async def deregister(self) -> None:
        """Deregister the service."""
        await self.choose_id()
        with suppress(BackendForgotError):
            await self._http.put("deregister", f"/v1/agent/service/deregister/{quote(self.service_id, safe='')}")
        self._registered = False

    @property
    def _check_id(self) -> str:
        return f"{self.service_id}:alive"

    async def _register(self) -> None:
        await self.choose_id()
        if self._registered:
            return
        check = {
            "CheckID": self._check_id,
            "Name": "ssdpreg is alive",
            "TTL": format_duration(_TTL),
            "Status": "passing",
            "DeregisterCriticalServiceAfter": format_duration(REAP_AFTER),
        }
        body = {"ID": self.service_id, "Name": SOURCE, "Meta": self._meta, "Checks": [check]}
        await self._http.put("register", "/v1/agent/service/register", body)
        self._registered = True

    async def _read(self) -> Any:
        try:
            return await self._http.get("find", f"/v1/agent/service/{quote(self.service_id, safe='')}")
        except BackendForgotError:
            return None
