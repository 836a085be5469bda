"""Tests for ``docs/``: what the pages link to, show and tell to type is as they say."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

from twisted.trial.unittest import SynchronousTestCase, TestCase

from ssdpreg import config
from ssdpreg.announcer import devices
from ssdpreg.cli.main import main
from ssdpreg.errors import ConfigError
from ssdpreg.interfaces import IRegistryBackend
from ssdpreg.registration import Plan
from ssdpreg.testing import BackendTestsMixin, make_registration
from tests.support.paths import ROOT

_PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"])

#: What is typed besides the project's own commands, each there wherever the page speaks of it.
_TOOLS = frozenset(
    {"curl", "dig", "docker", "install", "ip", "journalctl", "nft", "python3", "ss", "systemctl", "tcpdump"}
)


def blocks(page: Path, language: str) -> list[str]:
    """
    Find code on a page.

    :param language: What stands behind its opening fence.
    """
    pattern = rf"^( *)```{language}\n(.*?)^ *```$"
    return [found[2] for found in re.finditer(pattern, page.read_text(), re.DOTALL | re.MULTILINE)]


def anchors(page: Path) -> set[str]:
    """Tell which places of a page can be linked to, as GitHub names them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[tuple[Path, str]]:
    """Find the links of a page into the project: file and anchor."""
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    local = [target.partition("#") for target in targets if "://" not in target]
    return [((page.parent / path).resolve() if path else page, anchor) for path, _, anchor in local]


class PagesTests(SynchronousTestCase):
    """Tests for all pages."""

    def test_links(self) -> None:
        """Every link leads to a file, or a heading of a page."""
        for page in _PAGES:
            for target, anchor in links(page):
                self.assertTrue(target.exists(), f"{page.name}: {target}")
                if anchor:
                    self.assertIn(anchor, anchors(target), page.name)

    def test_index(self) -> None:
        """The index links every page."""
        index = ROOT / "docs" / "index.md"
        linked = {target for target, _ in links(index)}
        self.assertEqual({page for page in _PAGES if page.parent == index.parent} - linked - {index}, set())

    def test_json(self) -> None:
        """All JSON can be read; the daemon would take what is a configuration, and the announcer what is its file."""
        for page in _PAGES:
            for block in blocks(page, "json"):
                content = json.loads(block)
                if "tags" in content.get("ssdp", {}):
                    config.parse(block)
                elif "ssdp" in content:
                    devices.parse(block)

    def test_commands(self) -> None:
        """Every command that is to be typed is there, and takes these arguments where it is the project's own."""
        for page in _PAGES:
            for line in "".join(blocks(page, "sh")).splitlines():
                self.assert_command(shlex.split(line), f"{page.name}: {line}")

    def assert_command(self, words: list[str], message: str) -> None:
        """Assert that a command exists, without doing what it does."""
        program, *arguments = words
        match program.removeprefix("/opt/ssdpreg/bin/"):
            case "ssdpreg":
                with redirect_stdout(StringIO()), self.assertRaises(SystemExit, msg=message) as caught:
                    # All is read before help is given, and what is unknown is refused.
                    main([*arguments, "--help"])
                self.assertEqual(caught.exception.code, 0, message)
            case "twistd":
                self.assertIn(arguments[:2], (["-n", "ssdpreg"], ["-n", "ssdpspoof"], ["--help"]), message)
            case "make":
                targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
                self.assertIn(arguments[0], targets, message)
            case "pip":
                self.assertEqual(arguments, ["install", "."], message)
            case tool:
                self.assertIn(tool, _TOOLS, message)
        for word in words:
            if word.startswith("deploy/") or word == "registry.json":
                self.assertTrue((ROOT / word).exists(), message)


_BACKEND, _DROP_IN, _TESTS = blocks(ROOT / "docs" / "backends.md", "python")


def _load(name: str, source: str) -> Any:
    module = ModuleType(name)
    exec(compile(source, f"docs/backends.md: {name}", "exec"), module.__dict__)
    return module


_folder_backend = _load("folder_backend", _BACKEND)


class FolderBackendTests(BackendTestsMixin, TestCase):
    """Tests for the backend of ``docs/backends.md``: those that every backend must pass, and what else it says."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())

    def make_backend(self, scope: str = "test") -> IRegistryBackend:
        backend: IRegistryBackend = _folder_backend.make_backend(None, {"path": str(self.folder)}, scope)
        return backend

    async def test_trouble(self) -> None:
        """A folder that cannot be is trouble that may pass, and a fault if it was not named at all."""
        self.folder.write_text("no folder")
        outcome = await self.make_backend().apply(Plan(register=(make_registration(),)))
        self.assertIsNotNone(outcome.unavailable)
        with self.assertRaises(ConfigError):
            _folder_backend.make_backend(None, {}, "test")


class DropInTests(SynchronousTestCase):
    """Tests for the other files of ``docs/backends.md``."""

    def test_files(self) -> None:
        """Written down as told, ``ssdpreg`` finds the backend, and the tests that are shown pass."""
        folder = Path(self.mktemp()).absolute()
        plugins = folder / "twisted" / "plugins"
        plugins.mkdir(parents=True)
        (folder / "folder_backend.py").write_text(_BACKEND)
        (folder / "test_folder_backend.py").write_text(_TESTS)
        (plugins / "folder_plugin.py").write_text(_DROP_IN)
        (configuration,) = blocks(ROOT / "docs" / "backends.md", "json")
        (folder / "registry.json").write_text(configuration)
        for command in (["ssdpreg", "check-config", "registry.json"], ["twisted.trial", "test_folder_backend"]):
            ended = subprocess.run(
                [sys.executable, "-m", *command],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
                text=True,
                capture_output=True,
                check=False,
            )
            self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
