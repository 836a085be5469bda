"""
A network of several hosts on one machine: network namespaces, plugged into a bridge in a namespace of its own.

    with Lan() as lan:
        bmc, rack = lan.host("10.77.0.2"), lan.host("10.77.0.3")
        daemon = rack.run(["twistd", "-n", "--pidfile=", "ssdpreg"])
        bmc.send(datagram)
        rack.http("/v1/catalog/services", port=8580).json()

Nothing of it touches the machine's own network. It takes root and ``ip``; a test case that uses it says
``skip = hosts.unavailable()``.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import http.client
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")

#: Where SSDP is spoken. Written out, and not imported, so that the rig shares no mistake with what it tests.
SSDP = ("239.255.255.250", 1900)
#: What the names of all our namespaces begin with; the process that made one follows.
_PREFIX = "ssdpreg"
#: Names of interfaces are the same in each namespace: they do not meet.
_CARD = "eth0"
_BRIDGE = "br0"

_serial = itertools.count()
_libc = ctypes.CDLL(None, use_errno=True)


def unavailable() -> str | None:
    """
    Tell why there can be no hosts here, as the ``skip`` of a test case.

    :return: What is missing, or ``None`` where nothing is, or where ``SSDPREG_REQUIRE_ALL`` is set: tests then fail
        for what is missing instead of being skipped.
    """
    return None if os.environ.get("SSDPREG_REQUIRE_ALL") else _missing()


@functools.cache
def _missing() -> str | None:
    if shutil.which("ip") is None:
        return "Needs the ip command (package iproute2) to make hosts of network namespaces."
    if os.geteuid() != 0:
        return "Needs root to make hosts of network namespaces."
    try:
        Lan().close()
    except subprocess.CalledProcessError as error:
        return f"Needs the right to make network namespaces: {error.stderr.strip()}"
    return None


def wait_until(true: Callable[[], T], seconds: float = 10.0, every: float = 0.05) -> T:
    """
    Ask until the answer is true.

    :param true: Asked again and again.
    :param seconds: How long to go on.
    :param every: Seconds between two questions.
    :return: The first answer that is true.
    :raise AssertionError: If there is none in time.
    """
    deadline = time.monotonic() + seconds
    while not (answer := true()):
        if time.monotonic() > deadline:
            raise AssertionError(f"Still {answer!r} after {seconds} s")
        time.sleep(every)
    return answer


@dataclass(frozen=True)
class Answer:
    """
    What an HTTP server said.

    :ivar status: Such as 200.
    :ivar headers: By name, in lower case.
    :ivar body: As it was sent.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Program:
    """
    A process on a host.

    :ivar process: To be asked for its ``pid`` and ``returncode``.
    :ivar log: The file that has all that it wrote, to either output.
    """

    def __init__(self, command: Sequence[str], log: Path, env: Mapping[str, str], cwd: str | None) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **env},
                cwd=cwd,
            )

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    @property
    def output(self) -> str:
        """All that it wrote so far."""
        return self.log.read_text(errors="replace")

    def wait_for(self, pattern: str, seconds: float = 10.0) -> re.Match[str]:
        """
        Wait until it has written something.

        :param pattern: A regular expression; each line has its own start and end.
        :return: The first match in all the output.
        :raise AssertionError: If it was not written in time, or the process ended without.
        """
        deadline = time.monotonic() + seconds
        while True:
            ended = not self.running
            if match := re.search(pattern, self.output, re.MULTILINE):
                return match
            if ended or time.monotonic() > deadline:
                state = f"ended with {self.process.returncode}" if ended else f"waited {seconds} s"
                raise AssertionError(f"{pattern!r} was not written ({state}):\n{self.output}")
            time.sleep(0.02)

    def signal(self, number: int) -> None:
        """Send it a signal, such as :data:`signal.SIGSTOP`."""
        self.process.send_signal(number)

    def stop(self, seconds: float = 10.0) -> int:
        """
        Ask it to end, and wait until it did. It may have ended before.

        :return: Its exit status; negative for the signal that ended it.
        :raise AssertionError: If it had to be killed.
        """
        self.process.terminate()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"Did not stop in {seconds} s:\n{self.output}") from None

    def kill(self) -> None:
        """End it at once (SIGKILL), and wait until it did. It may have ended before."""
        self.process.kill()
        self.process.wait()


