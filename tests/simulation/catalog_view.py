"""Services of one scope in the simulated catalog, in the form in which the checker knows those of an agent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ssdpreg.backends.catalog.format import parse_check_id
from ssdpreg.backends.consul_format import is_owned
from tests.simulation.clock import ProcessClock
from tests.simulation.daemon import SCOPE

if TYPE_CHECKING:
    from ssdpreg.testing.catalog_state import CatalogState


class CatalogView:
    """
    Services of the scope :data:`SCOPE` by the ID of their registration.

    :ivar state: Content of the catalog.
    :ivar services: Services by ID, in the format of an agent's listing.
    :ivar changed: Called with the ID after each change of a service, and whether the daemon or an operator made it.
    :ivar requested: Not used in catalog mode.
    """

    state: CatalogState

    def __init__(self) -> None:
        self.services: dict[str, dict[str, Any]] = {}
        # ID of the registration by node and service.
        self._ids: dict[tuple[str, str], str] = {}
        self._keys: dict[str, tuple[str, str]] = {}
        self.changed: Callable[[str, str], None] = lambda service_id, by: None
        self.requested: Callable[[str, str, ProcessClock], None] = lambda method, path, process: None

    @property
    def accepts_keep_alives(self) -> bool:
        """Whether a keep-alive succeeds: there are none in catalog mode, the checker has the lock instead."""
        return False

    def update(self, names: Iterable[str], by: str) -> None:
        """
        Process the change of some nodes.

        :param names: Names of the nodes in lower case.
        :param by: ``daemon``, ``operator`` or ``agent``.
        """
        chosen = set(names)
        before = {key for key in self._ids if key[0] in chosen}
        for key in sorted({*before, *(key for key in self.state.services if key[0] in chosen)}):
            service = self.state.services.get(key)
            owned = service is not None and is_owned(service, SCOPE)
            service_id = self._find_id(key) if owned else self._ids.get(key, "")
            if not owned:
                if service_id:
                    del self._ids[key], self._keys[service_id]
                    self.services.pop(service_id, None)
                    self.changed(service_id, by)
            elif service_id and self.services.get(service_id) is not service:
                assert service is not None
                self._ids[key], self._keys[service_id] = service_id, key
                self.services[service_id] = service
                self.changed(service_id, by)

    def key_of(self, service_id: str) -> tuple[str, str]:
        """Return the node and the ID in the catalog of a service, in lower case."""
        return self._keys[service_id]

    def id_of(self, key: tuple[str, str]) -> str:
        """Return the ID of the registration of a service in the catalog, or an empty string."""
        return self._ids.get(key, "")

    def check_ids(self, service_id: str) -> list[str]:
        """Return the IDs of the checks of a service, as the registration has them."""
        key = self._keys[service_id]
        kinds = (
            parse_check_id(check["CheckID"])
            for (node, _), check in self.state.checks.items()
            if node == key[0] and check["ServiceID"].lower() == key[1]
        )
        return [f"{service_id}-{kind}" for kind in kinds if kind is not None]

    def status(self, check_id: str) -> str:
        """Return the status of a check. One that consul-esm runs counts as passing."""
        service_id = check_id.removesuffix("-alive")
        if service_id == check_id or service_id not in self._keys:
            return "passing"
        node, service = self._keys[service_id]
        return str(self.state.checks.get((node, f"ssdpreg:{service}"), {}).get("Status", ""))

    def _find_id(self, key: tuple[str, str]) -> str:
        known = self._ids.get(key, "")
        return known or str(self.state.checks.get((key[0], f"ssdpreg:{key[1]}"), {}).get("Notes", ""))
