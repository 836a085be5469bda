"""Tests for ``setup.cfg`` and ``MANIFEST.in``: what is installed is whole, and ``twistd`` finds it."""

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

#: What is made in a checkout, and is no part of it. Trial's folder, in which the tests work, is below it.
_MADE = shutil.ignore_patterns(".?*", "_trial_temp*", "build", "dist", "*.egg-info", "__pycache__", "dropin.cache")

_TWISTD = "from twisted.scripts.twistd import run; run()"
_SDIST = "import sys; from setuptools.build_meta import build_sdist; print(build_sdist(sys.argv[1]))"
_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
#: The libraries are those of this environment, so nothing has to be fetched.
_OFFLINE = ("--no-index", "--no-deps", "--no-build-isolation")


def _call(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command, return its standard output, and show all of its output if it fails."""
    # Coverage and its like are not to follow into environments that do not have them.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTHONPATH"))}
    ended = subprocess.run(command, cwd=cwd, env=env, text=True, capture_output=True, check=False)
    if ended.returncode:
        raise AssertionError(f"{command} failed:\n{ended.stdout}{ended.stderr}")
    return ended.stdout


class InstallationTests(SynchronousTestCase):
    """Tests of all ways to install, each in an environment of its own."""

    def setUp(self) -> None:
        """Copy the project, which is not to be built where it is; make an environment that has all but ssdpreg."""
        folder = Path(self.mktemp()).absolute()
        self.source = folder / "source"
        self.environment = folder / "environment"
        self.empty = folder / "empty"
        shutil.copytree(ROOT, self.source, ignore=_MADE)
        self.empty.mkdir()
        venv.create(self.environment, symlinks=True)
        self.python = self.environment / "bin" / "python"
        site_packages = _call(self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
        # Not followed any further than this, so an editable ssdpreg of this environment is not seen.
        libraries = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        Path(site_packages, "libraries.pth").write_text("\n".join(libraries))
        self.assertNotIn("ssdpreg", self.help())

    def help(self) -> str:
        """Ask ``twistd``, far from the source, for its commands."""
        return _call(self.python, "-c", _TWISTD, "--help", cwd=self.empty)

    def install(self, *what: str | Path) -> None:
        """Install something in the environment."""
        _call(*_PIP, "--python", self.python, "install", *_OFFLINE, *what)

    def assert_installed(self) -> None:
        """Assert that all commands are there."""
        self.assertRegex(self.help(), r"(?m)^ +ssdpreg +\w(?s:.*)^ +ssdpspoof +\w")
        self.assertIn("check-config", _call(self.environment / "bin" / "ssdpreg", "--help"))

    def test_install(self) -> None:
        """All commands are there after ``pip install .``."""
        self.install(self.source)
        self.assert_installed()

    def test_editable(self) -> None:
        """All commands are there after ``pip install -e .``."""
        self.install("--editable", self.source)
        self.assert_installed()

    def test_sdist(self) -> None:
        """All commands are there after an installation of the wheel that is built from the source distribution."""
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
    """Tests for ``setup.cfg`` against the files that are there."""

    def test_packages(self) -> None:
        """Every package is listed, and the folder of the drop-in."""
        config = configparser.ConfigParser()
        config.read(ROOT / "setup.cfg")
        packages = [".".join(init.parent.relative_to(ROOT).parts) for init in (ROOT / "ssdpreg").rglob("__init__.py")]
        self.assertEqual(sorted(config["options"]["packages"].split()), sorted([*packages, "twisted.plugins"]))

    def test_no_init(self) -> None:
        """Nothing of ours hides, or overwrites, a package of Twisted's."""
        self.assertEqual([path.relative_to(ROOT) for path in (ROOT / "twisted").rglob("*.py")], [_PLUGIN])
