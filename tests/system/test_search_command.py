"""``ssdpreg search`` as its users have it: a process on a network of several hosts."""

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
from tests.support.hosts import Host, Lan, Program, wait_until
from tests.support.paths import ROOT
from tests.support.rack import API, Rack, notify, twistd

#: As the script does that pip installs.
_MAIN = "from ssdpreg.cli.main import main; sys.exit(main())"
DATA = paths.DATA / "search"


def datagram(name: str) -> bytes:
    """Read what a device sends."""
    return (DATA / f"{name}.http").read_bytes().replace(b"\n", b"\r\n")


class CommandTestCase(SynchronousTestCase):
    """A host with the command, and two with devices: one announces, one only answers."""

    skip = hosts.unavailable()
    timeout = 120

    def setUp(self) -> None:
        self.lan = Lan()
        self.addCleanup(self.lan.close)
        self.host, self.media_server, self.bmc = (self.lan.host(f"10.77.0.{number}") for number in (2, 3, 4))

    def command(self, *arguments: str) -> list[str]:
        """Word the command as this Python runs it, from anywhere."""
        return [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {_MAIN}", *arguments]

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> Program:
        """Start the command; its standard output goes to ``stdout`` in the LAN's folder."""
        script = 'output=$1; shift; exec "$@" > "$output"'
        output = str(self.lan.folder / "stdout")
        return self.host.run(["sh", "-c", script, "sh", output, *self.command(*arguments)], env=env)

    def end(self, program: Program, seconds: float = 20.0) -> tuple[int, str, str]:
        """Wait until the command ends, and return its exit status and both outputs."""
        status = program.process.wait(seconds)
        return status, (self.lan.folder / "stdout").read_text(encoding="utf-8"), program.output

    def call(self, *arguments: str, env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
        """Run the command."""
        return self.end(self.start(*arguments, env=env))


class SearchTests(CommandTestCase):
    """Tests for ``ssdpreg search``."""

    def setUp(self) -> None:
        super().setUp()
        self.searches: list[str] = []
        self.answer(self.bmc, datagram("bmc"))

    def answer(self, host: Host, reply: bytes) -> None:
        """Be a device that only answers; when it is asked, the others announce themselves."""
        listener = host.listen(1900)
        self.addCleanup(listener.close)

        def listen() -> None:
            while True:
                try:
                    received, asker = listener.recvfrom(65507)
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
                    listener.sendto(reply, asker)

        threading.Thread(target=listen, daemon=True).start()

    def test_pipe(self) -> None:
        """All that announces itself or answers is shown, by device, and nothing of it is obeyed."""
        status, stdout, stderr = self.call("search", "--seconds", "2")
        self.assertEqual((status, stderr), (0, "3 devices on eth0 (10.77.0.2)\n"))
        self.assertEqual(stdout, (DATA / "output.txt").read_text(encoding="utf-8"))
        self.assertEqual(len(self.searches), 2)
        self.assertIn("ST: ssdp:all\r\n", self.searches[0])
        self.assertIn("MX: 2\r\n", self.searches[0])

    def test_ascii(self) -> None:
        """An output that has no other letters is given none."""
        status, stdout, _ = self.call("search", "--seconds", "1", env={"PYTHONIOENCODING": "ascii"})
        self.assertEqual((status, stdout.isascii()), (0, True))
        self.assertIn(r"Ger\xe4t", stdout)

    def test_urns(self) -> None:
        """What is asked for is searched for by its name, and nothing else is shown."""
        redfish = "urn:dmtf-org:service:redfish-rest:1"
        status, stdout, _ = self.call("search", "--seconds", "1", redfish)
        self.assertEqual((status, stdout.count("Location")), (0, 1))
        self.assertIn("https://10.77.0.4/redfish/v1", stdout)
        self.assertIn(f"ST: {redfish}\r\n", self.searches[0])

    def test_json(self) -> None:
        """The same is to be had for machines."""
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
        self.assertEqual(hostile["advertisements"][0]["problem"], "no usable device ID")
        self.assertTrue(stdout.isascii())

    def test_write_config(self) -> None:
        """A configuration is made of what was found, that the daemon takes; a file that is there is not lost."""
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
            (2, f"--write-config: {path} is there already: --force overwrites it\n"),
        )
        path.write_text("{}")
        self.searches.clear()
        self.assertEqual(self.call("search", "--seconds", "1", "--force", "--write-config", str(path))[0], 0)
        self.assertEqual(path.read_text(), written)
        self.searches.clear()
        status, stdout, _ = self.call("search", "--seconds", "1", "--write-config", "-")
        self.assertEqual((status, stdout), (0, written))

    def test_beside_the_daemon(self) -> None:
        """The daemon on the same host, and an announcer on another, go on while the command searches."""
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
        """If nobody reads on, that is the end, without a traceback."""
        for arguments in ((), ("--json",)):
            command = self.command("search", "--seconds", "1", *arguments)
            self.searches.clear()
            program = self.host.run(["sh", "-c", '{ "$@"; echo $? >&2; } | true', "sh", *command])
            program.wait_for(r"\A1\n\Z")

    def test_terminal(self) -> None:
        """On a terminal a bar shows how far it is, and goes; Ctrl-C ends it early, with what was found."""
        output = self.on_terminal("search", "--seconds", "60", interrupt="3 devices", env={"TERM": "xterm"})
        before, _, after = output.rpartition("3 devices")
        self.assertIn("Searching", before)
        self.assertIn("MediaServer", after)
        # The cursor is there again.
        self.assertIn("\x1b[?25h", after)

    def test_dumb_terminal(self) -> None:
        """A terminal that can do no more is sent lines, of 80 columns, and nothing else."""
        output = self.on_terminal("search", "--seconds", "2", env={"TERM": "dumb"})
        self.assertIn("MediaServer", output)
        self.assertNotIn("\x1b", output)
        self.assertNotIn("Searching", output)
        self.assertLessEqual(max(map(len, output.split("\r\n"))), 80)

    def on_terminal(self, *arguments: str, interrupt: str = "", env: Mapping[str, str]) -> str:
        """
        Run the command on a terminal, which has to go well.

        :param interrupt: What to wait for, to press Ctrl-C then.
        :return: All that the terminal was sent, but for what went to standard error.
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
                # As Linux tells that nobody holds the other end any more.
                break
            if interrupt and interrupt.encode() in output:
                process.send_signal(signal.SIGINT)
                interrupt = ""
        self.assertEqual(process.wait(), 0)
        return output.decode()


class NothingTests(CommandTestCase):
    """Tests for ``ssdpreg search`` where there is nothing."""

    def test_nobody(self) -> None:
        """If nobody is found, it is told what to check."""
        status, stdout, stderr = self.call("search", "--seconds", "1", "--ttl", "3")
        self.assertEqual((status, stdout), (1, ""))
        self.assertRegex(stderr, r"\ANobody .* anything within 1 s on eth0 \(10\.77\.0\.2\)\. To be checked:\n")
        for word in ("firewall", "interface", "no more than 2 routers: --ttl", "--seconds"):
            self.assertIn(word, stderr)

    def test_nobody_for_machines(self) -> None:
        """Machines get a document in any case."""
        status, stdout, _ = self.call("search", "--seconds", "1", "--json")
        self.assertEqual((status, json.loads(stdout)["devices"]), (1, []))

    def test_no_interface(self) -> None:
        """Where there is nothing to search on, that is said at once."""
        status, stdout, stderr = self.call("search", "--seconds", "3600", "--interface", "wlan9")
        self.assertEqual((status, stdout), (1, ""))
        self.assertIn("Cannot listen on wlan9 yet: absent, down or without an IPv4 address\n", stderr)
        self.assertIn("There is no interface to search on", stderr)

    def test_nothing_to_configure(self) -> None:
        """If all that is found has no URN, no configuration is written."""
        program = self.start("search", "--seconds", "2", "--write-config", "-")
        device = notify("upnp:rootdevice", "D", "http://10.77.0.3/")

        def ended() -> bool:
            self.media_server.send(device)
            return not program.running

        wait_until(ended, every=0.3)
        status, stdout, stderr = self.end(program)
        self.assertEqual((status, stdout), (1, ""))
        self.assertIn("No configuration written", stderr)
