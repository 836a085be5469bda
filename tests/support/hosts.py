"""
Local network of several hosts on one machine: one network namespace per host, and one for the bridge between them.

    with Lan() as lan:
        bmc, rack = lan.host("10.77.0.2"), lan.host("10.77.0.3")
        daemon = rack.run(["twistd", "-n", "--pidfile=", "ssdpreg"])
        bmc.send(datagram)
        rack.http("/v1/catalog/services", port=8580).json()

It is isolated from the machine's network. It needs root and ``ip``; a test case that uses it sets
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
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, cast

from tests.support.waiting import wait_until

T = TypeVar("T")

#: Multicast group and port of SSDP. Not imported, so that a mistake in the code under test is not repeated here.
SSDP = ("239.255.255.250", 1900)
#: First part of the name of each namespace. The ID of the process that created it follows.
_PREFIX = "ssdpreg"
#: Name of the network card in each host's namespace, and of the bridge.
_CARD = "eth0"
_BRIDGE = "br0"

_serial = itertools.count()
_libc = ctypes.CDLL(None, use_errno=True)


def unavailable() -> str | None:
    """
    Return why hosts cannot be created on this machine, for the ``skip`` attribute of a test case.

    :return: The missing requirement, or ``None``. Always ``None`` if ``SSDPREG_REQUIRE_ALL`` is set, so that tests fail
        instead of being skipped.
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


@dataclass(frozen=True)
class Answer:
    """
    Response of an HTTP server.

    :ivar status: Status code, such as 200.
    :ivar headers: Values by name in lower case.
    :ivar body: Body, not decoded.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Parse the body as JSON."""
        return json.loads(self.body)


