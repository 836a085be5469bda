"""Tests for :mod:`ssdpreg.daemon`: options, reload at SIGHUP, notifications for systemd, and the JSON log."""

from __future__ import annotations

import json
import os
from typing import Any, cast

from twisted.application.service import IService
from twisted.internet import reactor
from twisted.internet.interfaces import IReactorTime
from twisted.python.usage import UsageError
from twisted.scripts._twistd_unix import ServerOptions
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.config import ConsulConfig
from ssdpreg.daemon.json_log import stdout_observer
from ssdpreg.daemon.tap import Options, makeService
from ssdpreg.description.describer import Describer

MINIMAL: dict[str, Any] = {"ssdp": {"tags": {"T": ["urn:a"]}}}


class TapTestCase(SynchronousTestCase):
    """Base class: a temporary directory with a configuration file."""

    def setUp(self) -> None:
        folder = self.mktemp()
        os.makedirs(folder)
        self.path = os.path.join(os.path.abspath(folder), "registry.json")
        self.write(MINIMAL)
        # makeService() replaces this attribute of the reactor. The test restores it.
        self.patch(reactor, "seconds", IReactorTime(reactor).seconds)

    def write(self, config: object) -> None:
        """Write the configuration file."""
        with open(self.path, "w") as file:
            json.dump(config, file)

    def options(self, *arguments: str) -> Options:
        """Return the options that were parsed from a command line."""
        options = Options()
        options.parseOptions(["--config", self.path, *arguments])
        return options


class OptionsTests(TapTestCase):
    """Tests for :class:`Options`."""

    def test_configuration(self) -> None:
        """The options of the command line override the values of the file."""
        config = self.options("--address", "10.0.0.9:8501", "--datacenter", "dc2")["configuration"]
        assert isinstance(config.backend, ConsulConfig)
        self.assertEqual((config.backend.address, config.backend.datacenter), ("10.0.0.9:8501", "dc2"))

    def test_all_faults(self) -> None:
        """An invalid file is a usage error that contains all faults with their paths."""
        self.write({"ssdp": {"tags": {"T": ["urn:a"]}, "search": {"mx": 9}}, "bakend": {}})
        with self.assertRaises(UsageError) as caught:
            self.options()
        for part in (self.path, "ssdp.search.mx: ", "bakend: "):
            self.assertIn(part, str(caught.exception))

    def test_unknown_backend(self) -> None:
        """A backend type that no plugin provides is a usage error."""
        self.write({**MINIMAL, "backend": {"type": "cosnul"}})
        with self.assertRaises(UsageError) as caught:
            self.options()
        self.assertIn("backend.type: no plugin is called 'cosnul', but consul, embedded", str(caught.exception))

    def test_default_file(self) -> None:
        """Without ``--config``, the file in the current directory is read, and its absolute path is stored."""
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(os.path.dirname(self.path))
        options = Options()
        options.parseOptions([])
        self.assertEqual(options["config"], os.path.realpath(self.path))

    def test_log_json(self) -> None:
        """``--log-json`` sets the logger of twistd."""
        options = ServerOptions()
        options.parseOptions(["-n", "ssdpreg", "--config", self.path, "--log-json"])
        self.assertIs(options["logger"], stdout_observer)

    def test_service(self) -> None:
        """``makeService`` returns a service that is not started yet."""
        self.write({**MINIMAL, "backend": {"type": "embedded"}})
        service = makeService(self.options())
        self.assertTrue(IService.providedBy(service))
        self.assertFalse(service.running)

    def test_log_budget(self) -> None:
        """Lines about rejected announcements and about changes have one budget."""
        self.write({**MINIMAL, "backend": {"type": "embedded"}})
        reconciler, registry, *_ = cast("Any", list(cast("Any", makeService(self.options()))))
        self.assertIs(reconciler._application._lines._budget, registry._log_limit._budget)

    def test_describe(self) -> None:
        """The service that fetches facts is part of the daemon only if the configuration asks for it."""
        for describe in (False, True):
            ssdp = {**MINIMAL["ssdp"], "describe": describe}
            self.write({**MINIMAL, "ssdp": ssdp, "backend": {"type": "embedded"}})
            services = list(cast("Any", makeService(self.options())))
            self.assertEqual(any(isinstance(each, Describer) for each in services), describe)

    def test_invalid_certificate_file(self) -> None:
        """An invalid file that the configuration names ends the program with the path of the option."""
        self.write({**MINIMAL, "backend": {"type": "consul", "ca_file": self.path}})
        with self.assertRaises(SystemExit) as caught:
            makeService(self.options())
        self.assertIn("backend.ca_file: ", str(caught.exception))
