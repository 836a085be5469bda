"""Tests for :mod:`ssdpreg.backends.instance`."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from typing import NoReturn

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.backends.instance import Instance, current_instance
from tests.support.paths import ROOT

#: Program that prints its identity and waits.
PROGRAM = """
from ssdpreg.backends.instance import current_instance
print(current_instance().instance_id, flush=True)
input()
"""


def raise_emfile(*args: object) -> NoReturn:
    """Fail as ``socket.socket`` does if the process has too many open files."""
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


class InstanceTests(SynchronousTestCase):
    """Tests for :class:`Instance`."""

    def make_instance(self, namespace: str = "") -> Instance:
        """Make an identity in the network namespace of this process, or in another one."""
        instance = Instance(namespace or current_instance().instance_id.rpartition("-")[0])
        self.addCleanup(instance.close)
        return instance

    def test_current(self) -> None:
        """A process has one identity, which is alive."""
        self.assertIs(current_instance(), current_instance())
        self.assertRegex(current_instance().instance_id, r"\A[0-9a-f]{12}-[0-9a-f]{16}\Z")
        self.assertFalse(self.make_instance().has_ended(current_instance().instance_id))

    def test_ended(self) -> None:
        """An identity that was closed has ended."""
        one, two = self.make_instance(), self.make_instance()
        self.assertNotEqual(one.instance_id, two.instance_id)
        self.assertFalse(one.has_ended(two.instance_id))
        two.close()
        self.assertTrue(one.has_ended(two.instance_id))

    def test_killed_process(self) -> None:
        """The identity of another process ends when the process is killed."""
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        assert process.stdout is not None
        other = process.stdout.readline().strip()
        self.assertFalse(current_instance().has_ended(other))
        process.kill()
        process.wait()
        self.assertTrue(current_instance().has_ended(other))

    def test_other_namespace(self) -> None:
        """Nothing is known about an identity of another network namespace or host, or about any other text."""
        instance = self.make_instance()
        for other in ("", "-", "0123456789ab-0123456789abcdef", "x" * 1000, instance.instance_id.partition("-")[0]):
            self.assertFalse(instance.has_ended(other))

    def test_without_sockets(self) -> None:
        """A process that does not know its namespace knows nothing about other identities."""
        instance = Instance("")
        self.assertFalse(instance.has_ended(Instance("").instance_id))
        self.assertFalse(instance.has_ended(current_instance().instance_id))

    def test_no_descriptors(self) -> None:
        """Another daemon is not known to have ended if no socket can be opened."""
        one, two = self.make_instance(), self.make_instance()
        two.close()
        self.patch(socket, "socket", raise_emfile)
        self.assertFalse(one.has_ended(two.instance_id))

    def test_hostile_identity(self) -> None:
        """An identity that is no name of a socket does not raise an exception."""
        prefix = current_instance().instance_id.partition("-")[0]
        for text in ("\0", "ä" * 300, "\ud800", "x" * 1000):
            self.assertIn(current_instance().has_ended(f"{prefix}-{text}"), (True, False))