class Program:
    """
    Process on a host.

    :ivar process: The process, with ``pid`` and ``returncode``.
    :ivar log: File with its standard output and standard error.
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
        """Whether the process has not exited."""
        return self.process.poll() is None

    @property
    def output(self) -> str:
        """Standard output and standard error until now."""
        return self.log.read_text(errors="replace")

    def wait_for(self, pattern: str, seconds: float = 10.0) -> re.Match[str]:
        """
        Wait until the output matches a pattern.

        :param pattern: Regular expression, in which ``^`` and ``$`` match at each line.
        :return: The first match.
        :raise AssertionError: If there is no match in time, or the process exits without one.
        """

        def find() -> re.Match[str] | None:
            exited = not self.running
            match = re.search(pattern, self.output, re.MULTILINE)
            if match is None and exited:
                raise AssertionError(f"exited with {self.process.returncode}")
            return match

        try:
            # The process may write and exit between the two: the output is read after the state.
            return cast("re.Match[str]", wait_until(find, seconds, 0.02))
        except AssertionError as error:
            raise AssertionError(f"No match for {pattern!r} ({error}):\n{self.output}") from None

    def signal(self, number: int) -> None:
        """Send a signal, such as :data:`signal.SIGSTOP`."""
        self.process.send_signal(number)

    def stop(self, seconds: float = 10.0) -> int:
        """
        Send SIGTERM, and wait until the process has exited. It may have exited before.

        :return: Exit status; the negative number of the signal if a signal ended it.
        :raise AssertionError: If it did not exit in time and was killed.
        """
        self.process.terminate()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"Did not stop in {seconds} s:\n{self.output}") from None

    def kill(self) -> None:
        """Send SIGKILL, and wait until the process has exited. It may have exited before."""
        self.process.kill()
        self.process.wait()


class Host:
    """
    Host with one network card and a loopback interface. Created by :meth:`Lan.host`.

    :ivar name: Name of its network namespace.
    :ivar address: IPv4 address of the card, without the prefix length.
    :ivar ipv6: IPv6 address of the card that is not link-local, without the prefix length; empty without IPv6.
    """

    def __init__(self, name: str, address: str, ipv6: str, port: str, lan: Lan) -> None:
        self.name = name
        self.address = address
        self.ipv6 = ipv6
        self._port = port
        self._lan = lan
        self._programs: list[Program] = []

    def run(self, command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str | None = None) -> Program:
        """
        Start a process on this host. It is killed when the LAN is closed.

        :param command: Program and arguments.
        :param env: Environment variables to set in addition to those of this process.
        :param cwd: Working directory.
        """
        log = self._lan.folder / f"{self.name}-{len(self._programs)}.log"
        program = Program(("ip", "netns", "exec", self.name, *command), log, env or {}, cwd)
        self._programs.append(program)
        return program

    def call(self, command: Sequence[str]) -> str:
        """
        Run a command on this host, and wait until it has exited.

        :return: Its standard output.
        :raise subprocess.CalledProcessError: If its exit status is not 0.
        """
        return _call("ip", "netns", "exec", self.name, *command)

    def pids(self) -> list[int]:
        """Return the IDs of all processes on this host."""
        return [int(pid) for pid in _ip("netns", "pids", self.name).split()]

    def inside(self, function: Callable[[], T]) -> T:
        """
        Call a function in a thread of this host's network namespace. Sockets that it opens stay in the namespace.

        :return: The result of the function. An exception of the function is raised again.
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
        Send an HTTP request from this host.

        :param path: Path and query, such as ``/v1/health/service/x?passing``.
        :param port: Port of the server; by default Consul's.
        :param host: Address of the server; by default this host.
        :param body: Value to send as JSON, or ``None`` for no body.
        :param seconds: Longest wait for a response.
        :raise OSError: If there is no response.
        """

        def request() -> Answer:
            connection = http.client.HTTPConnection(host, port, timeout=seconds)
            try:
                connection.request(method, path, None if body is None else json.dumps(body))
                response = connection.getresponse()
                headers = {name.lower(): value for name, value in response.getheaders()}
                return Answer(response.status, headers, response.read())
            finally:
                connection.close()

        return self.inside(request)

    def send(
        self,
        *datagrams: bytes,
        to: tuple[str, int] = SSDP,
        source_port: int = 0,
        ttl: int = 2,
    ) -> None:
        """
        Send datagrams from this host's card.

        :param to: Destination; by default the SSDP group.
        :param source_port: Port to send from; 0 for any.
        """

        def write() -> None:
            with self._socket(source_port) as sender:
                sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, ttl)
                for datagram in datagrams:
                    sender.sendto(datagram, to)

        self.inside(write)

    def listen(self, port: int = 0) -> socket.socket:
        """
        Open a UDP socket on this host's card. With port 1900 it joins the SSDP group too. The caller closes it.

        :param port: Port to bind to; 0 for any.
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
        """Replace the IPv4 address of the card."""
        _ip("-n", self.name, "address", "flush", "dev", _CARD, "scope", "global")
        _ip("-n", self.name, "address", "add", f"{address}/24", "broadcast", "+", "dev", _CARD)
        self.address = address

    def set_ipv6(self, interface: str, setting: str) -> None:
        """
        Change a setting of the kernel for IPv6, if it has IPv6.

        :param interface: Name of the interface, ``default`` for later ones.
        :param setting: Such as ``disable_ipv6=1``.
        """
        name, _, value = setting.partition("=")

        def write() -> None:
            with suppress(FileNotFoundError):
                Path(f"/proc/sys/net/ipv6/conf/{interface}/{name}").write_text(value)

        self.inside(write)

    @property
    def link_local(self) -> str:
        """Link-local IPv6 address of the card, without a zone."""
        command = ["ip", "-6", "-o", "address", "show", "dev", _CARD, "scope", "link"]
        lines = wait_until(lambda: self.call(command).split())
        return lines[lines.index("inet6") + 1].partition("/")[0]

    def wait_for_card(self, name: str) -> None:
        """Wait until a card, both ends of which are up, sends datagrams."""
        _wait_for_link(self.name, name)

    def unplug(self) -> None:
        """Disconnect the card from the network: it keeps its address and loses its carrier."""
        _ip("-n", self._lan.name, "link", "set", self._port, "down")

    def plug(self) -> None:
        """Connect the card to the network again."""
        _ip("-n", self._lan.name, "link", "set", self._port, "up")
        _wait_for_link(self._lan.name, self._port)

    def close(self) -> None:
        """Kill the processes started here. The host itself is removed with its LAN."""
        for program in self._programs:
            program.kill()
        self._programs.clear()


