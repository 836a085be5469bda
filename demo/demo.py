"""
The daemon at work, for newcomers: make-believe devices come and go, and a table shows what becomes of them.

Nothing leaves this machine: SSDP is spoken on its loopback interface alone.
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
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from ssdpreg.ssdp.messages import GROUP, PORT

_HERE = Path(__file__).parent
_CONSUL = ("127.0.0.1", 8500)
_OWN_PORT = 8580
_INTERFACE = "lo"
#: Where the make-believe devices say how they are, as ``spoof.json`` has it.
_HEALTH_PORT = 8090
#: The device that comes and leaves, and how long it stays and is away, in seconds.
_VISITOR, _STAYS, _AWAY = "rackhd-2", 15, 8
#: Seconds between two looks at the catalogue.
_PERIOD = 0.5
#: Seconds after which something should be seen.
_PATIENCE = 10
#: The colour of each state, the worst last.
_COLOURS = {"passing": "green", "warning": "yellow", "critical": "red"}


class DemoError(Exception):
    """The demo cannot go on; the text says what to do about it."""


@dataclass(frozen=True, order=True)
class Row:
    """
    One registered service, as the table shows it.

    :ivar device: The first part of its UUID.
    :ivar health: The worst state of its checks.
    """

    service: str
    device: str
    address: str
    health: str


@dataclass(frozen=True)
class Catalogue:
    """
    Where the daemon writes, and readers ask.

    :ivar title: What it is, for people.
    :ivar url: What all of its paths follow.
    :ivar backend: The section of the daemon's configuration.
    """

    title: str
    url: str
    backend: dict[str, object]

    def rows(self) -> list[Row]:
        """
        Ask for all that this demo registered.

        :raise OSError: If nobody answers.
        """
        entries = (
            (entry["Service"], [check["Status"] for check in entry["Checks"]])
            for name in _get(f"{self.url}/v1/catalog/services")
            for entry in _get(f"{self.url}/v1/health/service/{name}")
        )
        return sorted(
            Row(
                service["Service"],
                service["Meta"]["ssdp-device"].partition("-")[0],
                f"{service['Address']}:{service['Port']}",
                max(states, key=list(_COLOURS).index),
            )
            for service, states in entries
            if "ssdp-device" in (service["Meta"] or {})
        )


def _get(url: str) -> Any:
    # It is here, whatever proxies the environment names.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=2) as response:
        return json.load(response)


@dataclass(frozen=True)
class Program:
    """
    A process in the background.

    :ivar name: What it is to people.
    :ivar log: The file that its output goes to.
    """

    name: str
    log: Path
    process: subprocess.Popen[bytes]

    def check(self) -> None:
        """
        See that it is there.

        :raise DemoError: If it has ended.
        """
        if self.process.poll() is not None:
            last = "\n".join(self.log.read_text(errors="replace").splitlines()[-10:])
            raise DemoError(f"The {self.name} ended by itself. The end of its log:\n\n{last}")


@contextmanager
def running(name: str, command: Sequence[str], folder: Path) -> Iterator[Program]:
    """Have a program run for as long as the context lasts."""
    log = folder / f"{name.replace(' ', '-')}.log"
    with log.open("ab") as output:
        # A session of its own: Ctrl-C is for us alone, who stop all in their order.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd=folder
        )
    try:
        yield Program(name, log, process)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def twistd(plugin: str, *arguments: str) -> list[str]:
    """Make the command that runs one of our plugins in the foreground."""
    program = shutil.which("twistd", path=str(Path(sys.executable).parent)) or "twistd"
    return [program, "--nodaemon", "--pidfile=", plugin, *arguments]


def check_network() -> None:
    """
    Do for a moment what the daemon is going to do.

    :raise DemoError: If it would fail.
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
                f"Another program has UDP port {PORT}, and does not share it. `ss -ulpn sport = {PORT}` (as root) shows"
                " which one: stop it while the demo runs."
            ) from None
        raise DemoError(
            f"Multicast does not work on the loopback interface: {error.strerror}. `ip link set lo up` (as root) may"
            " help; in a sandbox, try again outside of it."
        ) from None


