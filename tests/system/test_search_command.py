"""Tests for ``ssdpreg search`` as a process on a network of several hosts."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg import config
from tests.support import hosts, paths
from tests.support.hosts import Host, Lan, Program
from tests.support.paths import ROOT
from tests.support.rack import API, Rack, notify, twistd
from tests.support.waiting import wait_until

#: Code of the script that pip installs.
_MAIN = "from ssdpreg.cli.main import main; sys.exit(main())"
DATA = paths.DATA / "search"


def datagram(name: str) -> bytes:
    """Read a datagram of a real device."""
    return (DATA / f"{name}.http").read_bytes().replace(b"\n", b"\r\n")


class HostCommandTestCase(SynchronousTestCase):
    """
    Test case with three hosts: one runs the command, and two are devices.

    The device ``media_server`` announces itself, and ``bmc`` only replies to searches.
    """

    skip = hosts.unavailable()
    timeout = 120

    def setUp(self) -> None:
        self.lan = Lan()
        self.addCleanup(self.lan.close)
        self.host, self.media_server, self.bmc = (self.lan.host(f"10.77.0.{number}") for number in (2, 3, 4))

    def command(self, *arguments: str) -> list[str]:
        """Return the command that runs ``ssdpreg`` with this Python in any folder."""
        return [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {_MAIN}", *arguments]

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> Program:
        """Start the command, with standard output in the file ``stdout`` of the LAN's folder."""
        script = 'output=$1; shift; exec "$@" > "$output"'
        output = str(self.lan.folder / "stdout")
        return self.host.run(["sh", "-c", script, "sh", output, *self.command(*arguments)], env=env)

    def wait_for_end(self, program: Program, seconds: float = 20.0) -> tuple[int, str, str]:
        """Wait until the command ends, and return its exit status, standard output and standard error."""
        status = program.process.wait(seconds)
        return status, (self.lan.folder / "stdout").read_text(encoding="utf-8"), program.output

    def call(self, *arguments: str, env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
        """Run the command, and return its exit status, standard output and standard error."""
        return self.wait_for_end(self.start(*arguments, env=env))


class SearchTests(HostCommandTestCase):
    """Tests for ``ssdpreg search``."""

    def setUp(self) -> None:
        super().setUp()
        self.searches: list[str] = []
        self.reply_to_searches(self.bmc, datagram("bmc"))

    def reply_to_searches(self, host: Host, reply: bytes) -> None:
        """Send a reply to each search, in a thread. At the first search, the media server announces itself."""
        listener = host.listen(1900)
        self.addCleanup(listener.close)

        def listen() -> None:
            while True:
                try:
                    received, sender = listener.recvfrom(65507)
                except OSError:
                    return
                if received.startswith(b"M-SEARCH"):
                    self.searches.append(received.decode())
                    if len(self.searches) == 1:
                        self.media_server.send(
                            *(datagram(name) for name in ("media-server", "media-server-service", "media-server-root")),
                            datagram("hostile"),
                            b"\x00" * 100,
                        )
                    listener.sendto(reply, sender)

        threading.Thread(target=listen, daemon=True).start()

    def test_pipe(self) -> None:
        """Devices that announce themselves or reply are printed, with control characters escaped."""
        status, stdout, stderr = self.call("search", "--seconds", "2")
        self.assertEqual((status, stderr), (0, "3 devices on eth0 (10.77.0.2)\n"))
        self.assertEqual(stdout, (DATA / "output.txt").read_text(encoding="utf-8"))
        self.assertEqual(len(self.searches), 2)
        self.assertIn("ST: ssdp:all\r\n", self.searches[0])
        self.assertIn("MX: 2\r\n", self.searches[0])

    def test_ascii(self) -> None:
        """Characters that are missing in the encoding of the output are escaped."""
        status, stdout, _ = self.call("search", "--seconds", "1", env={"PYTHONIOENCODING": "ascii"})
        self.assertEqual((status, stdout.isascii()), (0, True))
        self.assertIn(r"Ger\xe4t", stdout)

    def test_urns(self) -> None:
        """A URN is the target of the search, and only devices that match it are printed."""
        redfish = "urn:dmtf-org:service:redfish-rest:1"
        status, stdout, _ = self.call("search", "--seconds", "1", redfish)
        self.assertEqual((status, stdout.count("Location")), (0, 1))
        self.assertIn("https://10.77.0.4/redfish/v1", stdout)
        self.assertIn(f"ST: {redfish}\r\n", self.searches[0])

    def test_json(self) -> None:
        """``--json`` prints one document with the same information."""
        status, stdout, _ = self.call("search", "--seconds", "1", "--json", "--interface", "10.77.0.0/24")
        document = json.loads(stdout)
        self.assertEqual((status, document["interfaces"]), (0, [{"name": "eth0", "address": "10.77.0.2"}]))
        self.assertEqual(
            document["devices"][2],
            {
                "device": "92384634-2938-2342-8820-489239905423",
                "addresses": ["10.77.0.4"],
                "advertisements": [
                    {
                        "type": "urn:dmtf-org:service:redfish-rest:1:6",
                        "usn": "uuid:92384634-2938-2342-8820-489239905423::urn:dmtf-org:service:redfish-rest:1:6",
                        "location": "https://10.77.0.4/redfish/v1",
                        "server": "",
                        "max_age": 1800,
                        "address": "10.77.0.4",
                        "problem": None,
                    }
                ],
            },
        )
        (hostile,) = (each for each in document["devices"] if each["device"].startswith("[blink]"))
        self.assertEqual(hostile["advertisements"][0]["problem"], "no device ID")
        self.assertTrue(stdout.isascii())

    def test_write_config(self) -> None:
        """The written configuration is valid, and an existing file is overwritten only with ``--force``."""
        path = self.lan.folder / "registry.json"
        status, stdout, stderr = self.call("search", "--seconds", "1", "--write-config", str(path))
        self.assertEqual((status, stderr.splitlines()[-1]), (0, f"Wrote {path}"))
        self.assertIn("MediaServer", stdout)
        self.assertEqual(
            config.load(str(path), {}).ssdp.tags,
            {
                "dmtf": ("urn:dmtf-org:service:redfish-rest:1",),
                "upnp": (
                    "urn:schemas-upnp-org:device:MediaServer:1",
                    "urn:schemas-upnp-org:service:ContentDirectory:1",
                ),
            },
        )
        written = path.read_text()
        self.assertEqual(
            self.call("search", "--write-config", str(path))[::2],
            (2, f"--write-config: {path} exists: --force overwrites it\n"),
        )
        path.write_text("{}")
        self.searches.clear()
        self.assertEqual(self.call("search", "--seconds", "1", "--force", "--write-config", str(path))[0], 0)
        self.assertEqual(path.read_text(), written)
        self.searches.clear()
        status, stdout, _ = self.call("search", "--seconds", "1", "--write-config", "-")
        self.assertEqual((status, stdout), (0, written))

    def test_with_daemon(self) -> None:
        """The command does not disturb the daemon on the same host, or an announcer on another."""
        daemon = Rack(self.host, self.lan.folder).start_daemon(
            {"ssdp": {"tags": {"RackHD": [API]}}, "backend": {"type": "embedded"}}
        )
        spoof = self.lan.folder / "spoof.json"
        spoof.write_text(json.dumps({"ssdp": {"one": {"broadcastIP": ["10.77.0.3:8080"], "urnList": [API]}}}))
        self.media_server.run(twistd("ssdpspoof", "--config", str(spoof)), cwd=str(ROOT)).wait_for("Listening on eth0")
        daemon.wait_for("Registered .* at 10.77.0.3:8080")
        status, stdout, _ = self.call("search", "--seconds", "3", API)
        self.assertEqual((status, stdout.count("http://10.77.0.3:8080/")), (0, 1))
        self.media_server.send(notify(API, "other", "http://10.77.0.3:9090/"))
        daemon.wait_for("Registered .* at 10.77.0.3:9090")

    def test_broken_pipe(self) -> None:
        """If the output is closed, the command ends with status 1 and without a traceback."""
        for arguments in ((), ("--json",)):
            command = self.command("search", "--seconds", "1", *arguments)
            self.searches.clear()
            program = self.host.run(["sh", "-c", '{ "$@"; echo $? >&2; } | true', "sh", *command])
            program.wait_for(r"\A1\n\Z")

    def test_terminal(self) -> None:
        """A terminal shows a progress bar during the search, and Ctrl-C prints the devices found so far."""
        output = self.on_terminal("search", "--seconds", "60", interrupt="3 devices", env={"TERM": "xterm"})
        before, _, after = output.rpartition("3 devices")
        self.assertIn("Searching", before)
        self.assertIn("MediaServer", after)
        # The cursor is visible again.
        self.assertIn("\x1b[?25h", after)

    def test_dumb_terminal(self) -> None:
        """A terminal without control sequences receives plain lines of 80 columns."""
        output = self.on_terminal("search", "--seconds", "2", env={"TERM": "dumb"})
        self.assertIn("MediaServer", output)
        self.assertNotIn("\x1b", output)
        self.assertNotIn("Searching", output)
        self.assertLessEqual(max(map(len, output.split("\r\n"))), 80)

    def on_terminal(self, *arguments: str, interrupt: str = "", env: Mapping[str, str]) -> str:
        """
        Run the command on a terminal, and check that it ends with status 0.

        :param interrupt: Output after which to send SIGINT; empty to send none.
        :return: Standard output, including control sequences.
        """
        parent, child = pty.openpty()
        self.addCleanup(os.close, parent)
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.host.name, *self.command(*arguments)],
            stdin=subprocess.DEVNULL,
            stdout=child,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **env},
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        os.close(child)
        output = b""
        while True:
            try:
                output += os.read(parent, 65536)
            except OSError:
                # Linux reports an error after the command has closed the terminal.
                break
            if interrupt and interrupt.encode() in output:
                process.send_signal(signal.SIGINT)
                interrupt = ""
        self.assertEqual(process.wait(), 0)
        return output.decode()


