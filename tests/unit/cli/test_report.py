"""Tests for :mod:`ssdpreg.cli.report`."""

from __future__ import annotations

import io
import sys

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.cli.report import explain_no_device, format_count, make_document, print_devices
from ssdpreg.cli.search_results import SearchResults
from ssdpreg.ssdp.codec import decode
from tests.support import paths
from tests.unit.cli.test_search_results import make_results

DATA = paths.DATA / "search"


def collect_recorded() -> SearchResults:
    """Return the advertisements in the recorded datagrams."""
    results = make_results()
    for name in ("media-server", "media-server-service", "media-server-root", "hostile", "bmc"):
        datagram = (DATA / f"{name}.http").read_bytes().replace(b"\n", b"\r\n")
        results.add(decode(datagram), "10.77.0.4" if name == "bmc" else "10.77.0.3")
    return results


class DevicesTests(SynchronousTestCase):
    """Tests for the output of devices."""

    def test_text(self) -> None:
        """Each device is a block of lines, with control characters escaped."""
        stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        self.patch(sys, "stdout", stdout)
        print_devices(collect_recorded().devices())
        stdout.seek(0)
        self.assertEqual(stdout.read(), (DATA / "output.txt").read_text(encoding="utf-8"))

    def test_document(self) -> None:
        """The JSON document has the interfaces, and the advertisements of each device with their problems."""
        document = make_document([("eth0", "10.77.0.2")], collect_recorded().devices())
        self.assertEqual(document["interfaces"], [{"name": "eth0", "address": "10.77.0.2"}])
        self.assertEqual(
            [(len(device["advertisements"]), device["advertisements"][0]["problem"]) for device in document["devices"]],
            [(3, None), (1, "no device ID"), (1, None)],
        )


class NoDeviceTests(SynchronousTestCase):
    """Tests for :func:`ssdpreg.cli.report.explain_no_device`."""

    def test_hints(self) -> None:
        """The message has the search targets, the duration, the interfaces and the limit of routers."""
        lines = explain_no_device(["urn:a", "urn:b"], 3.0, 2, [("eth0", "10.0.0.1"), ("eth1", "10.1.0.1")])
        self.assertEqual(
            lines[0], "No device found for urn:a urn:b within 3 s on eth0 (10.0.0.1), eth1 (10.1.0.1). Check:"
        )
        self.assertIn("at most 1 router:", lines[3])

    def test_no_interface(self) -> None:
        """Without an interface, the message describes the requirements of an interface."""
        (line,) = explain_no_device([], 3.0, 2, [])
        self.assertIn("No interface to search on", line)


class CountTests(SynchronousTestCase):
    """Tests for :func:`ssdpreg.cli.report.format_count`."""

    def test_plural(self) -> None:
        """The noun is in the singular only for 1."""
        self.assertEqual(
            [format_count(number, "device") for number in range(3)], ["0 devices", "1 device", "2 devices"]
        )