class Lan:
    """
    Broadcast domain without a route to other networks. Its hosts' addresses determine its network.

    :ivar name: Name of the network namespace with the bridge.
    :ivar folder: Folder for logs and other files, which is removed when the LAN is closed.
    """

    def __init__(self) -> None:
        _remove_stale()
        self.name = f"{_PREFIX}-{os.getpid()}-{next(_serial)}"
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        self._hosts: list[Host] = []
        # An interrupted test does not run its clean-ups.
        atexit.register(self.close)
        try:
            _ip("netns", "add", self.name)
            # Without snooping: no router queries memberships here, so the bridge would not learn them.
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

    def host(self, address: str, ipv6: str = "") -> Host:
        """
        Create a host, connected to this network.

        :param address: IPv4 address, such as ``10.77.0.2``. The prefix length is 24. Empty for a host without IPv4.
        :param ipv6: IPv6 address, such as ``fd00:77::2``. The prefix length is 64. The host has a link-local address,
            too. Empty for a host without IPv6.
        """
        number = len(self._hosts)
        host = Host(f"{self.name}-{number}", address, ipv6, f"port{number}", self)
        self._hosts.append(host)
        _ip("netns", "add", host.name)
        _ip("-n", host.name, "link", "set", "lo", "up")
        _ip("-n", host.name, "link", "add", _CARD, "type", "veth", "peer", "name", host._port, "netns", self.name)
        _ip("-n", self.name, "link", "set", host._port, "master", _BRIDGE, "up")
        # Without the detection of duplicates, which takes two seconds.
        setting = "accept_dad=0" if ipv6 else "disable_ipv6=1"
        host.set_ipv6("default", setting)
        host.set_ipv6(_CARD, setting)
        _ip("-n", host.name, "link", "set", _CARD, "up")
        _wait_for_link(host.name, _CARD)
        _wait_for_link(self.name, host._port)
        if address:
            host.move(address)
        if ipv6:
            _ip("-n", host.name, "address", "add", f"{ipv6}/64", "dev", _CARD, "nodad")
        return host

    def add_card(self, host: Host, name: str, address: str) -> None:
        """
        Connect a host to this network by one more card.

        :param name: Name of the card on the host.
        :param address: IPv4 address. The prefix length is 24.
        """
        port = f"{host._port}-{name}"
        _ip("-n", host.name, "link", "add", name, "type", "veth", "peer", "name", port, "netns", self.name)
        _ip("-n", self.name, "link", "set", port, "master", _BRIDGE, "up")
        _ip("-n", host.name, "link", "set", name, "up")
        _wait_for_link(host.name, name)
        _wait_for_link(self.name, port)
        _ip("-n", host.name, "address", "add", f"{address}/24", "dev", name)

    def close(self) -> None:
        """Kill all processes, and remove the hosts and the network. May be called again."""
        atexit.unregister(self.close)
        for host in self._hosts:
            host.close()
            _remove(host.name)
        self._hosts.clear()
        _remove(self.name)
        shutil.rmtree(self.folder, ignore_errors=True)


def _remove_stale() -> None:
    """Remove the namespaces of test runs that were killed."""
    for name in _namespaces():
        if (match := re.fullmatch(rf"{_PREFIX}-(\d+)-.*", name)) and not os.path.exists(f"/proc/{match[1]}"):
            _remove(name)


def _namespaces() -> list[str]:
    return [line.split()[0] for line in _ip("netns", "list").splitlines()]


def _remove(name: str) -> None:
    """Remove a namespace, and kill the processes in it. Another test run may remove it at the same time."""
    try:
        if name in _namespaces():
            # Children of a host's programs may still run, and would keep the namespace.
            for pid in _ip("netns", "pids", name).split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            _ip("netns", "delete", name)
    except subprocess.CalledProcessError:
        if name in _namespaces():
            raise


def _wait_for_link(namespace: str, name: str) -> None:
    # The kernel sets the state in the background, and the card drops what is sent before.
    wait_until(lambda: "state UP" in _ip("-n", namespace, "link", "show", "dev", name), every=0.01, what=name)


def _ip(*arguments: str) -> str:
    return _call("ip", *arguments)


def _call(*command: str) -> str:
    return subprocess.run(command, check=True, text=True, capture_output=True).stdout