class NoDeviceTests(HostCommandTestCase):
    """Tests for ``ssdpreg search`` on a network without devices."""

    def test_hints(self) -> None:
        """If no device is found, standard error lists the likely causes."""
        status, stdout, stderr = self.call("search", "--seconds", "1", "--ttl", "3")
        self.assertEqual((status, stdout), (1, ""))
        self.assertRegex(stderr, r"\ANo device found within 1 s on eth0 \(10\.77\.0\.2\)\. Check:\n")
        for word in ("firewall", "interface", "at most 2 routers: --ttl", "--seconds"):
            self.assertIn(word, stderr)

    def test_json(self) -> None:
        """``--json`` prints a document without devices."""
        status, stdout, _ = self.call("search", "--seconds", "1", "--json")
        self.assertEqual((status, json.loads(stdout)["devices"]), (1, []))

    def test_no_interface(self) -> None:
        """Without a usable interface, the command ends at once."""
        status, stdout, stderr = self.call("search", "--seconds", "3600", "--interface", "wlan9")
        self.assertEqual((status, stdout), (1, ""))
        self.assertIn("Cannot listen on wlan9 yet: absent, down or without an address\n", stderr)
        self.assertIn("No interface to search on", stderr)

    def test_nothing_to_configure(self) -> None:
        """No configuration is written if no device announced a URN."""
        program = self.start("search", "--seconds", "2", "--write-config", "-")
        device = notify("upnp:rootdevice", "D", "http://10.77.0.3/")

        def ended() -> bool:
            self.media_server.send(device)
            return not program.running

        wait_until(ended, every=0.3)
        status, stdout, stderr = self.wait_for_end(program)
        self.assertEqual((status, stdout), (1, ""))
        self.assertIn("No configuration written", stderr)
