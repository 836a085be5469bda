"""Tests for :mod:`ssdpreg.backends.consul_checks`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.backends.consul_checks import CheckTable


class CheckTableTests(SynchronousTestCase):
    """Tests for :class:`CheckTable`."""

    def setUp(self) -> None:
        self.table = CheckTable()

    def test_load(self) -> None:
        """The table has the daemon's checks, and not those of an operator or of maintenance mode."""
        for service_id, check_id in (
            ("a", "a-alive"),
            ("a", "a-http-1"),
            ("a", "a-alive:0123abcd"),
            ("a", "_service_maintenance:a"),
            ("a", "a-disk"),
            ("a", "a-alive-too"),
            ("a", "a-http-check"),
            ("a", "b-alive"),
            ("c", "c-alive"),
        ):
            self.table.load(service_id, check_id)
        found = {service_id: self.table.of(service_id) for service_id in "abc"}
        own = {"a-alive", "a-http-1", "a-alive:0123abcd"}
        self.assertEqual(found, {"a": own, "b": frozenset(), "c": {"c-alive"}})

    def test_stale(self) -> None:
        """Earlier checks that a registration lacks are returned, until each is removed."""
        self.assertEqual(self.table.add_service("a", ["a-alive", "a-tcp", "a-http"]), [])
        self.assertEqual(self.table.add_service("a", ["a-alive"]), ["a-http", "a-tcp"])
        self.table.remove_check("a", "a-http")
        self.assertEqual(self.table.of("a"), {"a-alive", "a-tcp"})
        self.assertEqual(self.table.add_service("a", ["a-alive"]), ["a-tcp"])

    def test_remove_service(self) -> None:
        """A removed service has no checks. The removal of an unknown service changes nothing."""
        self.table.add_service("a", ["a-alive"])
        self.table.remove_service("a")
        self.table.remove_service("a")
        self.assertEqual(self.table.add_service("a", ["a-tcp"]), [])
