"""Tests for :mod:`ssdpreg.web.metrics`."""

from __future__ import annotations

from collections.abc import Mapping

from ssdpreg.description.source import Source
from ssdpreg.errors import DescriptionError
from tests.support.memory_daemon import Daemon, Exchange, UnavailableBackend
from tests.support.memory_lock import LockedBackend
from tests.support.metrics import MetricsTestCase


class MetricsTests(MetricsTestCase):
    """Tests for :class:`Metrics`, through HTTP in memory."""

    def test_numbers(self) -> None:
        """Messages, services and requests are counted."""
        samples = self.samples()
        for key, value in {
            ("ssdpreg_packets_total", "eth0", "alive"): 5,
            ("ssdpreg_packets_total", "eth0", "byebye"): 1,
            ("ssdpreg_packets_total", "eth0", "search"): 1,
            ("ssdpreg_packets_dropped_total", "no search term"): 1,
            ("ssdpreg_packets_dropped_total", "header"): 1,
            ("ssdpreg_packets_dropped_total", "LOCATION is no http or https URL"): 1,
            ("ssdpreg_search_rounds_total",): 2,
            ("ssdpreg_interface_up", "eth0"): 1,
            ("ssdpreg_settled",): 1,
            ("ssdpreg_services", "registered"): 2,
            ("ssdpreg_services", "waiting"): 0,
            ("ssdpreg_services", "refused"): 0,
            ("ssdpreg_devices",): 1,
            ("ssdpreg_services_appeared_total",): 3,
            ("ssdpreg_services_left_total", "byebye"): 1,
            ("ssdpreg_services_left_total", "expired"): 0,
            ("ssdpreg_web_services_with_changes",): 1,
            ("ssdpreg_web_changes_displaced_total",): 0,
            ("ssdpreg_backend_up",): 1,
            ("ssdpreg_backend_pending",): 0,
            ("ssdpreg_backend_requests_total", "ok", "register"): 2,
            ("ssdpreg_backend_requests_total", "refused", "register"): 1,
            ("ssdpreg_backend_request_seconds_sum", "register"): 1.5,
            ("ssdpreg_backend_request_seconds_count", "register"): 3,
            ("ssdpreg_backend_responses_too_long_total",): 4,
            ("ssdpreg_build_info", "0.1.0"): 1,
        }.items():
            self.assertEqual(samples.get(key), value, key)

    def test_backend_unavailable(self) -> None:
        """The metrics show an unavailable backend; a backend without statistics has no request metrics."""
        self.daemon = Daemon(self.reactor, UnavailableBackend())
        self.daemon.start()
        self.addCleanup(self.daemon.stop)
        self.daemon.receive_alive("dev-1")
        self.reactor.advance(0)
        samples = self.samples()
        self.assertEqual(samples["ssdpreg_backend_up",], 0)
        self.assertEqual(samples["ssdpreg_backend_pending",], 1)
        self.assertEqual(samples["ssdpreg_services", "waiting"], 1)
        self.assertEqual([key for key in samples if key[0].startswith("ssdpreg_backend_request")], [])

    def test_facts(self) -> None:
        """The fetches of facts are counted by result, if they are switched on."""
        self.assertNotIn(("ssdpreg_description_waiting",), self.samples())
        results = [DescriptionError("no answer", "unavailable"), DescriptionError("no XML"), None]

        async def fetch(source: Source) -> Mapping[str, str]:
            result = results.pop(0)
            if result is not None:
                raise result
            return {"ssdp-model": "M"}

        self.daemon = Daemon(self.reactor, fetch=fetch)
        self.daemon.start()
        self.addCleanup(self.daemon.stop)
        for number in range(3):
            address = f"10.0.0.{number + 5}"
            self.daemon.receive_alive(f"dev-{number}", location=f"http://{address}/", sender=address)
        self.assertEqual(self.samples()["ssdpreg_description_devices",], 3)
        self.reactor.advance(0)
        samples = self.samples()
        found = {key[1]: value for key, value in samples.items() if key[0] == "ssdpreg_description_fetches_total"}
        self.assertEqual(found, {"ok": 1, "unavailable": 1, "invalid": 1, "status": 0, "too long": 0, "internal": 0})
        self.assertEqual(samples["ssdpreg_description_waiting",], 0)
        self.assertEqual(samples["ssdpreg_description_skipped_total",], 0)

    def test_lock(self) -> None:
        """For a backend with a lock, the metrics have the state of the lock and the numbers of the reaper."""
        self.assertNotIn(("ssdpreg_lock_held", "rack"), self.samples())
        backend = LockedBackend()
        self.daemon = Daemon(self.reactor, backend)
        self.daemon.start()
        self.addCleanup(self.daemon.stop)
        samples = self.samples()
        self.assertEqual((samples["ssdpreg_lock_held", "rack"], samples["ssdpreg_lock_waiting", "rack"]), (0, 1))
        backend.lock.acquire()
        samples = self.samples()
        self.assertEqual((samples["ssdpreg_lock_held", "rack"], samples["ssdpreg_lock_waiting", "rack"]), (1, 0))
        for name, value in {
            "lock_acquisitions_total": 1,
            "lock_losses_total": 0,
            "lock_refusals_total": 0,
            "reaper": 1,
            "scopes": 7,
            "scopes_dead": 2,
            "reaper_nodes_marked_total": 40,
            "reaper_nodes_removed_total": 30,
            "reaper_nodes_kept_total": 1,
            "reaper_failures_total": 3,
        }.items():
            self.assertEqual(samples[f"ssdpreg_{name}",], value, name)

    def test_labels_have_no_text_of_devices(self) -> None:
        """No label contains text from a datagram."""
        words = " ".join(word for key in self.samples() for word in key)
        for word in ("script", "dev-", "urn:", "10.0.0"):
            self.assertNotIn(word, words)

    def test_formats(self) -> None:
        """A client that prefers OpenMetrics receives OpenMetrics."""
        accept = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"}
        exchange = Exchange(self.daemon.root, self.reactor, "/metrics", headers=accept)
        self.assertIn("application/openmetrics-text", exchange.headers["Content-Type"])
        self.assertTrue(exchange.body.endswith(b"# EOF\n"))

    def test_malformed_accept(self) -> None:
        """A value of Accept that cannot be parsed has no effect."""
        for accept in ("text/plain;version=x", "\xff"):
            self.assertIn("text/plain; version=0.0.4", self._content_type(accept), accept)

    def test_malformed_version(self) -> None:
        """A version of OpenMetrics that is no number is no error. Old prometheus_client does not parse it."""
        formats = r"(text/plain; version=0\.0\.4|application/openmetrics-text; version=0\.0\.1); charset=utf-8"
        self.assertRegex(self._content_type("application/openmetrics-text;version=1.0.0-rc"), f"^{formats}$")

    def _content_type(self, accept: str) -> str:
        """Return the type of the metrics for a value of Accept."""
        exchange = Exchange(self.daemon.root, self.reactor, "/metrics", headers={"Accept": accept})
        self.assertEqual(exchange.status, 200, accept)
        return exchange.headers["Content-Type"]
