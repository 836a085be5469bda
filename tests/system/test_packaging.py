"""Tests for ``setup.cfg`` and ``MANIFEST.in``: an installation is complete, and ``twistd`` finds its plugins."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.paths import ROOT

_PLUGIN = Path("twisted/plugins/ssdpreg_plugin.py")

#: Generated files in a clone. Among them is trial's folder, in which these tests work.
_MADE = shutil.ignore_patterns(".?*", "_trial_temp*", "build", "dist", "*.egg-info", "__pycache__", "dropin.cache")

_TWISTD = "from twisted.scripts.twistd import run; run()"
_SDIST = "import sys; from setuptools.build_meta import build_sdist; print(build_sdist(sys.argv[1]))"
_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
#: The libraries of this environment are used, so no package is downloaded.
_OFFLINE = ("--no-index", "--no-deps", "--no-build-isolation")


def _call(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command, return its standard output, and show all of its output if it fails."""
    # The other environments have no coverage, which these variables would start.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTHONPATH"))}
    ended = subprocess.run(command, cwd=cwd, env=env, text=True, capture_output=True, check=False)
    if ended.returncode:
        raise AssertionError(f"{command} failed:\n{ended.stdout}{ended.stderr}")
    return ended.stdout


class InstallationTests(SynchronousTestCase):
    """Tests for each kind of installation, in a new virtual environment."""

    def setUp(self) -> None:
        """Copy the project, so that the build writes into the copy, and create an environment without ssdpreg."""
        folder = Path(self.mktemp()).absolute()
        self.source = folder / "source"
        self.environment = folder / "environment"
        self.empty = folder / "empty"
        shutil.copytree(ROOT, self.source, ignore=_MADE)
        self.empty.mkdir()
        venv.create(self.environment, symlinks=True)
        self.python = self.environment / "bin" / "python"
        site_packages = _call(self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
        # Python does not read .pth files in these folders, so an editable ssdpreg of this environment is not found.
        libraries = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        Path(site_packages, "libraries.pth").write_text("\n".join(libraries))
        self.assertNotIn("ssdpreg", self.help())

    def help(self) -> str:
        """Return the help of ``twistd``, run outside of the source."""
        return _call(self.python, "-c", _TWISTD, "--help", cwd=self.empty)

    def install(self, *what: str | Path) -> None:
        """Install a package in the environment."""
        _call(*_PIP, "--python", self.python, "install", *_OFFLINE, *what)

    def assert_installed(self) -> None:
        """Assert that all commands are installed."""
        self.assertRegex(self.help(), r"(?m)^ +ssdpreg +\w(?s:.*)^ +ssdpspoof +\w")
        self.assertIn("check-config", _call(self.environment / "bin" / "ssdpreg", "--help"))

    def test_install(self) -> None:
        """``pip install .`` installs all commands."""
        self.install(self.source)
        self.assert_installed()

    def test_editable(self) -> None:
        """``pip install -e .`` installs all commands."""
        self.install("--editable", self.source)
        self.assert_installed()

    def test_sdist(self) -> None:
        """The wheel built from the source distribution installs all commands."""
        sdist = self.empty / _call(sys.executable, "-c", _SDIST, self.empty, cwd=self.source).splitlines()[-1]
        _call(*_PIP, "wheel", *_OFFLINE, "--wheel-dir", self.empty, sdist)
        (wheel,) = self.empty.glob("*.whl")
        self.install(wheel)
        self.assert_installed()

        with zipfile.ZipFile(wheel) as opened:
            names = {Path(name) for name in opened.namelist()}
        self.assertEqual([name for name in names if name.parts[0] == "twisted"], [_PLUGIN])
        self.assertIn(Path("ssdpreg/py.typed"), names)
        with tarfile.open(sdist) as opened_sdist:
            packed = {Path(*Path(name).parts[1:]) for name in opened_sdist.getnames()}
        wanted = {
            "LICENSE",
            "Makefile",
            "registry.json",
            "demo/demo.py",
            "demo/spoof.json",
            "tests/system/test_packaging.py",
        }
        self.assertEqual({Path(part) for part in wanted} - packed, set())


class SourceTests(SynchronousTestCase):
    """Tests for ``setup.cfg`` and the source tree."""

    def test_packages(self) -> None:
        """``setup.cfg`` lists every package, and the folder of the drop-in."""
        config = configparser.ConfigParser()
        config.read(ROOT / "setup.cfg")
        packages = [".".join(init.parent.relative_to(ROOT).parts) for init in (ROOT / "ssdpreg").rglob("__init__.py")]
        self.assertEqual(sorted(config["options"]["packages"].split()), sorted([*packages, "twisted.plugins"]))

    def test_no_init(self) -> None:
        """The folder ``twisted`` contains the drop-in only: an ``__init__.py`` would hide Twisted itself."""
        self.assertEqual([path.relative_to(ROOT) for path in (ROOT / "twisted").rglob("*.py")], [_PLUGIN])
