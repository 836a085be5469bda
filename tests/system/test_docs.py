"""Tests for the documentation: its links, examples, commands, file names and pictures."""

from __future__ import annotations

import ast
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

import yaml
from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase, TestCase

from ssdpreg import config
from ssdpreg.announcer import devices
from ssdpreg.cli.main import main
from ssdpreg.errors import ConfigError
from ssdpreg.interfaces import IRegistryBackend
from ssdpreg.registration import Plan
from ssdpreg.testing import BackendTestsMixin, make_registration
from tests.support.paths import ROOT
from tests.unit.test_layers import LAYERS

_PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])

#: Commands of other programs. The page in question names the program as a requirement, or it is part of the system.
_TOOLS = frozenset(
    {
        *(".", "consul", "curl", "dig", "docker", "firewall-cmd", "grep", "install", "ip", "journalctl", "nft", "ss"),
        *("ansible-inventory", "ansible-playbook", "consul-template", "pipx", "ssh", "systemctl", "tcpdump", "vmagent"),
    }
)

#: Files that the reader of ``docs/backends.md`` creates.
_CREATED = frozenset({"folder_backend.py", "twisted/plugins/folder_plugin.py", "ssdpreg/reaper"})
#: Size limit of a picture in bytes: every clone of the repository contains all versions of it.
_PICTURE_SIZE = 150_000


def blocks(page: Path, language: str) -> list[str]:
    """
    Return the code blocks of a page.

    :param language: Language that the opening fence names.
    """
    pattern = rf"^( *)```{language}\n(.*?)^ *```$"
    return [found[2] for found in re.finditer(pattern, page.read_text(), re.DOTALL | re.MULTILINE)]


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as GitHub generates them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[tuple[Path, str]]:
    """Return the links of a page into the project: file and anchor."""
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    local = [target.partition("#") for target in targets if "://" not in target]
    return [((page.parent / path).resolve() if path else page, anchor) for path, _, anchor in local]


def file_names(page: Path) -> set[str]:
    """Return the code spans of a page that are paths of files or folders of the project, without placeholders."""
    spans = re.findall(
        r"(?<!`)`([\w./-]+)`(?!`)", re.sub(r"^( *)```.*?^ *```$", "", page.read_text(), flags=re.M | re.S)
    )
    found = {span for span in spans if re.search(r"^(bench|demo|deploy|docs|ssdpreg|tests|twisted)/|\.py$", span)}
    return {span.rstrip("/") for span in found if "NAME" not in span}


def exists(name: str) -> bool:
    """Return whether a path exists. A path of a module may be relative to the package ``ssdpreg``."""
    return (ROOT / name).exists() or (ROOT / "ssdpreg" / name).exists()


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

    def test_file_names(self) -> None:
        """Every file and folder that a page mentions exists."""
        mentioned = {(page.name, name) for page in _PAGES for name in file_names(page) - _CREATED}
        self.assertEqual({(page, name) for page, name in mentioned if not exists(name)}, set())

    def test_json(self) -> None:
        """All JSON is valid, and is accepted as a configuration of the daemon or of the announcer if it is one."""
        for page in _PAGES:
            for block in blocks(page, "json"):
                content = json.loads(block)
                if isinstance(content, dict) and "tags" in content.get("ssdp", {}):
                    config.parse(block)
                elif "ssdp" in content:
                    devices.parse(block)

    def test_commands(self) -> None:
        """Every command exists, and the project's own commands accept the arguments."""
        for page in _PAGES:
            for line in "".join(blocks(page, "sh")).splitlines():
                self.assert_command(shlex.split(line), f"{page.name}: {line}")

    def assert_command(self, words: list[str], message: str) -> None:
        """Assert that a command exists, without running it."""
        environment = set()
        while re.match(r"[A-Z_]+=", words[0]):
            environment.add(words[0].partition("=")[0])
            words = words[1:]
        program, *arguments = words
        match program.removeprefix("/opt/ssdpreg/bin/"):
            case "ssdpreg":
                with redirect_stdout(StringIO()), self.assertRaises(SystemExit, msg=message) as caught:
                    # argparse reads all arguments before it prints the help, and rejects unknown ones.
                    main([*arguments, "--help"])
                self.assertEqual(caught.exception.code, 0, message)
            case "twistd":
                self.assertIn(arguments[:2], (["-n", "ssdpreg"], ["-n", "ssdpspoof"], ["--help"]), message)
            case "make":
                self.assertIn(arguments[0], make_targets(), message)
            case "pip":
                self.assertIn(arguments, (["install", "."], ["install", "-e", ".[dev]"]), message)
            case "python" | "python3":
                self.assertIn(arguments[:2], (["-m", "venv"], ["-m", "twisted.trial"]), message)
                if arguments[1] == "twisted.trial":
                    named = namedAny(arguments[2])
                    self.assertTrue(named, message)
                    if "SSDPREG_CONSUL" in environment:
                        modules = {getattr(value, "__module__", "") for value in vars(named).values()}
                        self.assertIn("tests.support.consul", modules, f"{message}: the tests use no real Consul")
            case tool:
                self.assertIn(tool, _TOOLS, message)
        for word in words:
            if word.startswith("deploy/") or word == "registry.json":
                self.assertTrue((ROOT / word).exists(), message)