def free_port(preferred: int) -> int:
    """Find a TCP port of 127.0.0.1 that can be listened on."""
    with socket.socket() as trial:
        # As servers do, who may follow one that has just ended.
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", preferred))
        except OSError:
            return free_port(0)
        port: int = trial.getsockname()[1]
        return port


def answers(url: str) -> bool:
    """Tell whether a URL can be fetched, and has something to say."""
    try:
        return bool(_get(url))
    except (OSError, ValueError):
        return False


def find_catalogue(stack: ExitStack, folder: Path, own_port: int, ended: threading.Event) -> Catalogue:
    """
    Choose the Consul that answers, or one that can be started, or neither.

    :param stack: Ends what had to be started.
    :param own_port: Where the daemon itself is going to answer.
    :param ended: Set when there is no need to go on.
    """
    url = "http://{}:{}".format(*_CONSUL)
    if answers(f"{url}/v1/status/leader"):
        if not answers(f"{url}/v1/agent/health/service/name/ssdpreg"):
            return consul(f"Consul, which answers at {url}", url)
        title = f"the daemon's own catalogue: another ssdpreg works with the Consul at {url}"
    elif program := shutil.which("consul"):
        command = (program, "agent", "-dev", f"-bind={_CONSUL[0]}", f"-http-port={_CONSUL[1]}")
        started = stack.enter_context(running("consul", command, folder))
        while not answers(f"{url}/v1/status/leader") and not ended.wait(0.1):
            started.check()
        return consul(f"Consul, started for the demo at {url} ({program})", url)
    else:
        title = "the daemon's own catalogue: no Consul answers at {}:{}, and none is on the PATH".format(*_CONSUL)
    return Catalogue(title, f"http://127.0.0.1:{own_port}", {"type": "embedded", "path": None})


def consul(title: str, url: str) -> Catalogue:
    """Describe a Consul."""
    return Catalogue(title, url, {"type": "consul", "address": url, "on_stop": "deregister"})


def write_configuration(path: Path, catalogue: Catalogue, own_port: int) -> None:
    """Write what the daemon is to read: ``registry.json``, kept to this machine, and in more of a hurry."""
    configuration = json.loads((_HERE.parent / "registry.json").read_text())
    configuration["ssdp"]["interfaces"] = [_INTERFACE]
    for check in configuration["ssdp"].get("checks", {}).values():
        check["interval"] = "2s"
    configuration["backend"] = catalogue.backend
    configuration["web"] = {"endpoint": f"tcp:{own_port}:interface=127.0.0.1"}
    path.write_text(json.dumps(configuration))


def write_devices(folder: Path, health_port: int) -> None:
    """Write what the announcers are to read: one device in ``visitor.json``, all others in ``devices.json``."""
    text = (_HERE / "spoof.json").read_text().replace(f":{_HEALTH_PORT}", f":{health_port}")
    devices = json.loads(text)["ssdp"]
    visitor = {_VISITOR: devices.pop(_VISITOR)}
    for name, chosen in (("devices.json", devices), ("visitor.json", visitor)):
        (folder / name).write_text(json.dumps({"ssdp": chosen}))


