"""Processes of this host that own sockets, as far as this user may see them."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ssdpreg.cli.doctor.kernel import read_text

_CAP_NET_ADMIN = 12
_SOCKET = re.compile(r"socket:\[(\d+)\]")
#: Subcommands of ``ssdpreg`` in the command line of a process that is not the daemon.
_DAEMON_COMMAND = "run"


@dataclass(frozen=True, slots=True)
class Process:
    """
    A process.

    :ivar pid: Its ID.
    :ivar name: Name of its program, at most 15 characters.
    :ivar command: Its command line.
    :ivar descriptor_limit: Soft limit of open descriptors; None if it is not known.
    :ivar net_admin: Whether it has the capability ``CAP_NET_ADMIN``.
    """

    pid: int
    name: str
    command: tuple[str, ...] = ()
    descriptor_limit: int | None = None
    net_admin: bool = False

    @property
    def is_daemon(self) -> bool:
        """Whether it is ``twistd ssdpreg`` or ``ssdpreg run``."""
        for index, argument in enumerate(self.command):
            if os.path.basename(argument) == "ssdpreg":
                following = self.command[index + 1 : index + 2]
                return following == (_DAEMON_COMMAND,) or (
                    argument == "ssdpreg" and index > 0 and self.command[index - 1] != "-m"
                )
        return False

    def __str__(self) -> str:
        name = "ssdpreg" if self.is_daemon else self.name
        return f"{name} (pid {self.pid})"


def find_owners(inodes: Collection[int]) -> Mapping[int, Process]:
    """
    Return the process that owns each socket. Without root, only processes of the same user are found.

    :param inodes: Numbers of the sockets.
    """
    owners: dict[int, Process] = {}
    wanted = set(inodes)
    if not wanted:
        return owners
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        found = wanted.intersection(_socket_inodes(folder)) - owners.keys()
        if found and (process := read_process(int(folder.name))):
            owners.update(dict.fromkeys(found, process))
    return owners


def parse_process(pid: int, name: str, command: str, limits: str, status: str) -> Process:
    """
    Make a process from the files in its folder of ``/proc``. Pure.

    :param name: Content of ``comm``.
    :param command: Content of ``cmdline``.
    :param limits: Content of ``limits``; empty if it cannot be read.
    :param status: Content of ``status``; empty if it cannot be read.
    """
    limit = re.search(r"^Max open files +(\d+)", limits, re.MULTILINE)
    capabilities = re.search(r"^CapEff:\s*([0-9a-f]+)", status, re.MULTILINE)
    return Process(
        pid,
        name.strip(),
        tuple(command.rstrip("\0").split("\0")),
        int(limit[1]) if limit else None,
        bool(capabilities and int(capabilities[1], 16) >> _CAP_NET_ADMIN & 1),
    )


def read_process(pid: int) -> Process | None:
    """Return a process, or None if it has ended."""
    name = read_text(f"/proc/{pid}/comm")
    if name is None:
        return None
    command, limits, status = (read_text(f"/proc/{pid}/{file}") or "" for file in ("cmdline", "limits", "status"))
    return parse_process(pid, name, command, limits, status)


def _socket_inodes(folder: Path) -> Iterator[int]:
    """Yield the numbers of the sockets of a process that may be examined."""
    with suppress(OSError):
        for link in (folder / "fd").iterdir():
            with suppress(OSError):
                if match := _SOCKET.fullmatch(os.readlink(link)):
                    yield int(match[1])
