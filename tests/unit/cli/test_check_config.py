"""Tests for :mod:`ssdpreg.cli.check_config`."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ssdpreg import config
from tests.support import paths
from tests.support.command import CommandTestCase

DATA = paths.DATA / "config"


class CheckConfigTests(CommandTestCase):
    """Tests for ``ssdpreg check-config``."""

    def test_valid_file(self) -> None:
        """A valid configuration is printed in full as JSON, with the token hidden."""
        status, stdout, stderr = self.run_command("check-config", str(DATA / "full.json"))
        self.assertEqual((status, stderr), (0, ""))
        self.assertEqual(json.loads(stdout), config.normalised(config.load(str(DATA / "full.json"), {})))
        self.assertNotIn("s3cret", stdout)

    def test_invalid_file(self) -> None:
        """All errors of an invalid configuration are printed, each in one line of any length."""
        status, stdout, stderr = self.run_command("check-config", str(DATA / "faulty.json"))
        self.assertEqual((status, stdout), (2, ""))
        self.assertEqual(stderr, (DATA / "faulty.txt").read_text(encoding="utf-8"))

    def test_default_file(self) -> None:
        """Without an argument, the file that the daemon would read is checked, and its path is printed."""
        self.addCleanup(os.chdir, os.getcwd())
        folder = Path(self.mktemp())
        folder.mkdir()
        os.chdir(folder)
        Path("registry.json").write_text('{"ssdp": {"tags": {"A": ["urn:a"]}}}', encoding="utf-8")
        status, stdout, stderr = self.run_command("check-config")
        self.assertEqual((status, stderr), (0, "Checking registry.json\n"))
        self.assertEqual(json.loads(stdout)["ssdp"]["tags"], {"A": ["urn:a"]})

    def test_missing_file(self) -> None:
        """A missing file is an invalid configuration."""
        status, _, stderr = self.run_command("check-config", "nowhere.json")
        self.assertEqual((status, stderr), (2, "nowhere.json cannot be read: No such file or directory\n"))
