"""The bare loop of :mod:`bench.receivers.bare_loop` in a process, and the bodies that it sends to the catalog."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from ssdpreg.backends.catalog.changes import NodeChange, make_step
from ssdpreg.backends.catalog.format import CatalogFormat
from ssdpreg.backends.catalog.transactions import Transaction, TransactionLimits, room
from ssdpreg.registration import Registration
from tests.support.paths import ROOT

#: Transactions under way at a time. More bring nothing.
TRANSACTIONS = 4


def catalog_bodies(registrations: Iterable[Registration]) -> list[str]:
    """Return the transactions that the daemon sends, with a fence that needs no session, after one that only checks."""
    format, limits = CatalogFormat("bench"), TransactionLimits()
    fence = '{"KV":{"Verb":"check-not-exists","Key":"ssdpreg/bench"}}'
    transactions = [Transaction(limits)]
    for each in registrations:
        change = NodeChange(format.node_name(each), {each.service_id: each})
        unit = make_step(format, None, change, room(limits)).unit
        assert unit is not None
        if not transactions[-1].add(unit):
            transactions.append(Transaction(limits))
            transactions[-1].add(unit)
    return [f"[{fence}]", *(each.body(fence).decode() for each in transactions)]


class BareLoop:
    """
    Process that sends requests, and nothing else.

    :ivar pid: Its process ID.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.pid = process.pid
        self._requests: IO[str] = process.stdin
        self._answers: IO[str] = process.stdout
        self._wait_for_line()

    def start(self) -> None:
        """Send all bodies but the first one, which is sent already."""
        print(file=self._requests, flush=True)

    def wait(self) -> None:
        """Wait for all responses."""
        self._wait_for_line()

    def _wait_for_line(self) -> None:
        if not self._answers.readline():
            raise RuntimeError("the loop failed")


@contextmanager
def bare_loop(url: str, bodies: Sequence[str], requests: int) -> Iterator[BareLoop]:
    """
    Run the loop.

    :param url: Address of all requests.
    :param bodies: Body of each request.
    :param requests: Requests under way at a time.
    """
    with TemporaryDirectory() as folder:
        file = Path(folder) / "bodies"
        file.write_text("\n".join(bodies))
        command = [sys.executable, "-m", "bench.receivers.bare_loop", url, str(file), str(requests)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True, bufsize=1
        ) as process:
            loop = BareLoop(process)
            yield loop
            # The process ends at the next line.
            loop.start()
