"""Tests for ``docs/ssdpreg.8`` and ``docs/command.md``: valid markup and a description of every option."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.cli.main import main
from ssdpreg.daemon import tap
from tests.support.paths import ROOT
from tests.support.programs import skip_without

MANUAL = ROOT / "docs" / "ssdpreg.8"
COMMANDS = ("search", "services", "watch", "inventory", "explain", "doctor", "run", "purge", "check-config", "schema")
#: Option of every subcommand.
HELP = "--help"


def options_of(command: str) -> set[str]:
    """Return the options in the help of a subcommand."""
    with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.suppress(SystemExit):
        main([command, HELP])
    return set(re.findall(r"--[a-z-]+", output.getvalue().partition("options:")[2])) - {HELP}


class ManualTests(SynchronousTestCase):
    """Tests for the manual page."""

    def test_options(self) -> None:
        """The synopsis and the description have every option of each subcommand."""
        synopsis, _, description = MANUAL.read_text(encoding="ascii").partition(".Sh DESCRIPTION\n")
        for command in COMMANDS:
            (listed,) = re.findall(rf"^\.Nm\n\.Cm {command}\n((?:\.(?:Op|Fl) .*\n)*)", synopsis, re.MULTILINE)
            (described,) = re.findall(rf"^\.It Cm {command}\b((?s:.*?))^\.(?:It Cm|Pp)", description, re.MULTILINE)
            options = options_of(command)
            self.assertEqual({f"-{option}" for option in re.findall(r"Fl (-[a-z-]+)", listed)}, options)
            self.assertEqual({f"-{option}" for option in re.findall(r"\.It Fl (-[a-z-]+)", described)}, options)

    def test_options_of_the_daemon(self) -> None:
        """The description has every option of the daemon."""
        manual = MANUAL.read_text(encoding="ascii")
        for name, *_ in (*tap.Options.optParameters, *tap.Options.optFlags):
            self.assertRegex(manual, rf"(?m)^\.It .*Fl -{name}\b")

    def test_command_md(self) -> None:
        """The documentation of the command has every option."""
        page = (ROOT / "docs" / "command.md").read_text(encoding="utf-8")
        options = set().union(*(options_of(command) for command in COMMANDS))
        self.assertEqual(set(re.findall(r"^\| `(--[a-z-]+)", page, re.MULTILINE)), options)


class LintTests(SynchronousTestCase):
    """Checks of the manual page by mandoc."""

    skip = skip_without("mandoc", "mandoc")

    def test_lint(self) -> None:
        """mandoc has no warnings."""
        linted = subprocess.run(
            ["mandoc", "-T", "lint", "-W", "warning", str(MANUAL)], text=True, capture_output=True, check=False
        )
        self.assertEqual((linted.returncode, linted.stdout), (0, ""))
