"""Tests for :mod:`ssdpreg.cli.main`."""

from __future__ import annotations

import io
import json
import os
import runpy
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg import __version__, config
from ssdpreg.cli.main import main
from tests.support import paths

DATA = paths.DATA / "config"


class CommandTestCase(SynchronousTestCase):
    """Runs commands as a script would: no terminal, 80 columns, no colour."""

    def run_command(self, *argv: str) -> tuple[int, str, str]:
        """
        Run a command.

        :return: Its exit status, and what it wrote to the one and the other output.
        """
        stdout, stderr = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", stdout)
        self.patch(sys, "stderr", stderr)
        for name in [name for name in os.environ if name.startswith("CONSUL_")]:
            self.addCleanup(os.environ.__setitem__, name, os.environ.pop(name))
        try:
            status = main(argv)
        except SystemExit as exit_:
            # As argparse ends, and rich where nobody reads on.
            status = exit_.code if isinstance(exit_.code, int) else 1
        return status, stdout.getvalue(), stderr.getvalue()


class MainTests(CommandTestCase):
    """Tests for :func:`ssdpreg.cli.main.main`."""

    def test_version(self) -> None:
        """The version is that of the package."""
        self.assertEqual(self.run_command("--version"), (0, f"ssdpreg {__version__}\n", ""))

    def test_help(self) -> None:
        """The help lists the commands, and what an exit status means."""
        status, stdout, _ = self.run_command("--help")
        self.assertEqual(status, 0)
        for word in ("search", "services", "watch", "check-config", "schema", "Exit status:"):
            self.assertIn(word, stdout)

    def test_misuse(self) -> None:
        """No command, or one that there is not, is a wrong usage."""
        for argv in ((), ("reboot",), ("schema", "more"), ("--colour",)):
            status, stdout, stderr = self.run_command(*argv)
            self.assertEqual((status, stdout), (2, ""))
            self.assertIn("usage: ssdpreg", stderr)

    def test_help_of_each(self) -> None:
        """The help of each command that speaks to a network says what its exit status means."""
        for command in ("search", "services", "watch"):
            status, stdout, _ = self.run_command(command, "--help")
            self.assertEqual(status, 0)
            self.assertIn("Exit status: 0 if", stdout)

    def test_misuse_of_each(self) -> None:
        """Values that make no sense are refused, each with what would be right."""
        for argv, words in (
            (("search", "--seconds", "0"), "it is a number of seconds, 1 to 3600"),
            (("search", "--seconds", "nan"), "it is a number of seconds, 1 to 3600"),
            (("search", "--seconds", "x"), "invalid number of seconds value: 'x'"),
            (("search", "--mx", "6"), "it is a whole number, 1 to 5"),
            (("search", "--ttl", "0"), "it is a whole number, 1 to 255"),
            (("search", "--ttl", "1.5"), "invalid whole number value: '1.5'"),
            (("search", "a\nb"), "'a\\nb' is no URN"),
            (("search", "a*b"), "'a*b' is no URN"),
            (("services", "--url", "127.0.0.1:8580"), "http://127.0.0.1:8580 is"),
            (("services", "--url", "ftp://127.0.0.1"), "http://127.0.0.1:8580 is"),
            (("services", "--url", "http://127.0.0.1:0"), "http://127.0.0.1:8580 is"),
            (("watch", "--url", "http://127.0.0.1:x"), "http://127.0.0.1:8580 is"),
            (("watch", "--url", "http://127.0.0.1/?x"), "http://127.0.0.1:8580 is"),
        ):
            status, stdout, stderr = self.run_command(*argv)
            self.assertEqual((status, stdout), (2, ""))
            self.assertIn(words, stderr)

    def test_two_documents(self) -> None:
        """Standard output takes one document, before anything is searched for."""
        status, stdout, stderr = self.run_command("search", "--json", "--write-config", "-")
        self.assertEqual((status, stdout), (2, ""))
        self.assertIn("--write-config: prints a document of its own", stderr)

    def test_module(self) -> None:
        """``python -m ssdpreg`` is the same command."""
        stdout = io.StringIO()
        self.patch(sys, "stdout", stdout)
        self.patch(sys, "argv", ["ssdpreg", "schema"])
        ended = self.assertRaises(SystemExit, runpy.run_module, "ssdpreg", run_name="__main__")
        self.assertEqual((ended.code, json.loads(stdout.getvalue())), (0, config.schema()))


class CheckConfigTests(CommandTestCase):
    """Tests for ``ssdpreg check-config``."""

    def test_right(self) -> None:
        """A file that will do is printed in full, as JSON, with the token hidden."""
        status, stdout, stderr = self.run_command("check-config", str(DATA / "full.json"))
        self.assertEqual((status, stderr), (0, ""))
        self.assertEqual(json.loads(stdout), config.normalised(config.load(str(DATA / "full.json"), {})))
        self.assertNotIn("s3cret", stdout)

    def test_wrong(self) -> None:
        """Of a file that will not do all faults are listed, one a line whatever the width."""
        status, stdout, stderr = self.run_command("check-config", str(DATA / "faulty.json"))
        self.assertEqual((status, stdout), (2, ""))
        self.assertEqual(stderr, (DATA / "faulty.txt").read_text(encoding="utf-8"))

    def test_found(self) -> None:
        """Without a file, the one that the daemon would read is checked, and named."""
        self.addCleanup(os.chdir, os.getcwd())
        here = Path(self.mktemp())
        here.mkdir()
        os.chdir(here)
        Path("registry.json").write_text('{"ssdp": {"tags": {"A": ["urn:a"]}}}', encoding="utf-8")
        status, stdout, stderr = self.run_command("check-config")
        self.assertEqual((status, stderr), (0, "Checking registry.json\n"))
        self.assertEqual(json.loads(stdout)["ssdp"]["tags"], {"A": ["urn:a"]})

    def test_no_file(self) -> None:
        """A file that is not there is a wrong configuration."""
        status, _, stderr = self.run_command("check-config", "nowhere.json")
        self.assertEqual((status, stderr), (2, "nowhere.json cannot be read: No such file or directory\n"))


class SchemaTests(CommandTestCase):
    """Tests for ``ssdpreg schema``."""

    def test_schema(self) -> None:
        """The schema is printed as JSON."""
        status, stdout, stderr = self.run_command("schema")
        self.assertEqual((status, stderr, json.loads(stdout)), (0, "", config.schema()))
