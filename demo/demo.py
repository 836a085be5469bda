"""
Demo of the daemon with test devices, on the loopback interface of this machine.

Starts Consul if one is on the PATH, the daemon, and announcers of test devices, one of which comes and leaves. Then
runs ``ssdpreg watch``, which prints each change of the registered services, until Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import errno
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssdpreg.cli.output import make_console, print_lines, print_message
from ssdpreg.ssdp.messages import GROUP, PORT

_DEMO = Path(__file__).parent
_CONSUL_PORT = 8500
_CONSUL_URL = f"http://127.0.0.1:{_CONSUL_PORT}"
#: Preferred port of the daemon's web server.
_WEB_PORT = 8580
#: Preferred port of the devices' health URLs, as in ``spoof.json``.
_HEALTH_PORT = 8090
_INTERFACE = "lo"
#: Service name of a device in ``spoof.json`` that is always present.
_SERVICE = "RackHD-service:api:2.0"
#: Name in ``spoof.json`` of the device that comes and leaves.
_VISITOR = "rackhd-2"
#: Seconds for which the visitor is present and absent.
_PRESENT, _ABSENT = 15, 8
#: Seconds between two checks of the processes.
_CHECK_INTERVAL = 0.5
#: Seconds after which a service should be registered.
_DISCOVERY_TIMEOUT = 10


class DemoError(Exception):
    """The demo cannot run. The text describes the cause and the remedy."""


@dataclass(frozen=True)
class Catalogue:
    """
    Service catalogue that the daemon writes to.

    :ivar title: Description for the user.
    :ivar url: Base URL of its HTTP API.
    :ivar backend: Section ``backend`` of the daemon's configuration.
    """

    title: str
    url: str
    backend: dict[str, object]


@dataclass(frozen=True)
class Program:
    """
    Process in the background.

    :ivar name: Name for the user.
    :ivar log: File with its output, or None if it writes to the output of the demo.
    """

    name: str
    log: Path | None
    process: subprocess.Popen[bytes]

    def check(self) -> None:
        """
        Check that the process is running.

        :raise DemoError: If it has ended.
        """
        if self.process.poll() is not None:
            message = f"The {self.name} ended unexpectedly."
            if self.log is not None:
                lines = self.log.read_text(errors="replace").splitlines()
                message = "\n".join([f"{message} End of its log:", "", *lines[-10:]])
            raise DemoError(message)


class Demo:
    """
    Processes of the demo, and the time at which it ends.

    :param folder: Folder for configuration files and logs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ended = threading.Event()
        self._programs: list[Program] = []

    @property
    def ended(self) -> bool:
        """Whether the user has ended the demo."""
        return self._ended.is_set()

    def end(self) -> None:
        """End the demo. May be called by a signal handler."""
        self._ended.set()

    @contextmanager
    def running(self, name: str, command: Sequence[str], *, show: bool = False) -> Iterator[Program]:
        """
        Run a program until the end of the context.

        :param show: Whether the program writes to the output of the demo, or to a log file.
        """
        log = None if show else self.folder / f"{name.replace(' ', '-')}.log"
        with ExitStack() as files:
            output = None if log is None else files.enter_context(log.open("ab"))
            # A new session: Ctrl-C reaches only the demo, which stops the programs in the right order.
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd=self.folder,
            )
        program = Program(name, log, process)
        self._programs.append(program)
        try:
            yield program
        finally:
            self._programs.remove(program)
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def wait(self, seconds: float) -> None:
        """
        Wait, at most until the user ends the demo.

        :raise DemoError: If a program ends in the meantime.
        """
        deadline = time.monotonic() + seconds
        while not self.ended and (remaining := deadline - time.monotonic()) > 0:
            for program in self._programs:
                program.check()
            self._ended.wait(min(remaining, _CHECK_INTERVAL))

    def wait_for(self, url: str) -> None:
        """
        Wait until a URL returns a value that is not empty, at most until the user ends the demo.

        :raise DemoError: If a program ends in the meantime.
        """
        while not self.ended and not fetch(url):
            self.wait(0.1)


def fetch(url: str) -> Any:
    """Return the JSON document at a URL, or None if there is no response with JSON."""
    # The servers are on this machine: do not use the proxies of the environment.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as response:
            return json.load(response)
    except (OSError, ValueError):
        return None


def twistd(plugin: str, *arguments: str) -> list[str]:
    """Return the command that runs a plugin in the foreground."""
    program = shutil.which("twistd", path=str(Path(sys.executable).parent)) or "twistd"
    return [program, "--nodaemon", "--pidfile=", plugin, *arguments]