class ReadmeTests(SynchronousTestCase):
    """Tests for the README."""

    def test_first_commands(self) -> None:
        """The README begins with the command that runs the daemon and the command that runs all tests."""
        first = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("    ")][:2]
        commands = [line.partition("#")[0].strip() for line in first]
        self.assertEqual(commands, ["twistd -n ssdpreg --config registry.json", "python -m twisted.trial tests"])

    def test_diagram(self) -> None:
        """The diagram has every package that a user or an engineer meets, and each of its lines has a direction."""
        (diagram,) = blocks(ROOT / "README.md", "mermaid")
        shown = set(re.findall(r"\b(\w+)(?:/|\.py)<br>", diagram)) | set(re.findall(r'"(\w+)/"', diagram))
        helpers = {"ssdpreg", "__main__", "testing", "interfaces", "timers", "errors", "values"}
        self.assertEqual(shown, {layer.rpartition(".")[2] for layer in LAYERS if layer.startswith("ssdpreg")} - helpers)
        self.assertEqual([line for line in diagram.splitlines()[1:] if "--" in line and "-->" not in line], [])

    def test_pictures(self) -> None:
        """The README shows two pictures, which are small."""
        pictures = re.findall(r"!\[[^]]+\]\((docs/images/[^)]+)\)", (ROOT / "README.md").read_text())
        self.assertEqual([Path(picture).suffix for picture in pictures], [".png", ".svg"])
        for picture in pictures:
            self.assertLess((ROOT / picture).stat().st_size, _PICTURE_SIZE, picture)


#: Methods of a logger for lines that are written by default.
_LOG_METHODS = frozenset({"info", "warn", "error", "failure", "critical"})
#: Module that makes formats and their fields, as tuples, and the module that logs them.
_MAKES_FORMATS, _LOGS_THEM = "registration/change_lines.py", "reconciler/application.py"


def line_pattern(expression: ast.expr) -> str:
    """
    Return a regular expression for the description of a log line, in which placeholders are words in capitals.

    :param expression: Format of the line: a constant, or a verb that is not constant and a constant.
    :return: The expression, empty if the format cannot be determined.
    """
    match expression:
        case ast.Constant(value=str(text)):
            constants = [re.escape(" ".join(part.split("\n"))) for part in re.split(r"\{\w+\}", text)]
            return "[A-Z]+".join(constants)
        case ast.BinOp(left=ast.Attribute(attr="verb"), right=right):
            return "[A-Z][a-z]+" + line_pattern(right)
    return ""


def log_formats(module: ast.Module) -> list[ast.expr]:
    """Return the formats of all lines that a module logs by default."""
    return [
        node.args[0]
        for node in ast.walk(module)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in _LOG_METHODS
        and re.search(r"(\b|_)log$|^Logger\(\)$", ast.unparse(node.func.value))
    ]


