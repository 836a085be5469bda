"""Tests for ``deploy/``: what it names is there, and what its files run does what they are for."""

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
from tests.support.hosts import Host, Lan, Program, wait_until
from tests.support.paths import ROOT
from tests.support.programs import skip_without
from tests.support.rack import API, notify, twistd

_DEPLOY = ROOT / "deploy"
_UNIT = _DEPLOY / "ssdpreg.service"
_CONTAINERFILE = (_DEPLOY / "Containerfile").read_text()
_COMPOSE = yaml.safe_load((_DEPLOY / "compose.yaml").read_text())
_SERVICES: dict[str, dict[str, Any]] = _COMPOSE["services"]

#: Of ``struct ucred``: see unix(7).
_CREDENTIALS = "3i"


class _Unit(configparser.ConfigParser):
    """The unit as far as each of its keys stands there once."""

    def __init__(self) -> None:
        super().__init__(interpolation=None, strict=False)
        # Keys of units have capitals.
        self.optionxform = str  # type: ignore[assignment,method-assign]
        self.read(_UNIT)

    def command(self, key: str, words: Mapping[str, str]) -> list[str]:
        """
        Give the command that a key of the service has.

        :param words: What stands here for the words of the unit.
        """
        return [words.get(word, word) for word in shlex.split(self["Service"][key])]


class _Manager:
    """The end of a service manager at which a daemon tells of itself."""

    def __init__(self, folder: Path) -> None:
        # Relative, for such an address must not be long.
        self.address = os.path.relpath(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.settimeout(20)

    def hear(self) -> tuple[str, int]:
        """Wait for what is told next, and by which process."""
        state, ancillary, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(struct.calcsize(_CREDENTIALS)))
        (_, _, credentials) = ancillary[0]
        return state.decode(), struct.unpack(_CREDENTIALS, credentials)[0]

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()


class UnitCheckTests(SynchronousTestCase):
    """Tests for the unit, by systemd's own tool."""

    skip = skip_without("systemd-analyze", "systemd")

    def test_verify(self) -> None:
        """systemd understands all of it, and nothing that it would want to start is missing."""
        folder = Path(self.mktemp())
        folder.mkdir()
        copy = folder / _UNIT.name
        # Of what the unit names, the one that is not there unless it is installed so.
        program, *_ = _Unit().command("ExecStart", {})
        copy.write_text(_UNIT.read_text().replace(program, sys.executable))
        ended = subprocess.run(["systemd-analyze", "verify", copy], text=True, capture_output=True, check=False)
        self.assertEqual((ended.returncode, ended.stdout + ended.stderr), (0, ""))


class UnitTests(SynchronousTestCase):
    """Tests for what the unit promises systemd of the daemon."""

    skip = hosts.unavailable()

    def setUp(self) -> None:
        self.unit = _Unit()
        lan = Lan()
        self.addCleanup(lan.close)
        self.host = lan.host("10.77.0.3")
        self.device = lan.host("10.77.0.9")
        self.manager = _Manager(lan.folder)
        self.addCleanup(self.manager.close)
        self.config = lan.folder / "registry.json"
        self.config.write_text(json.dumps({"ssdp": {"tags": {"T": [API]}}, "backend": {"type": "embedded"}}))

    def start(self) -> Program:
        """Start the daemon as the unit does, but with a watchdog that is hungry every second."""
        program, *arguments = self.unit.command("ExecStart", {"/etc/ssdpreg/registry.json": str(self.config)})
        self.assertEqual((Path(program).name, arguments[:2]), ("twistd", ["-n", "--pidfile="]))
        env = {"NOTIFY_SOCKET": str(Path(self.manager.address).absolute()), "WATCHDOG_USEC": "1000000"}
        return self.host.run(twistd(*arguments[2:]), env=env, cwd=str(ROOT))

    def test_life(self) -> None:
        """The main process says that it is ready when it hears, that it lives, and that it ends; SIGTERM ends it."""
        daemon = self.start()
        main = daemon.process.pid
        self.assertEqual(self.manager.hear(), ("READY=1", main))
        self.assertIn("Listening on eth0 at 10.77.0.3", daemon.output)
        self.device.send(notify(API, "d", "http://10.77.0.9:80/"))
        daemon.wait_for("Registered .* at 10.77.0.9:80")
        self.assertEqual([self.manager.hear() for _ in range(3)], [("WATCHDOG=1", main)] * 3)
        # Which systemd takes for success, with no word in the unit.
        self.assertEqual(daemon.stop(), -signal.SIGTERM)
        told = []
        while "STOPPING=1" not in told:
            state, teller = self.manager.hear()
            self.assertEqual(teller, main)
            told.append(state)

    def test_reload(self) -> None:
        """``ExecReload`` has the configuration read again, by the same process."""
        daemon = self.start()
        self.manager.hear()
        self.config.write_text(json.dumps({"ssdp": {"tags": {"U": [API]}}, "backend": {"type": "embedded"}}))
        subprocess.run(self.unit.command("ExecReload", {"$MAINPID": str(daemon.process.pid)}), check=True)
        daemon.wait_for("Configuration reloaded")
        self.assertTrue(daemon.running)

    def test_faulty_configuration(self) -> None:
        """A faulty configuration ends the daemon with the status that is not to be tried again."""
        self.config.write_text("{}")
        daemon = self.start()
        status = daemon.process.wait(20)
        self.assertEqual(str(status), self.unit["Service"]["RestartPreventExitStatus"], daemon.output)
        self.assertIn("ssdp: ", daemon.output)