def check_network() -> None:
    """
    Open a socket as the daemon will do.

    :raise DemoError: If multicast does not work, or the port is in use.
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((GROUP, PORT))
            membership = socket.inet_aton(GROUP) + socket.inet_aton("127.0.0.1")
            trial.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise DemoError(
                f"Another program uses UDP port {PORT} exclusively. Find it with `ss -ulpn sport = {PORT}` (as root),"
                " and stop it while the demo runs."
            ) from None
        raise DemoError(
            f"Multicast does not work on the loopback interface: {error.strerror}. Try `ip link set lo up` (as root);"
            " in a sandbox, run the demo outside of it."
        ) from None


def find_free_port(preferred: int) -> int:
    """Return a TCP port of 127.0.0.1 that is not in use: the preferred one if possible."""
    with socket.socket() as trial:
        # As servers do: a connection of the previous server may still be closing.
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", preferred))
        except OSError:
            return find_free_port(0)
        port: int = trial.getsockname()[1]
        return port


def choose_catalogue(demo: Demo, stack: ExitStack, web_port: int) -> Catalogue:
    """
    Return a running Consul, a Consul that is started for the demo, or the daemon's own catalogue.

    :param stack: Stops the started Consul.
    :param web_port: Port of the daemon's web server.
    """
    if fetch(f"{_CONSUL_URL}/v1/status/leader"):
        if not fetch(f"{_CONSUL_URL}/v1/agent/health/service/name/ssdpreg"):
            return make_consul_catalogue(f"the Consul at {_CONSUL_URL}")
        title = f"the daemon's own catalogue (another ssdpreg uses the Consul at {_CONSUL_URL})"
    elif program := shutil.which("consul"):
        command = (program, "agent", "-dev", "-bind=127.0.0.1", f"-http-port={_CONSUL_PORT}")
        stack.enter_context(demo.running("consul", command))
        demo.wait_for(f"{_CONSUL_URL}/v1/status/leader")
        return make_consul_catalogue(f"the Consul at {_CONSUL_URL}, started for the demo ({program})")
    else:
        title = f"the daemon's own catalogue (no Consul at {_CONSUL_URL}, and none on the PATH)"
    return Catalogue(title, f"http://127.0.0.1:{web_port}", {"type": "embedded", "path": None})


def make_consul_catalogue(title: str) -> Catalogue:
    """Return a catalogue in Consul, from which the daemon removes its services at the end."""
    return Catalogue(title, _CONSUL_URL, {"type": "consul", "address": _CONSUL_URL, "on_stop": "deregister"})


def write_configuration(path: Path, catalogue: Catalogue, web_port: int) -> None:
    """Write the daemon's configuration: ``registry.json`` on the loopback interface, with faster checks."""
    configuration = json.loads((_DEMO.parent / "registry.json").read_text())
    configuration["ssdp"]["interfaces"] = [_INTERFACE]
    for check in configuration["ssdp"].get("checks", {}).values():
        check["interval"] = "2s"
    configuration["backend"] = catalogue.backend
    configuration["web"] = {"endpoint": f"tcp:{web_port}:interface=127.0.0.1"}
    path.write_text(json.dumps(configuration))


def write_devices(folder: Path, health_port: int) -> None:
    """Write the announcers' configurations: one device in ``visitor.json``, all others in ``devices.json``."""
    text = (_DEMO / "spoof.json").read_text().replace(f":{_HEALTH_PORT}", f":{health_port}")
    devices = json.loads(text)["ssdp"]
    visitor = {_VISITOR: devices.pop(_VISITOR)}
    for name, selected in (("devices.json", devices), ("visitor.json", visitor)):
        (folder / name).write_text(json.dumps({"ssdp": selected}))


def list_introduction(catalogue: Catalogue, page: str) -> list[str]:
    """
    Return the lines to print before the changes.

    :param page: URL of the status page.
    """
    return [
        f"Services are registered in {catalogue.title}.",
        f"Status page: {page}",
        "Queries (append `| python3 -m json.tool` for indented output):",
        f"  curl -s {catalogue.url}/v1/catalog/services",
        f"  curl -s {catalogue.url}/v1/catalog/service/{_SERVICE}",
        f"Changes, as printed by `ssdpreg watch --url {catalogue.url}` (Ctrl-C ends the demo):",
        "",
    ]


def run(demo: Demo) -> None:
    """
    Run the demo until the user ends it.

    :raise DemoError: If it cannot run.
    """
    check_network()
    with ExitStack() as stack:
        web_port = find_free_port(_WEB_PORT)
        page = f"http://127.0.0.1:{web_port}/"
        catalogue = choose_catalogue(demo, stack, web_port)
        write_configuration(demo.folder / "registry.json", catalogue, web_port)
        health_port = find_free_port(_HEALTH_PORT)
        write_devices(demo.folder, health_port)

        daemon = stack.enter_context(demo.running("daemon", twistd("ssdpreg", "--config", "registry.json")))
        announce = twistd("ssdpspoof", "--interface", _INTERFACE, "--config")
        command = [*announce, "devices.json", "--health", str(health_port)]
        stack.enter_context(demo.running("announcer", command))
        demo.wait_for(f"{page}v1/status/leader")
        if demo.ended:
            return
        print_lines(make_console(), list_introduction(catalogue, page))
        command = [sys.executable, "-m", "ssdpreg", "watch", "--url", catalogue.url]
        stack.enter_context(demo.running("watch command", command, show=True))
        with demo.running("visitor", [*announce, "visitor.json"]):
            demo.wait(_DISCOVERY_TIMEOUT)
            if not demo.ended and not fetch(f"{catalogue.url}/v1/catalog/service/{_SERVICE}"):
                print_message(f"No service is registered after {_DISCOVERY_TIMEOUT} s. Log of the daemon: {daemon.log}")
            demo.wait(_PRESENT - _DISCOVERY_TIMEOUT)
        while not demo.ended:
            demo.wait(_ABSENT)
            with demo.running("visitor", [*announce, "visitor.json"]):
                demo.wait(_PRESENT)


def main() -> int:
    """Run the demo until a signal ends it, and return its exit status."""
    with tempfile.TemporaryDirectory(prefix="ssdpreg-demo-") as folder:
        demo = Demo(Path(folder))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: demo.end())
        try:
            run(demo)
        except DemoError as error:
            for line in str(error).splitlines():
                print_message(line)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