class LogTests(SynchronousTestCase):
    """Tests for the table of log lines in ``docs/operations.md``."""

    def setUp(self) -> None:
        modules = {
            str(path.relative_to(ROOT / "ssdpreg")): ast.parse(path.read_text())
            for path in (ROOT / "ssdpreg").rglob("*.py")
        }
        self.formats = {name: log_formats(module) for name, module in modules.items()}
        self.formats[_MAKES_FORMATS] = [
            node.elts[0]
            for node in ast.walk(modules[_MAKES_FORMATS])
            if isinstance(node, ast.Tuple) and "{" in ast.unparse(node.elts[0])
        ]
        section = (ROOT / "docs" / "operations.md").read_text().partition("\n## Log\n")[2].partition("\n## ")[0]
        self.lines = [
            line for row in re.findall(r"^\| (`.*?) \|", section, re.M) for line in re.findall(r"`([^`]+)`", row)
        ]

    def test_formats(self) -> None:
        """Every format is known: it is constant, except for those that another module makes."""
        unknown = [name for name, formats in self.formats.items() for each in formats if not line_pattern(each)]
        self.assertEqual(set(unknown), {_LOGS_THEM})
        self.assertGreater(sum(map(len, self.formats.values())), 30)

    def test_complete(self) -> None:
        """The table has every line of level info and above."""
        patterns = {line_pattern(each) for formats in self.formats.values() for each in formats} - {""}
        missing = {pattern for pattern in patterns if not any(re.fullmatch(pattern, line) for line in self.lines)}
        self.assertEqual(missing, set())

    def test_lines_exist(self) -> None:
        """The daemon logs every line of the table."""
        patterns = {line_pattern(each) for formats in self.formats.values() for each in formats} - {""}
        wrong = [line for line in self.lines if not any(re.fullmatch(pattern, line) for pattern in patterns)]
        self.assertEqual(wrong, [])

    def test_patterns(self) -> None:
        """A description with other words, or without a placeholder, does not match."""
        pattern = line_pattern(ast.parse('"Adopted {count} services"', mode="eval").body)
        self.assertEqual(
            [
                bool(re.fullmatch(pattern, line))
                for line in ("Adopted N services", "Adopted services", "Kept N services")
            ],
            [True, False, False],
        )


class LayersTests(SynchronousTestCase):
    """Tests for the table of packages in ``docs/architecture.md``."""

    def test_order(self) -> None:
        """The table has all packages in the order that the test of the imports demands."""
        rows = re.findall(
            r"^\| `((?:ssdpreg|twisted)[\w.]*)` \|", (ROOT / "docs" / "architecture.md").read_text(), re.M
        )
        self.assertEqual(tuple(rows), LAYERS)


def make_targets() -> set[str]:
    """Return the targets of the Makefile that are words."""
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


class AutomationTests(SynchronousTestCase):
    """Tests for the files that run the checks elsewhere."""

    def test_makefile(self) -> None:
        """The head of the Makefile describes every target."""
        described = set(re.findall(r"^# make ([a-z-]+) ", (ROOT / "Makefile").read_text(), re.MULTILINE))
        self.assertEqual(described, make_targets())

    def test_workflow(self) -> None:
        """The workflow of GitHub runs the same program as every other CI."""
        workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
        (job,) = workflow["jobs"].values()
        self.assertEqual([step["run"] for step in job["steps"] if "run" in step], ["bash .ci/run"])
        self.assertTrue((ROOT / ".ci" / "run").exists())

    def test_pre_commit(self) -> None:
        """The hooks run the tools of ``make lint``, from the virtual environment that it creates."""
        hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
        programs = [re.findall(r"^\.venv/bin/(\S+)", hook["entry"]) for hook in hooks]
        self.assertEqual(programs, [["ruff"], ["ruff"], ["mypy"]])
        recipe = re.findall(r"^\t\$\(BIN\)/(ruff|mypy)", (ROOT / "Makefile").read_text(), re.MULTILINE)
        self.assertEqual(programs, [[tool] for tool in recipe])


_BACKEND, _DROP_IN, _TESTS = blocks(ROOT / "docs" / "backends.md", "python")


def _load(name: str, source: str) -> Any:
    module = ModuleType(name)
    exec(compile(source, f"docs/backends.md: {name}", "exec"), module.__dict__)
    return module


_folder_backend = _load("folder_backend", _BACKEND)


class FolderBackendTests(BackendTestsMixin, TestCase):
    """Tests for the backend of ``docs/backends.md``: the contract tests, and its errors."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())

    def make_backend(self, scope: str = "test") -> IRegistryBackend:
        backend: IRegistryBackend = _folder_backend.make_backend(None, {"path": str(self.folder)}, scope)
        return backend

    async def test_trouble(self) -> None:
        """A folder that cannot be created is reported as unavailable, a missing path as a faulty configuration."""
        self.folder.write_text("not a folder")
        outcome = await self.make_backend().apply(Plan(register=(make_registration(),)))
        self.assertIsNotNone(outcome.unavailable)
        with self.assertRaises(ConfigError):
            _folder_backend.make_backend(None, {}, "test")


class DropInTests(SynchronousTestCase):
    """Tests for the other files of ``docs/backends.md``."""

    def test_files(self) -> None:
        """``ssdpreg`` finds the backend after the files are created as described, and its tests pass."""
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
