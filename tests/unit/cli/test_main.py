"""Tests for :mod:`ssdpreg.cli.main`."""

from __future__ import annotations

import json
import runpy
import sys

from ssdpreg import __version__, config
from tests.support.command import CommandTestCase


class MainTests(CommandTestCase):
    """Tests for :func:`ssdpreg.cli.main.main`."""

    def test_version(self) -> None:
        """The version is that of the package."""
        self.assertEqual(self.run_command("--version"), (0, f"ssdpreg {__version__}\n", ""))

    def test_help(self) -> None:
        """The help lists the subcommands and the exit statuses."""
        status, stdout, _ = self.run_command("--help")
        self.assertEqual(status, 0)
        for word in (
            "search",
            "services",
            "watch",
            "inventory",
            "explain",
            "doctor",
            "run",
            "purge",
            "check-config",
            "schema",
            "Exit status:",
        ):
            self.assertIn(word, stdout)

    def test_invalid_usage(self) -> None:
        """A missing subcommand, and an unknown subcommand, argument or option, are usage errors."""
        for argv in ((), ("reboot",), ("schema", "more"), ("--colour",)):
            status, stdout, stderr = self.run_command(*argv)
            self.assertEqual((status, stdout), (2, ""))
            self.assertIn("usage: ssdpreg", stderr)

    def test_help_of_subcommands(self) -> None:
        """The help of each subcommand that uses the network explains its exit status."""
        for command in ("search", "services", "watch", "inventory", "explain", "doctor", "run", "purge"):
            status, stdout, _ = self.run_command(command, "--help")
            self.assertEqual(status, 0)
            self.assertIn("Exit status: 0 ", stdout)

    def test_invalid_values(self) -> None:
        """An option with an invalid value is a usage error that describes a valid value."""
        for argv, words in (
            (("search", "--seconds", "0"), "'0' is not a number from 1 to 3600"),
            (("search", "--seconds", "nan"), "'nan' is not a number from 1 to 3600"),
            (("search", "--seconds", "x"), "'x' is not a number from 1 to 3600"),
            (("search", "--mx", "6"), "'6' is not a whole number from 1 to 5"),
            (("search", "--ttl", "0"), "'0' is not a whole number from 1 to 255"),
            (("search", "--ttl", "1.5"), "'1.5' is not a whole number from 1 to 255"),
            (("search", "a\nb"), "'a\\nb' is not a URN"),
            (("search", "a*b"), "'a*b' is not a URN"),
            (("services", "--url", "127.0.0.1:8580"), "is not a URL such as http://127.0.0.1:8580"),
            (("services", "--url", "ftp://127.0.0.1"), "is not a URL such as http://127.0.0.1:8580"),
            (("services", "--url", "http://127.0.0.1:0"), "is not a URL such as http://127.0.0.1:8580"),
            (("watch", "--url", "http://127.0.0.1:x"), "is not a URL such as http://127.0.0.1:8580"),
            (("watch", "--url", "http://127.0.0.1/?x"), "is not a URL such as http://127.0.0.1:8580"),
        ):
            status, stdout, stderr = self.run_command(*argv)
            self.assertEqual((status, stdout), (2, ""))
            self.assertIn(words, stderr)

    def test_two_documents(self) -> None:
        """Two documents for standard output are a usage error, which is reported before the search."""
        status, stdout, stderr = self.run_command("search", "--json", "--write-config", "-")
        self.assertEqual((status, stdout), (2, ""))
        self.assertIn("--write-config: cannot print to standard output together with --json", stderr)

    def test_existing_file(self) -> None:
        """An existing file for the configuration is a usage error, which is reported before the search."""
        status, stdout, stderr = self.run_command("search", "--write-config", __file__)
        self.assertEqual((status, stdout), (2, ""))
        self.assertEqual(stderr, f"--write-config: {__file__} exists: --force overwrites it\n")

    def test_module(self) -> None:
        """``python -m ssdpreg`` runs the command."""
        stdout = self.capture("stdout")
        self.patch(sys, "argv", ["ssdpreg", "schema"])
        ended = self.assertRaises(SystemExit, runpy.run_module, "ssdpreg", run_name="__main__")
        self.assertEqual((ended.code, json.loads(stdout.getvalue())), (0, config.schema()))
