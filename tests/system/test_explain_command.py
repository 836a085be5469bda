"""``ssdpreg explain`` beside a running daemon, and with a capture of tcpdump from the daemon's host."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support import hosts
from tests.support.programs import skip_without
from tests.support.rack import API, Rack, byebye, notify, twistd
from tests.support.waiting import wait_until

SSDPREG = str(Path(sys.executable).with_name("ssdpreg"))
CONFIG = {"ssdp": {"tags": {"RackHD": [API]}}, "backend": {"type": "embedded"}}
FORGED = "http://10.77.0.4:99/"


class ExplainTests(SynchronousTestCase):
    """A daemon, an announcer and a forger on one network."""

    skip = hosts.unavailable() or skip_without("tcpdump", "tcpdump")

    def setUp(self) -> None:
        self.lan = hosts.Lan()
        self.addCleanup(self.lan.close)
        self.folder = self.lan.folder
        self.host, self.device, self.forger = (self.lan.host(f"10.77.0.{number}") for number in (2, 3, 4))
        self.rack = Rack(self.host, self.folder)

    def run_announcer(self) -> hosts.Program:
        """Run ``twistd ssdpspoof`` with one device."""
        path = self.folder / "spoof.json"
        path.write_text(json.dumps({"ssdp": {"rack": {"broadcastIP": ["10.77.0.3:8080"], "urnList": [API]}}}))
        return self.device.run(twistd("ssdpspoof", "--config", str(path)), cwd=str(self.folder))

    def log_of_daemon(self) -> list[str]:
        """Return the daemon's log lines about services, without their times."""
        assert self.rack.daemon is not None
        lines = [line.partition("] ")[2] for line in self.rack.daemon.output.splitlines()]
        return [line for line in lines if line.startswith(("Registered", "Updated", "Deregistered", "Rejected"))]

    def explain(self, capture: Path) -> list[dict[str, Any]]:
        """Explain a capture with the configuration of the daemon."""
        command = [SSDPREG, "explain", "--config", str(self.folder / "registry.json"), "--json", "--read", str(capture)]
        return [json.loads(line) for line in self.host.call(command).splitlines()]

    def test_capture(self) -> None:
        """The capture of the daemon's host, of one interface and of all, is explained as the daemon logged it."""
        captures = {name: self.folder / f"{name}.pcap" for name in ("eth0", "any")}
        dumps = [
            self.host.run(["tcpdump", "-Z", "root", "-U", "-i", name, "-w", str(path), "udp"])
            for name, path in captures.items()
        ]
        for dump in dumps:
            dump.wait_for("listening on")
        daemon = self.rack.start_daemon(CONFIG)
        announcer = self.run_announcer()
        daemon.wait_for("Registered .*10.77.0.3:8080")
        (device,) = {each["Service"]["Meta"]["ssdp-device"] for each in self.entries()}
        self.forger.send(notify(API, device, FORGED), notify(API, "bmc-1", "http://u:p@10.77.0.4/"), b"hello")
        self.forger.send(notify(API, "bmc-2", FORGED))
        daemon.wait_for("Registered .*10.77.0.4:99")
        self.forger.send(byebye(API, "bmc-2"))
        daemon.wait_for("Deregistered .*10.77.0.4:99")
        announcer.stop()
        daemon.wait_for("Deregistered .*10.77.0.3:8080")
        self.forger.send(notify("urn:x", "last"))
        for name, dump in zip(captures, dumps, strict=True):
            wait_until(lambda name=name: b"last" in captures[name].read_bytes(), 10, what="capture")  # type: ignore[misc]
            dump.stop()
        for path in captures.values():
            self.check(self.explain(path), device)

    def entries(self) -> list[dict[str, Any]]:
        """Return the services in the daemon's catalogue."""
        path = "/v1/health/service/RackHD-service:api:2.0"
        entries: list[dict[str, Any]] = wait_until(lambda: self.host.http(path, port=8580).json(), 10)
        return entries

    def check(self, explained: list[dict[str, Any]], device: str) -> None:
        """Assert that the explanations are what the daemon did."""
        *explanations, last = explained
        texts = []
        for each in explanations:
            for change in each["changes"]:
                registration = each["registration"] or {}
                if change["change"] == "appeared":
                    address = f"{registration['address']}:{registration['port']}"
                    texts.append(f"Registered {registration['id']} as {registration['name']} at {address}")
                elif change["change"] == "left":
                    text, _, reason = change["text"].partition(" left: ")
                    texts.append(f"Deregistered {registration['id']} of {text}: {reason}")
            if each["result"] == "rejected" and each["reason"] != "no search term":
                texts.append(f"Rejected {each['type']} from {each['sender']}: {each['reason']}")
        self.assertEqual(sorted(texts), sorted(self.log_of_daemon()))
        contests = [each for each in explanations if each["location"] == FORGED and device in each["usn"]]
        self.assertEqual([change["change"] for change in contests[0]["changes"]], ["search", "contested"])
        # The device replied to the search of its host.
        self.assertIn("confirmed", {each["standing"] for each in explanations if each["sender"] == "10.77.0.3"})
        self.assertEqual(last["summary"]["registrations"], [])
        self.assertEqual(last["summary"]["messages"]["invalid"], 1)

    def test_live(self) -> None:
        """Beside the daemon, the command explains announcements and replies, and ends at Ctrl-C with the summary."""
        daemon = self.rack.start_daemon(CONFIG)
        self.run_announcer()
        daemon.wait_for("Registered .*10.77.0.3:8080")
        explain = self.host.run([SSDPREG, "explain", "--config", str(self.folder / "registry.json")])
        explain.wait_for(r"^Listening on eth0 \(10.77.0.2\)$")
        explain.wait_for("^.* response from 10.77.0.3:1900 on eth0")
        self.forger.send(notify(API, "bmc-1", FORGED))
        explain.wait_for(
            r"alive from 10.77.0.4:\d+ on eth0\n(.*\n){4}  result   registered: RackHD-service:api:2.0 at 10.77.0.4:99"
        )
        explain.signal(signal.SIGINT)
        explain.wait_for("^2 services registered at the end:$")
        self.assertEqual(explain.process.wait(10), 0)
        self.assertEqual(len(self.entries()), 2)

    def test_passive(self) -> None:
        """With ``--passive``, no datagram is sent, and ``--seconds`` ends the command."""
        with self.device.listen(1900) as listener:
            (self.folder / "registry.json").write_text(json.dumps(CONFIG))
            command = [
                SSDPREG,
                "explain",
                "--passive",
                "--seconds",
                "2",
                "--config",
                str(self.folder / "registry.json"),
            ]
            explain = self.host.run(command)
            explain.wait_for("^Listening")
            self.device.send(notify(API, "bmc-1", "http://10.77.0.3/"))
            explain.wait_for("result   registered")
            self.assertEqual(explain.process.wait(10), 0)
            senders = set()
            listener.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                while True:
                    senders.add(listener.recvfrom(2000)[1][0])
            self.assertNotIn(self.host.address, senders)
