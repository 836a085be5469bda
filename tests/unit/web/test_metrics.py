"""Tests for :mod:`ssdpreg.web.metrics`."""

from __future__ import annotations

from tests.support.memory_daemon import Daemon, Exchange, UnavailableBackend
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