class Host:
    """
    A computer with one network card and a loopback of its own. Made by :meth:`Lan.host`.

    :ivar name: Of its network namespace.
    :ivar address: The card's IPv4 address, without the prefix length.
    """

    def __init__(self, name: str, address: str, port: str, lan: Lan) -> None:
        self.name = name
        self.address = address
        self._port = port
        self._lan = lan
        self._programs: list[Program] = []

    def run(self, command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str | None = None) -> Program:
        """
        Start a process here. It is killed when the LAN is closed.

        :param command: The program and its arguments.
        :param env: Variables beyond those of this process.
        :param cwd: The folder to start it in.
        """
        log = self._lan.folder / f"{self.name}-{len(self._programs)}.log"
        program = Program(("ip", "netns", "exec", self.name, *command), log, env or {}, cwd)
        self._programs.append(program)
        return program

    def call(self, command: Sequence[str]) -> str:
        """
        Run a command here to its end.

        :return: What it wrote to its standard output.
        :raise subprocess.CalledProcessError: If its exit status is not 0.
        """
        return _call("ip", "netns", "exec", self.name, *command)

    def pids(self) -> list[int]:
        """Tell which processes are on this host, whoever started them."""
        return [int(pid) for pid in _ip("netns", "pids", self.name).split()]

    def inside(self, function: Callable[[], T]) -> T:
        """
        Call a function in a thread that is on this host's network; sockets that it opens stay there.

        :return: What the function returned; what it raises is raised.
        """

        def entered() -> T:
            with open(f"/run/netns/{self.name}", "rb") as namespace:
                if _libc.setns(namespace.fileno(), 0):
                    raise OSError(ctypes.get_errno(), "setns", self.name)
            return function()

        with ThreadPoolExecutor(1) as executor:
            return executor.submit(entered).result()

    def http(
        self,
        path: str,
        *,
        port: int = 8500,
        host: str = "127.0.0.1",
        method: str = "GET",
        body: object = None,
        seconds: float = 10.0,
    ) -> Answer:
        """
        Ask an HTTP server, from this host.

        :param path: With the query, such as ``/v1/health/service/x?passing``.
        :param port: By default Consul's.
        :param host: By default this one.
        :param body: Sent as JSON, unless it is ``None``.
        :param seconds: The longest wait for an answer.
        :raise OSError: If nobody answers.
        """

        def ask() -> Answer:
            connection = http.client.HTTPConnection(host, port, timeout=seconds)
            try:
                connection.request(method, path, None if body is None else json.dumps(body))
                response = connection.getresponse()
                headers = {name.lower(): value for name, value in response.getheaders()}
                return Answer(response.status, headers, response.read())
            finally:
                connection.close()

        return self.inside(ask)

    def send(
        self,
        *datagrams: bytes,
        to: tuple[str, int] = SSDP,
        source_port: int = 0,
        ttl: int = 2,
    ) -> None:
        """
        Send datagrams from this host's card.

        :param to: The SSDP group, unless told otherwise.
        :param source_port: 0 for any.
        """

        def write() -> None:
            with self._socket(source_port) as sender:
                sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, ttl)
                for datagram in datagrams:
                    sender.sendto(datagram, to)

        self.inside(write)

    def listen(self, port: int = 0) -> socket.socket:
        """
        Open a UDP socket on this host's card; with port 1900 it hears the SSDP group too. The caller closes it.

        :param port: 0 for any.
        """

        def join() -> socket.socket:
            listener = self._socket(port, "" if port == SSDP[1] else self.address)
            if port == SSDP[1]:
                membership = socket.inet_aton(SSDP[0]) + socket.inet_aton(self.address)
                listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
            listener.settimeout(10.0)
            return listener

        return self.inside(join)

    def _socket(self, port: int, address: str | None = None) -> socket.socket:
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(self.address))
        opened.bind((self.address if address is None else address, port))
        return opened

    def move(self, address: str) -> None:
        """Give the card another IPv4 address, in place of the one that it has."""
        _ip("-n", self.name, "address", "flush", "dev", _CARD, "scope", "global")
        _ip("-n", self.name, "address", "add", f"{address}/24", "broadcast", "+", "dev", _CARD)
        self.address = address

    def unplug(self) -> None:
        """Pull the cable: the card keeps its address and loses its carrier."""
        _ip("-n", self._lan.name, "link", "set", self._port, "down")

    def plug(self) -> None:
        """Put the cable back in."""
        _ip("-n", self._lan.name, "link", "set", self._port, "up")

    def close(self) -> None:
        """Kill what runs here. The host itself goes with its LAN."""
        for program in self._programs:
            program.kill()
        self._programs.clear()


