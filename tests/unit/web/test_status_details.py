"""Tests for :mod:`ssdpreg.web.status_details`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.reconciler import ServiceState
from ssdpreg.registration import Check
from ssdpreg.web.changes import PastChange
from ssdpreg.web.status import Row
from ssdpreg.web.status_details import ChangeRow, Details, FactRow, make_details
from tests.unit.web.test_status import make_live, row_of


def details_of(row: Row, fault: str = "") -> Details:
    """Return the details of a service at 1008 s."""
    return make_details(row, [PastChange(1001.0, "moved from x")], [], "Consul", fault, 1008.0)


_REGISTERED = ServiceState("registered")


def row_with(meta: Mapping[str, str], state: ServiceState = _REGISTERED, *checks: Check) -> Row:
    """Return the row of a service with some Meta and checks."""
    row = row_of(make_live("a"), state)
    return replace(row, registration=replace(row.registration, meta=meta, checks=frozenset(checks)))


class DetailsTests(SynchronousTestCase):
    """Tests for :func:`make_details`."""

    def test_facts(self) -> None:
        """All Meta are shown: the known keys in their order with names, then the others. Empty values are omitted."""
        meta = {
            "z": "1",
            "b": "2",
            "ssdp-server": "",
            "ssdp-usn": "uuid:a",
            "redfish-vendor": "Acme",
            "ssdp-model": "X1",
        }
        self.assertEqual(
            details_of(row_with(meta)).facts,
            [
                FactRow("Model", "X1"),
                FactRow("Redfish vendor", "Acme"),
                FactRow("USN", "uuid:a"),
                FactRow("b", "2"),
                FactRow("z", "1"),
            ],
        )

    def test_links(self) -> None:
        """Only HTTP URLs become links: a device may state a URL that would run a script."""
        for value, is_link in {
            "http://10.0.0.5/": True,
            "HTTPS://bmc/": True,
            "javascript:alert(1)": False,
            "javascript://10.0.0.5/%0aalert(1)": False,
            "data:text/html,x": False,
            "//10.0.0.5/": False,
            "http:": False,
            "http://[": False,
        }.items():
            (fact,) = details_of(row_with({"ssdp-presentation-url": value})).facts
            self.assertEqual(fact.link, value if is_link else "", value)

    def test_state(self) -> None:
        """The state has the backend's name, the reason of a refusal, or the reason why the backend is unavailable."""
        for state, fault, text in (
            (ServiceState("registered"), "", "registered in Consul"),
            (ServiceState("refused", "403 no"), "", "refused: 403 no"),
            (ServiceState("waiting"), "Consul is unavailable", "waiting: Consul is unavailable"),
            (ServiceState("waiting"), "", "waiting"),
        ):
            self.assertIn(FactRow("State", text), details_of(row_with({}, state), fault).registration)

    def test_checks(self) -> None:
        """Checks have their target, times and exceptions."""
        http = Check("c", "http", "https://10.0.0.5/", 10.0, 2.5, tls_skip_verify=True, deregister_after=600.0)
        tcp = Check("d", "tcp", "10.0.0.5:80", 30.0)
        facts = details_of(row_with({}, _REGISTERED, tcp, Check("b", "alive"), http)).registration
        self.assertEqual(
            [fact.value for fact in facts if fact.name == "Check"],
            [
                "alive: this daemon runs",
                "http https://10.0.0.5/, every 10 s, timeout 2.5 s, any TLS certificate, deregistered after 600 s in a "
                "critical state",
                "tcp 10.0.0.5:80, every 30 s",
            ],
        )

    def test_origin(self) -> None:
        """The latest reception has its sender and interface, unless the service is known from an earlier run only."""
        row = row_with({})
        self.assertEqual(details_of(row).origin, "from 10.0.0.5 on eth0")
        self.assertEqual(details_of(replace(row, interface="")).origin, "")

    def test_changes(self) -> None:
        """Changes have ages, not readings of the clock."""
        self.assertEqual(details_of(row_with({})).changes, [ChangeRow(7.0, "moved from x")])