def _instruction(name: str) -> list[str]:
    """Give the command that an instruction of the Containerfile has, which nobody has repeated."""
    (found,) = re.findall(rf"^{name}\b.*?(\[.*\])$", _CONTAINERFILE, re.MULTILINE)
    command: list[str] = json.loads(found)
    return command


class ContainerfileTests(SynchronousTestCase):
    """Tests for the Containerfile, of which no engine is here to make an image."""

    def test_sources(self) -> None:
        """A package of what is copied into the image is whole."""
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
        """What it runs is not run by root."""
        user = re.findall(r"^USER (.*)$", _CONTAINERFILE, re.MULTILINE)
        self.assertEqual(user, ["ssdpreg"])
        self.assertLess(_CONTAINERFILE.index("USER"), _CONTAINERFILE.index("ENTRYPOINT"))


class ComposeFileTests(SynchronousTestCase):
    """Tests for the files that the compose file names."""

    def test_files(self) -> None:
        """What is built from, and what is mounted, is there."""
        build = _SERVICES["ssdpreg"]["build"]
        self.assertEqual((_DEPLOY / build["context"]).resolve(), ROOT)
        self.assertTrue((ROOT / build["dockerfile"]).is_file())
        for mounts in (service.get("volumes", []) for service in _SERVICES.values()):
            for mount in mounts:
                self.assertTrue((_DEPLOY / mount.split(":")[0]).is_file(), mount)

    def test_addresses(self) -> None:
        """The files speak of the addresses that the containers have."""
        read = config.load(str(_DEPLOY / "registry.container.json"))
        assert isinstance(read.backend, config.ConsulConfig)
        self.assertEqual(read.backend.address, f"{_address('consul')}:8500")
        announced = devices.load(str(_DEPLOY / "spoof.container.json"))
        locations = {location for device in announced for location in device.locations}
        self.assertEqual(locations, {f"http://{_address('announcer')}:8090/"})

    def test_prometheus(self) -> None:
        """Prometheus understands its configuration."""
        if reason := skip_without("promtool", "prometheus"):
            self.skipTest(reason)
        subprocess.run(
            ["promtool", "check", "config", _DEPLOY / "prometheus.yml"], check=True, stdout=subprocess.DEVNULL
        )


def _address(service: str) -> str:
    address: str = _SERVICES[service]["networks"]["lan"]["ipv4_address"]
    return address


class ComposeTests(SynchronousTestCase):
    """Tests for the compose file: its commands, each on a host in place of a container."""

    skip = hosts.unavailable() or skip_without_consul

    def setUp(self) -> None:
        self.lan = Lan()
        self.addCleanup(self.lan.close)
        # As the bridges of containers do.
        snoop = "ip -n NAME link set br0 type bridge mcast_snooping 1"
        subprocess.run([self.lan.name if word == "NAME" else word for word in snoop.split()], check=True)
        self.hosts: dict[str, Host] = {name: self.lan.host(_address(name)) for name in _SERVICES}

    def start(self, name: str) -> Program:
        """Start what a container would run, with the files that it would see."""
        service = _SERVICES[name]
        mounted = {}
        for mount in service.get("volumes", []):
            source, target, _ = mount.split(":")
            mounted[target] = str((_DEPLOY / source).resolve())
        command = service.get("command") or _DEFAULTS[name]
        return self.hosts[name].run(_PROGRAMS[name](*(mounted.get(word, word) for word in command)), cwd=str(ROOT))

    def services(self) -> set[str]:
        """Ask Consul, where the host that runs the containers would, for names."""
        try:
            return set(self.hosts["ssdpreg"].http("/v1/catalog/services", host=_address("consul")).json())
        except (OSError, ValueError):
            return set()

    def test_devices_come_and_go(self) -> None:
        """What the announcer says is in Consul, found healthy by Consul itself, and gone when it ends."""
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

        # The image's own check of its health, and what is published of it.
        _, *probe = _instruction("HEALTHCHECK")
        self.hosts["ssdpreg"].call([sys.executable, *probe])
        answer = self.hosts["consul"].http("/v1/catalog/services", host=_address("ssdpreg"), port=8580)
        self.assertEqual(set(answer.json()) & announced, announced)

        announcer.stop()
        wait_until(lambda: not self.services() & announced, 30)

    def test_prometheus(self) -> None:
        """Prometheus scrapes the daemon, and is told of what the daemon found."""
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

        # As it is asked for again every 15 s, and the first time in vain.
        wait_until(
            lambda: {target[:2] for target in targets()} >= {("found", f"{_address('announcer')}:8090")}, 60, every=0.5
        )
        wait_until(lambda: ("ssdpreg", f"{_address('ssdpreg')}:8580", "up") in targets(), 30, every=0.5)


def _run_image(*arguments: str) -> list[str]:
    assert _instruction("ENTRYPOINT") == ["twistd", "-n", "--pidfile="]
    return twistd(*arguments)


def _run_consul(*arguments: str) -> list[str]:
    return [find_consul() or "consul", *arguments]


def _run_prometheus(*arguments: str) -> list[str]:
    # Where the image has it is no business of this host.
    folder = Path("prometheus").absolute()
    return ["prometheus", f"--storage.tsdb.path={folder}", *arguments]


#: What the images run, with the arguments that they are given, and those that they take without.
_PROGRAMS = {"consul": _run_consul, "ssdpreg": _run_image, "announcer": _run_image, "prometheus": _run_prometheus}
_DEFAULTS = {
    "ssdpreg": _instruction("CMD"),
    "prometheus": [f"--config.file={_DEPLOY / 'prometheus.yml'}"],
}
