"""Times that the daemon shows, in a real browser and to its other clients, with the clock that ``twistd`` runs on."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support import hosts
from tests.support.browser import Browser
from tests.support.hosts import Lan
from tests.support.paths import ROOT
from tests.support.programs import skip_without
from tests.support.rack import API, Rack, byebye, notify
from tests.support.waiting import wait_until

_CONFIG: Mapping[str, Any] = {"ssdp": {"tags": {"RackHD": [API]}}, "backend": {"type": "embedded"}}
_NAME = "RackHD-service:api:2.0"
_PAGE = "http://127.0.0.1:8580/"

_ROWS = "return [...document.querySelectorAll('#rows tr')].map(row => row.innerText)"
_EVENTS = "return [...document.querySelectorAll('#latest li')].map(event => event.innerText)"
_IS_LIVE = "return document.getElementById('connection-text').textContent === 'live'"
_STOP_UPDATES = "stream.close()"

#: Seconds that are added to the monotonic clock, so that none of its readings can be taken for another number.
_OFFSET = 7_654_321_000.0
_SHIFT_CLOCK = f"import time; clock = time.monotonic; time.monotonic = lambda: clock() + {_OFFSET}"


class TimesTestCase(SynchronousTestCase):
    """A host with the daemon, and a host with devices."""

    skip = hosts.unavailable()
    timeout = 120

    def setUp(self) -> None:
        lan = Lan()
        self.addCleanup(lan.close)
        self.host, self.devices = lan.host("10.77.0.2"), lan.host("10.77.0.3")
        self.rack = Rack(self.host, lan.folder)

    def announce(self, *device_ids: str) -> float:
        """
        Announce a service of each device, and wait until the daemon lists them.

        :return: The time before the announcements, in seconds of this process's monotonic clock.
        """
        began = time.monotonic()
        self.devices.send(*(notify(API, device_id, "http://10.77.0.3:8080/") for device_id in device_ids))
        wait_until(lambda: len(self.get(f"/v1/health/service/{_NAME}").json()) == len(device_ids))
        return began

    def get(self, path: str) -> hosts.Answer:
        """Send a request to the daemon."""
        return self.host.http(path, port=8580)


class BrowserTests(TimesTestCase):
    """The status page of ``twistd ssdpreg`` in Chromium."""

    skip = TimesTestCase.skip or skip_without("chromedriver", "chromium-driver") or skip_without("chromium", "chromium")

    def setUp(self) -> None:
        super().setUp()
        self.rack.start_daemon(_CONFIG)
        self.browser = Browser(self.host)
        self.addCleanup(self.browser.close)

    def texts(self, script: str) -> Sequence[str]:
        """Return the texts of elements as a person reads them, each in one line."""
        return [" ".join(text.split()) for text in self.browser.run(script)]

    def assert_seconds(self, text: str, since: float) -> None:
        """Check that a text is the number of seconds since a time, within the second before and after."""
        passed = time.monotonic() - since
        match = re.fullmatch(r"(\d+) s", text)
        assert match is not None, text
        self.assertLess(abs(int(match[1]) - passed), 2.0, text)

    def assert_page(self, announced: float, left: float) -> None:
        """Check the ages and the remaining time on the page."""
        (row,) = self.texts(_ROWS)
        match = re.fullmatch(rf"{_NAME} stays 10\.77\.0\.3:8080 direct RackHD (\d+ s) (29|30) min registered", row)
        assert match is not None, row
        self.assert_seconds(match[1], announced)
        last, *earlier = self.texts(_EVENTS)
        match = re.fullmatch(rf"{_NAME} (\d+ s) .* leaves", last)
        assert match is not None, last
        self.assert_seconds(match[1], left)
        self.assertEqual(len(earlier), 2)
        for event in earlier:
            match = re.fullmatch(rf"{_NAME} (\d+ s) appeared (stays|leaves)", event)
            assert match is not None, event
            self.assert_seconds(match[1], announced)

    def test_page_shows_true_times(self) -> None:
        """Ages and remaining times are right when the scripts have run for some seconds, with updates and without."""
        announced = self.announce("stays", "leaves")
        self.browser.go(_PAGE)
        wait_until(lambda: self.browser.run(_IS_LIVE))
        self.devices.send(byebye(API, "leaves"))
        wait_until(lambda: len(self.browser.run(_ROWS)) == 1)
        left = time.monotonic()
        time.sleep(max(0.0, announced + 8.0 - time.monotonic()))
        self.assert_page(announced, left)
        self.browser.run(_STOP_UPDATES)
        time.sleep(4.0)
        self.assert_page(announced, left)

    def test_clock_of_the_browser_is_wrong(self) -> None:
        """The times are right in a browser whose time of day differs from the daemon's."""
        announced = self.announce("stays")
        self.browser.command("Page.addScriptToEvaluateOnNewDocument", source="Date.now = () => 86400000")
        self.browser.go(_PAGE)
        wait_until(lambda: self.browser.run(_IS_LIVE))
        time.sleep(3.0)
        (row,) = self.texts(_ROWS)
        self.assert_seconds(" ".join(row.split()[5:7]), announced)


class ClientTests(TimesTestCase):
    """Other output of ``twistd ssdpreg``, on a monotonic clock whose readings are easy to recognize."""

    def test_no_monotonic_readings(self) -> None:
        """No response, no output of ``ssdpreg`` and no line of the log has a reading of the monotonic clock."""
        daemon = self.rack.start_daemon(_CONFIG, before=_SHIFT_CLOCK)
        command = [sys.executable, "-m", "ssdpreg"]
        watch = self.host.run([*command, "watch", "--json"], cwd=str(ROOT))
        self.announce("stays", "leaves")
        watch.wait_for("stays")
        self.devices.send(byebye(API, "leaves"))
        watch.wait_for("removed")
        wait_until(lambda: self.get("/readyz").status == 200, 20)
        texts = {
            path: self.get(path).body.decode()
            for path in (
                "/",
                "/v1/catalog/services",
                f"/v1/catalog/service/{_NAME}",
                f"/v1/health/service/{_NAME}",
                "/v1/catalog/nodes",
                "/v1/catalog/node/stays",
                "/v1/agent/self",
                "/sd/prometheus",
                "/metrics",
                "/readyz",
            )
        }
        texts["X-Consul-Index"] = self.get("/v1/catalog/services").headers["x-consul-index"]
        texts["services"] = self.host.call([*command, "services", "--json"])
        texts["watch"] = watch.output
        texts["log"] = daemon.output
        now = time.monotonic() + _OFFSET
        for source, text in texts.items():
            self.assertNotEqual(text, "", source)
            for number in re.findall(r"\d+(?:\.\d+)?", text):
                for unit in (1e-3, 1.0, 60.0, 3600.0, 86400.0):
                    difference = abs(float(number) * unit - now)
                    self.assertGreater(difference, 60.0 + unit, f"{source}: {number} in {text}")
