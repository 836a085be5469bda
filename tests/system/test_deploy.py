"""Tests for ``deploy/``: the files that it names exist, and the commands in it work."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg import config
from ssdpreg.announcer import devices
from tests.support import hosts
from tests.support.consul import find_consul, skip_without_consul
from tests.support.hosts import Host, Lan, Program
from tests.support.paths import ROOT
from tests.support.programs import skip_without
from tests.support.rack import API, notify, twistd
from tests.support.waiting import wait_until

_DEPLOY = ROOT / "deploy"
_UNIT = _DEPLOY / "ssdpreg.service"
_CONTAINERFILE = (_DEPLOY / "Containerfile").read_text()
_COMPOSE = yaml.safe_load((_DEPLOY / "compose.yaml").read_text())
_SERVICES: dict[str, dict[str, Any]] = _COMPOSE["services"]

#: Format of ``struct ucred``: see unix(7).
_CREDENTIALS = "3i"


class _Unit(configparser.ConfigParser):
    """Parser of the unit, for keys that occur once."""

    def __init__(self) -> None:
        super().__init__(interpolation=None, strict=False)
        # The keys of units are case-sensitive.
        self.optionxform = str  # type: ignore[assignment,method-assign]
        self.read(_UNIT)

    def command(self, key: str, words: Mapping[str, str]) -> list[str]:
        """
        Return the command of a key in the section ``Service``.

        :param words: Replacements for words of the command.
        """
        return [words.get(word, word) for word in shlex.split(self["Service"][key])]


class _NotifySocket:
    """Socket on which a service manager receives notifications: see sd_notify(3)."""

    def __init__(self, folder: Path) -> None:
        # A relative path, because the address of a UNIX socket has at most 108 bytes.
        self.address = os.path.relpath(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.settimeout(20)

    def receive(self) -> tuple[str, int]:
        """Wait for the next notification, and return it with the process ID of its sender."""
        state, ancillary, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(struct.calcsize(_CREDENTIALS)))
        (_, _, credentials) = ancillary[0]
        return state.decode(), struct.unpack(_CREDENTIALS, credentials)[0]

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class UnitCheckTests(SynchronousTestCase):
    """Tests for the unit with ``systemd-analyze``."""

    skip = skip_without("systemd-analyze", "systemd")

    def test_verify(self) -> None:
        """``systemd-analyze verify`` accepts the unit."""
        folder = Path(self.mktemp())
        folder.mkdir()
        copy = folder / _UNIT.name
        # The program of the unit is missing on this machine.
        program, *_ = _Unit().command("ExecStart", {})
        copy.write_text(_UNIT.read_text().replace(program, sys.executable))
        ended = subprocess.run(["systemd-analyze", "verify", copy], text=True, capture_output=True, check=False)
        self.assertEqual((ended.returncode, ended.stdout + ended.stderr), (0, ""))


class UnitTests(SynchronousTestCase):
    """Tests for the behaviour of the daemon that the unit relies on."""

    skip = hosts.unavailable()

    def setUp(self) -> None:
        self.unit = _Unit()
        lan = Lan()
        self.addCleanup(lan.close)
        self.host = lan.host("10.77.0.3")
        self.device = lan.host("10.77.0.9")
        self.notify_socket = _NotifySocket(lan.folder)
        self.addCleanup(self.notify_socket.close)
        self.config = lan.folder / "registry.json"
        self.config.write_text(json.dumps({"ssdp": {"tags": {"T": [API]}}, "backend": {"type": "embedded"}}))

    def start(self) -> Program:
        """Start the daemon as the unit does, but with a watchdog of one second."""
        program, *arguments = self.unit.command("ExecStart", {"/etc/ssdpreg/registry.json": str(self.config)})
        self.assertEqual((Path(program).name, arguments[:2]), ("twistd", ["-n", "--pidfile="]))
        env = {"NOTIFY_SOCKET": str(Path(self.notify_socket.address).absolute()), "WATCHDOG_USEC": "1000000"}
        return self.host.run(twistd(*arguments[2:]), env=env, cwd=str(ROOT))

    def test_notifications(self) -> None:
        """The main process sends READY when its sockets are open, then WATCHDOG, and STOPPING after SIGTERM."""
        daemon = self.start()
        main = daemon.process.pid
        self.assertEqual(self.notify_socket.receive(), ("READY=1", main))
        self.assertIn("Listening on eth0 at 10.77.0.3", daemon.output)
        self.device.send(notify(API, "d", "http://10.77.0.9:80/"))
        daemon.wait_for("Registered .* at 10.77.0.9:80")
        self.assertEqual([self.notify_socket.receive() for _ in range(3)], [("WATCHDOG=1", main)] * 3)
        # systemd regards an end by SIGTERM as success.
        self.assertEqual(daemon.stop(), -signal.SIGTERM)
        received: list[str] = []
        while "STOPPING=1" not in received:
            state, sender = self.notify_socket.receive()
            self.assertEqual(sender, main)
            received.append(state)

    def test_reload(self) -> None:
        """``ExecReload`` makes the same process read the configuration again."""
        daemon = self.start()
        self.notify_socket.receive()
        self.config.write_text(json.dumps({"ssdp": {"tags": {"U": [API]}}, "backend": {"type": "embedded"}}))
        subprocess.run(self.unit.command("ExecReload", {"$MAINPID": str(daemon.process.pid)}), check=True)
        daemon.wait_for("Configuration reloaded")
        self.assertTrue(daemon.running)

    def test_faulty_configuration(self) -> None:
        """A faulty configuration ends the daemon with the exit status that prevents a restart."""
        self.config.write_text("{}")
        daemon = self.start()
        status = daemon.process.wait(20)
        self.assertEqual(str(status), self.unit["Service"]["RestartPreventExitStatus"], daemon.output)
        self.assertIn("ssdp: ", daemon.output)


def _instruction(name: str) -> list[str]:
    """Return the command of an instruction of the Containerfile, which must occur once."""
    (found,) = re.findall(rf"^{name}\b.*?(\[.*\])$", _CONTAINERFILE, re.MULTILINE)
    command: list[str] = json.loads(found)
    return command


class ContainerfileTests(SynchronousTestCase):
    """Tests for the Containerfile without a container engine."""

    def test_sources(self) -> None:
        """A wheel that is built from the copied files contains all files of the package."""
        source = Path(self.mktemp()).absolute()
        source.mkdir()
        for line in re.findall(r"^COPY (.*)$", _CONTAINERFILE, re.MULTILINE):
            *names, target = line.split()
            for name in names:
                if (ROOT / name).is_dir():
                    shutil.copytree(ROOT / name, source / Path(target).relative_to("/src"))
                else:
                    shutil.copy(ROOT / name, source)
        build = "from setuptools.build_meta import build_wheel; print(build_wheel('.'))"
        built = subprocess.run([sys.executable, "-c", build], cwd=source, text=True, capture_output=True, check=True)
        with zipfile.ZipFile(source / built.stdout.splitlines()[-1]) as wheel:
            packed = set(wheel.namelist())
        files = [path for path in (ROOT / "ssdpreg").rglob("*") if path.is_file() and path.suffix != ".pyc"]
        self.assertEqual({path.relative_to(ROOT).as_posix() for path in files} - packed, set())

    def test_user(self) -> None:
        """The image runs its program as a user that is not root."""
        user = re.findall(r"^USER (.*)$", _CONTAINERFILE, re.MULTILINE)
        self.assertEqual(user, ["ssdpreg"])
        self.assertLess(_CONTAINERFILE.index("USER"), _CONTAINERFILE.index("ENTRYPOINT"))


class ComposeFileTests(SynchronousTestCase):
    """Tests for the files that the compose file names."""

    def test_files(self) -> None:
        """The build context and the mounted files exist."""
        build = _SERVICES["ssdpreg"]["build"]
        self.assertEqual((_DEPLOY / build["context"]).resolve(), ROOT)
        self.assertTrue((ROOT / build["dockerfile"]).is_file())
        for mounts in (service.get("volumes", []) for service in _SERVICES.values()):
            for mount in mounts:
                self.assertTrue((_DEPLOY / mount.split(":")[0]).is_file(), mount)

    def test_addresses(self) -> None:
        """The addresses in the configuration files are those of the containers."""
        read = config.load(str(_DEPLOY / "registry.container.json"))
        assert isinstance(read.backend, config.ConsulConfig)
        self.assertEqual(read.backend.address, f"{_address('consul')}:8500")
        announced = devices.load(str(_DEPLOY / "spoof.container.json"))
        locations = {location for device in announced for location in device.locations}
        self.assertEqual(locations, {f"http://{_address('announcer')}:8090/"})

    def test_prometheus(self) -> None:
        """``promtool`` accepts the configuration of Prometheus."""
        if reason := skip_without("promtool", "prometheus"):
            self.skipTest(reason)
        subprocess.run(
            ["promtool", "check", "config", _DEPLOY / "prometheus.yml"], check=True, stdout=subprocess.DEVNULL
        )


def _address(service: str) -> str:
    address: str = _SERVICES[service]["networks"]["lan"]["ipv4_address"]
    return address


class ComposeTests(SynchronousTestCase):
    """Tests for the compose file: each command runs on a separate host instead of a container."""

    skip = hosts.unavailable() or skip_without_consul

    def setUp(self) -> None:
        self.lan = Lan()
        self.addCleanup(self.lan.close)
        # Bridges of container engines do IGMP snooping.
        snoop = "ip -n NAME link set br0 type bridge mcast_snooping 1"
        subprocess.run([self.lan.name if word == "NAME" else word for word in snoop.split()], check=True)
        self.hosts: dict[str, Host] = {name: self.lan.host(_address(name)) for name in _SERVICES}

    def start(self, name: str) -> Program:
        """Run the command of a container with the files that are mounted in it."""
        service = _SERVICES[name]
        mounted = {}
        for mount in service.get("volumes", []):
            source, target, _ = mount.split(":")
            mounted[target] = str((_DEPLOY / source).resolve())
        command = service.get("command") or _DEFAULTS[name]
        return self.hosts[name].run(_PROGRAMS[name](*(mounted.get(word, word) for word in command)), cwd=str(ROOT))

    def services(self) -> set[str]:
        """Return the names in Consul's catalog, or an empty set before Consul responds."""
        try:
            return set(self.hosts["ssdpreg"].http("/v1/catalog/services", host=_address("consul")).json())
        except (OSError, ValueError):
            return set()

    def test_announced_and_stopped(self) -> None:
        """The announced services are registered, pass Consul's check, and are deregistered when the announcer stops."""
        self.start("consul")
        self.start("ssdpreg")
        announcer = self.start("announcer")
        announced = {
            "Inservice-agent-inservice:agent:0",
            *(f"Inservice-service:{name}:0.1" for name in ("agent", "lldp", "catalog-compute")),
            *(f"RackHD-{name}" for name in ("service:api:1.1", "service:redfish-rest:1.0", "device:on-http:1")),
            "RackHD-service:api:2.0",
        }
        wait_until(lambda: self.services() >= announced, 60)
        path = "/v1/health/service/RackHD-service:api:2.0?passing"
        wait_until(lambda: self.hosts["ssdpreg"].http(path, host=_address("consul")).json(), 30)

        # The health check of the image, and the published port.
        _, *probe = _instruction("HEALTHCHECK")
        self.hosts["ssdpreg"].call([sys.executable, *probe])
        answer = self.hosts["consul"].http("/v1/catalog/services", host=_address("ssdpreg"), port=8580)
        self.assertEqual(set(answer.json()) & announced, announced)

        announcer.stop()
        wait_until(lambda: not self.services() & announced, 30)

    def test_prometheus(self) -> None:
        """Prometheus scrapes the daemon, and the services that the daemon lists."""
        if reason := skip_without("prometheus", "prometheus"):
            self.skipTest(reason)
        for name in _SERVICES:
            self.start(name)

        def targets() -> set[tuple[str, str, str]]:
            try:
                answer = self.hosts["prometheus"].http("/api/v1/targets?state=active", port=9090)
                found = answer.json()["data"]["activeTargets"]
            except (OSError, ValueError):
                return set()
            return {(each["labels"]["job"], each["labels"]["instance"], each["health"]) for each in found}

        # Prometheus reads the list every 15 s. The first time it is empty.
        wait_until(
            lambda: {target[:2] for target in targets()} >= {("registered", f"{_address('announcer')}:8090")},
            60,
            every=0.5,
        )
        wait_until(lambda: ("ssdpreg", f"{_address('ssdpreg')}:8580", "up") in targets(), 30, every=0.5)


def _run_image(*arguments: str) -> list[str]:
    assert _instruction("ENTRYPOINT") == ["twistd", "-n", "--pidfile="]
    return twistd(*arguments)


def _run_consul(*arguments: str) -> list[str]:
    return [find_consul() or "consul", *arguments]


def _run_prometheus(*arguments: str) -> list[str]:
    # The path of the image does not exist on this host.
    folder = Path("prometheus").absolute()
    return ["prometheus", f"--storage.tsdb.path={folder}", *arguments]


#: Commands of the images by service, and their default arguments.
_PROGRAMS = {"consul": _run_consul, "ssdpreg": _run_image, "announcer": _run_image, "prometheus": _run_prometheus}
_DEFAULTS = {
    "ssdpreg": _instruction("CMD"),
    "prometheus": [f"--config.file={_DEPLOY / 'prometheus.yml'}"],
}
