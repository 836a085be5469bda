"""Tests for :mod:`ssdpreg.cli.doctor.daemon` and :mod:`~.configuration`."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ssdpreg.cli.doctor.configuration import read_configuration
from ssdpreg.cli.doctor.daemon import (
    DaemonFacts,
    check_daemon,
    check_scope,
    parse_endpoint,
    parse_metrics,
    parse_reasons,
)
from ssdpreg.config import ConsulConfig
from ssdpreg.errors import ConfigError
from tests.unit.cli.doctor.case import CheckTestCase
from tests.unit.cli.doctor.test_port import DAEMON

URL = "http://127.0.0.1:8580"


class DaemonTests(CheckTestCase):
    """Tests for :func:`check_daemon`."""

    def test_right(self) -> None:
        """A daemon that is ready and lost nothing is right."""
        metrics = {"ssdpreg_services": 2.0, "ssdpreg_receive_buffer_overflows_total": 0.0}
        findings = check_daemon(DaemonFacts(URL, metrics=metrics), DAEMON)
        self.assert_results(findings, ("", "ok"), ("", "ok"), ("", "ok"))
        self.assertEqual(
            findings[0].finding, f"serves {URL}, with 2 live services; ssdpreg (pid 7) receives announcements"
        )
        self.assertIn(
            "1 live service", check_daemon(DaemonFacts(URL, metrics={"ssdpreg_services": 1.0}), None)[0].finding
        )

    def test_not_running(self) -> None:
        """A daemon that does not respond is a fault, and a warning if its process runs."""
        self.assert_one(check_daemon(DaemonFacts(URL, "refused"), None), "fault", f"not running: {URL} refused")
        self.assert_one(check_daemon(DaemonFacts(URL, "refused"), DAEMON), "warning", "pid 7", "web.endpoint")

    def test_hanging(self) -> None:
        """A daemon that accepts connections and does not respond is a fault, although its process runs."""
        found = check_daemon(DaemonFacts(URL, "does not answer within 5 s", hangs=True), DAEMON)
        self.assert_one(found, "fault", "pid 7", "restart")

    def test_other_program(self) -> None:
        """Another program on the port of the daemon is to be stopped first."""
        found = check_daemon(DaemonFacts(URL, "is another program", is_other=True), None)
        self.assert_one(found, "fault", "Stop that program, or set web.endpoint")

    def test_no_server(self) -> None:
        """Without a web server, only the process is known."""
        self.assert_results(check_daemon(DaemonFacts(""), DAEMON), ("", "ok"), ("", "skipped"))
        self.assert_results(check_daemon(DaemonFacts(""), None), ("", "skipped"))

    def test_not_ready(self) -> None:
        """A daemon whose backend fails is a fault; one that is starting or waits is a warning."""
        start, fault = "the first search is not over yet", f"{URL} does not answer"
        waiting = "another daemon registers the services of scope 'x' at http://c (instance 1, version 2)"
        for reasons, result, word in (
            ((start,), "warning", "not settled"),
            ((start, fault), "fault", "does not answer"),
            ((waiting,), "warning", "writes nothing"),
            ((start, waiting), "warning", "writes nothing"),
        ):
            self.assert_one(check_daemon(DaemonFacts(URL, reasons=reasons), None)[1:], result, word)

    def test_waiting_for_a_lock(self) -> None:
        """A daemon that waits for the lock of its scope is no fault."""
        reason = "waiting, this daemon does not write to Consul at c: the lock ssdpreg/scopes/x is held by r7a"
        self.assert_one(check_daemon(DaemonFacts(URL, reasons=(reason,)), None)[1:], "ok", "is held by r7a")

    def test_overflows(self) -> None:
        """Lost datagrams are a warning."""
        for metrics, result, word in (
            ({"ssdpreg_receive_buffer_overflows_total": 5.0}, "warning", "5, because"),
            ({"ssdpreg_reception_interruptions_total": 2.0}, "ok", "2 interruptions"),
        ):
            self.assert_one(check_daemon(DaemonFacts(URL, metrics=metrics), None)[2:], result, word)

    def test_scope(self) -> None:
        """The daemon's own service in Consul belongs to this scope, to another one, or to another host's daemon."""
        meta = {"ssdpreg-scope": "rack", "ssdpreg-version": "1.0"}
        self.assert_one(check_scope(meta, "rack", True), "ok", "version 1.0")
        self.assert_one(check_scope(meta, "rack", False), "warning", "none runs here", "backend.scope")
        self.assert_one(check_scope(meta, "other", True), "ok", "another scope, rack")
        self.assert_one(check_scope(None, "rack", True), "skipped")


class ParserTests(CheckTestCase):
    """Tests for the parsers."""

    def test_endpoint(self) -> None:
        """The URL of a TCP endpoint is derived, as seen from this host."""
        for endpoint, url in (
            ("tcp:8580:interface=127.0.0.1", URL),
            ("tcp:8580", URL),
            ("tcp:port=8580:interface=0.0.0.0", URL),
            ("tcp:interface=10.0.0.2:port=80", "http://10.0.0.2:80"),
            (r"tcp6:8580:interface=\:\:1", "http://[::1]:8580"),
            (r"tcp:8580:interface=\:\:", "http://127.0.0.1:8580"),
            ("unix:/run/ssdpreg.sock", ""),
            ("tcp:x", ""),
            (None, ""),
        ):
            self.assertEqual(parse_endpoint(endpoint), url, endpoint)

    def test_reasons(self) -> None:
        """The reasons of /readyz are separated."""
        self.assertEqual(parse_reasons("not ready: a b; c\n"), ("a b", "c"))

    def test_metrics(self) -> None:
        """The values of a metric with different labels are added."""
        text = '# HELP a x\na{b="c d"} 1.0\na{b="}"} 2e+00\nother 5.0\nbroken x\n'
        self.assertEqual(parse_metrics(text), {"a": 3.0, "other": 5.0})


class ConfigurationTests(CheckTestCase):
    """Tests for :func:`read_configuration`."""

    def setUp(self) -> None:
        for name in [name for name in os.environ if name.startswith("CONSUL_")]:
            self.addCleanup(os.environ.__setitem__, name, os.environ.pop(name))
        self.path = Path(self.mktemp())

    def write(self, document: object) -> str:
        """Write a configuration file, and return its path."""
        self.path.write_text(json.dumps(document))
        return str(self.path)

    def test_valid(self) -> None:
        """A valid configuration is used, with the address of the command line."""
        read = read_configuration(self.write({"ssdp": {"tags": {"a": ["urn:a:service:b:1"]}}}), "consul:8501")
        self.assert_one(read.findings, "ok", "1 search term, Consul at consul:8501 (agent mode)")
        self.assertEqual(read.config.search_terms(), {"urn:a:service:b:1": "a"})

    def test_faults(self) -> None:
        """Each fault is a finding, and the defaults are used."""
        read = read_configuration(self.write({"ssdp": {"tags": {}}, "web": {"x": 1}}), "consul:8501")
        self.assert_results(read.findings[-1:], ("web.x", "fault"))
        self.assertEqual([(each.subject, each.result) for each in read.findings[:-1]], [("ssdp.tags", "fault")])
        self.assertIn("ssdpreg check-config", read.findings[-1].advice)
        assert isinstance(read.config.backend, ConsulConfig)
        self.assertEqual((read.config.search_terms(), read.config.backend.address), ({}, "consul:8501"))

    def test_missing(self) -> None:
        """A file that cannot be read is a fault, and so is an unknown backend."""
        self.assert_one(read_configuration("/none.json", None).findings, "fault", "/none.json")
        path = self.write({"ssdp": {"tags": {"a": ["urn:a:service:b:1"]}}, "backend": {"type": "nope"}})
        self.assert_one(read_configuration(path, None).findings, "fault", "nope")

    def test_environment(self) -> None:
        """Without a usable file, Consul is the one in the environment, if that is valid."""
        for value, address in (("10.0.0.9:8500", "10.0.0.9:8500"), ("!", "127.0.0.1:8500")):
            self.patch(os, "environ", {**os.environ, "CONSUL_HTTP_ADDR": value})
            backend = read_configuration("/none.json", None).config.backend
            assert isinstance(backend, ConsulConfig)
            self.assertEqual(backend.address, address)

    def test_usage(self) -> None:
        """An invalid address on the command line is invalid usage."""
        self.assertRaises(ConfigError, read_configuration, "/none.json", "!")
