"""Runs of the ``ssdpreg`` command within the test process."""

from __future__ import annotations

import io
import os
import sys

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.cli.main import main


class CommandTestCase(SynchronousTestCase):
    """Test case for subcommands, whose output is no terminal: no colour, and no limit of the width."""

    def capture(self, stream: str) -> io.StringIO:
        """
        Replace ``stdout`` or ``stderr`` of the process until the end of the test.

        :return: The written text.
        """
        captured = io.StringIO()
        self.patch(sys, stream, captured)
        return captured

    def run_command(self, *argv: str) -> tuple[int, str, str]:
        """
        Run the command without the variables of Consul in its environment.

        :param argv: Arguments after ``ssdpreg``.
        :return: The exit status, standard output and standard error.
        """
        stdout, stderr = self.capture("stdout"), self.capture("stderr")
        for name in [name for name in os.environ if name.startswith("CONSUL_")]:
            self.addCleanup(os.environ.__setitem__, name, os.environ.pop(name))
        try:
            status = main(argv)
        except SystemExit as ended:
            # argparse exits by itself, and so does rich if the output is closed.
            status = ended.code if isinstance(ended.code, int) else 1
        return status, stdout.getvalue(), stderr.getvalue()
