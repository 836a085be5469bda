"""Tests for the start of the ``ssdpreg`` command as a process."""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

COMMANDS = ("search", "services", "watch", "inventory", "explain", "doctor", "run", "purge")
#: Packages that take long to import, and that no help text needs.
_HEAVY = {"cattrs", "rich", "scapy", "treq", "twisted"}
_PRINT_IMPORTS = f"""
import sys
from ssdpreg.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    print(ended.code, sorted({_HEAVY!r} & set(sys.modules)))
"""


class ImportTests(SynchronousTestCase):
    """Tests for the modules that the command imports."""

    def test_help(self) -> None:
        """The help and the version are printed without the import of heavy packages."""
        for arguments in (["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)):
            output = subprocess.check_output([sys.executable, "-c", _PRINT_IMPORTS, *arguments], text=True)
            self.assertEqual(output.splitlines()[-1], "0 []", arguments)