class Display:
    """
    Shows the catalogue: a table that changes in its place, or, where that cannot be, one after each change.

    :param console: Where to.
    :param catalogue: What is shown.
    :param page: URL of the daemon's status page.
    :param log: The daemon's, to be named where nothing is found.
    """

    def __init__(self, console: Console, catalogue: Catalogue, page: str, log: Path) -> None:
        self._console = console
        self._catalogue = catalogue
        self._page = page
        self._log = log
        self._patience = time.monotonic() + _PATIENCE
        self._rows: list[Row] = []
        self._news: list[str] = []
        self._shown: Sequence[object] = ()

    def show(self, live: Live | None) -> None:
        """
        Look, and show what there is to see, if it has changed.

        :param live: Shows it on a terminal.
        """
        # If nobody answers, the daemon is not there yet, or Consul is busy.
        with suppress(OSError):
            rows = self._catalogue.rows()
            self._tell(rows)
            self._rows = rows
        late = not self._rows and time.monotonic() > self._patience
        showing = (self._rows, late)
        if showing == self._shown:
            return
        self._shown = showing
        if live is not None:
            live.update(self._picture(late), refresh=True)
        elif self._rows or late:
            self._console.print(self._picture(late))

    def _tell(self, rows: list[Row]) -> None:
        """Note who came and who left."""
        then, now = ({(row.service, row.device) for row in each} for each in (self._rows, rows))
        if self._rows:
            for sign, changed in (("[green]+[/]", now - then), ("[red]-[/]", then - now)):
                self._news += [
                    f"{time.strftime('%X')} {sign} {service}  {device}" for service, device in sorted(changed)
                ]
        self._news = self._news[-3:]

    def _picture(self, late: bool) -> Group:
        url = self._catalogue.url
        table = Table("Service", "Device", "Address", "Health", box=SIMPLE_HEAD, pad_edge=False)
        for row in self._rows:
            table.add_row(row.service, row.device, row.address, f"[{_COLOURS[row.health]}]{row.health}[/]")
        return Group(
            f"Found, and registered in {self._catalogue.title}",
            table if self._rows else f"[red]Nothing yet. The daemon's log: {self._log}[/]" if late else "\n  …\n",
            *self._news,
            *([""] if self._news else []),
            "Ask for it (`| python3 -m json.tool` behind makes it easier to read):",
            f"  curl -s {url}/v1/catalog/services",
            f"  curl -s {url}/v1/catalog/service/RackHD-service:api:2.0",
            f"Look at it: {self._page}",
            "Ctrl-C ends it all.",
        )


def main() -> int:
    """Run the demo until a signal ends it, and return its exit status."""
    # A pipe or a file has no width.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: ended.set())
    try:
        run(console, ended)
    except DemoError as error:
        console.print(error, style="red", markup=False)
        return 1
    return 0


def run(console: Console, ended: threading.Event) -> None:
    """
    Run the demo.

    :param ended: Set by whoever wants to end it.
    :raise DemoError: If it cannot go on.
    """
    check_network()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ssdpreg-demo-")))
        own_port = free_port(_OWN_PORT)
        catalogue = find_catalogue(stack, folder, own_port, ended)
        write_configuration(folder / "registry.json", catalogue, own_port)
        health_port = free_port(_HEALTH_PORT)
        write_devices(folder, health_port)
        daemon = stack.enter_context(running("daemon", twistd("ssdpreg", "--config", "registry.json"), folder))
        announce = twistd("ssdpspoof", "--interface", _INTERFACE, "--config")
        command = (*announce, "devices.json", "--health", str(health_port))
        devices = stack.enter_context(running("announcer", command, folder))
        visits = threading.Thread(target=visit, args=((*announce, "visitor.json"), folder, ended))
        visits.start()
        stack.callback(visits.join)
        stack.callback(ended.set)
        display = Display(console, catalogue, f"http://127.0.0.1:{own_port}/", daemon.log)
        live = stack.enter_context(Live(console=console, auto_refresh=False)) if console.is_terminal else None
        while not ended.wait(_PERIOD):
            daemon.check()
            devices.check()
            display.show(live)


def visit(command: Sequence[str], folder: Path, ended: threading.Event) -> None:
    """Have a device come and leave, again and again."""
    while not ended.is_set():
        with running("visitor", command, folder):
            ended.wait(_STAYS)
        ended.wait(_AWAY)


if __name__ == "__main__":
    sys.exit(main())