class Lan:
    """
    A broadcast domain, 10.77.0.0/24 or what its hosts make of it, without a way out.

    :ivar name: Of the network namespace that has the bridge.
    :ivar folder: For logs and whatever else a test wants to have gone at the end.
    """

    def __init__(self) -> None:
        _sweep()
        self.name = f"{_PREFIX}-{os.getpid()}-{next(_serial)}"
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        self._hosts: list[Host] = []
        # At the end of the process too, for a test that was ended before its clean-ups.
        atexit.register(self.close)
        try:
            _ip("netns", "add", self.name)
            # A plain switch: nobody here asks for memberships, so snooping would have nothing to go by.
            _ip("-n", self.name, "link", "add", _BRIDGE, "type", "bridge", "mcast_snooping", "0")
            _ip("-n", self.name, "link", "set", _BRIDGE, "up")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Lan:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def host(self, address: str) -> Host:
        """
        Plug in one more host.

        :param address: IPv4, such as ``10.77.0.2``; the first 24 bits are the network's.
        """
        number = len(self._hosts)
        host = Host(f"{self.name}-{number}", address, f"port{number}", self)
        self._hosts.append(host)
        _ip("netns", "add", host.name)
        _ip("-n", host.name, "link", "set", "lo", "up")
        _ip("-n", host.name, "link", "add", _CARD, "type", "veth", "peer", "name", host._port, "netns", self.name)
        _ip("-n", self.name, "link", "set", host._port, "master", _BRIDGE, "up")
        _ip("-n", host.name, "link", "set", _CARD, "up")
        host.move(address)
        return host

    def close(self) -> None:
        """End every process, host and the network itself. May be called again."""
        atexit.unregister(self.close)
        for host in self._hosts:
            host.close()
            _remove(host.name)
        self._hosts.clear()
        _remove(self.name)
        shutil.rmtree(self.folder, ignore_errors=True)


def _sweep() -> None:
    """Remove what test runs left that were killed."""
    for name in _namespaces():
        if (match := re.fullmatch(rf"{_PREFIX}-(\d+)-.*", name)) and not os.path.exists(f"/proc/{match[1]}"):
            _remove(name)


def _namespaces() -> list[str]:
    return [line.split()[0] for line in _ip("netns", "list").splitlines()]


def _remove(name: str) -> None:
    """Remove a namespace, and what still runs in it."""
    if name in _namespaces():
        # A host's programs may have left children, which would keep the namespace.
        for pid in _ip("netns", "pids", name).split():
            os.kill(int(pid), signal.SIGKILL)
        _ip("netns", "delete", name)


def _ip(*arguments: str) -> str:
    return _call("ip", *arguments)


def _call(*command: str) -> str:
    return subprocess.run(command, check=True, text=True, capture_output=True).stdout
