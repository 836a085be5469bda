"""The script of the status page in a real browser, with a daemon in memory."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread
from twisted.web.resource import IResource

from ssdpreg.web.resources import Folder
from ssdpreg.web.service import WebService
from ssdpreg.web.status import format_duration
from tests.support.browser import shared_browser
from tests.support.programs import ProgramTestCase, skip_without
from tests.support.waiting import wait_until

_ROWS = "return [...document.querySelectorAll('#rows tr')].map(row => row.innerText)"
_REMAINING = "return document.querySelector('[data-remaining]')?.textContent"
_STALE = "return document.body.classList.contains('stale')"
_WIDTHS = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"


class BrowserTests(ProgramTestCase):
    """The status page in Chromium."""

    skip = skip_without("chromedriver", "chromium-driver") or skip_without("chromium", "chromium")

    def setUp(self) -> None:
        super().setUp()
        self.browser = shared_browser()
        self.browser.log()

    async def open(self, path: str = "/") -> None:
        """Load the page, and wait until it is connected to the stream of changes."""
        await deferToThread(self.browser.go, f"http://{self.address}{path}")
        await self.until("return document.getElementById('connection-text').textContent", lambda text: text == "live")

    async def run_script(self, script: str, *arguments: object) -> Any:
        """Run a script in the page."""
        return await deferToThread(self.browser.run, script, *arguments)

    async def until(self, script: str, accept: Callable[[Any], bool], seconds: float = 10.0) -> None:
        """Run a script in the page again and again, until its result is accepted."""
        results: list[Any] = []

        def accepted() -> bool:
            results[:] = [self.browser.run(script)]
            return accept(results[0])

        try:
            await deferToThread(wait_until, accepted, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {results}") from error

    async def assert_log_is_empty(self) -> None:
        """Check that the console of the browser is empty."""
        self.assertEqual(await deferToThread(self.browser.log), [])

    async def test_service_appears_and_leaves(self) -> None:
        """A service is shown within 2 s of its announcement, and is removed within 4 s of its byebye."""
        await self.open()
        self.assertEqual(await self.run_script(_ROWS), [])
        self.daemon.receive_alive("dev-1")
        await self.until(_ROWS, lambda rows: len(rows) == 1 and "dev-1" in rows[0], 2.0)
        self.daemon.receive_byebye("dev-1")
        # A byebye takes effect after 2 s.
        await self.until(_ROWS, lambda rows: not rows, 2.0 + 2.0)
        await self.assert_log_is_empty()

    async def test_names_with_markup(self) -> None:
        """A device ID with markup is shown as text, in the first page and in an update."""
        names = ("<script>window.run = 1</script>", "<img src=x onerror='window.run = 2'>", "javascript:window.run=3")
        self.daemon.receive_alive(names[0])
        await self.open()
        for device in names[1:]:
            self.daemon.receive_alive(device)
        await self.until(_ROWS, lambda rows: len(rows) == 3)
        text = await self.run_script("return document.body.innerText")
        for device in names:
            self.assertIn(device, text)
        self.assertIsNone(await self.run_script("return window.run ?? null"))
        self.assertEqual(await self.run_script("return document.querySelectorAll('main script, main img').length"), 0)
        await self.assert_log_is_empty()

    async def test_inline_script_is_not_run(self) -> None:
        """The content security policy prevents an inline script from running."""
        await self.open()
        await self.run_script(
            "const added = document.createElement('div'); added.innerHTML = '<img src=x onerror=\"window.run = 1\">';"
            "document.body.append(added)"
        )
        await self.until("return performance.now()", lambda now: now > 500)
        self.assertIsNone(await self.run_script("return window.run ?? null"))
        self.assertIn("Content Security Policy", " ".join(await deferToThread(self.browser.log)))

    async def serve(self, root: IResource) -> None:
        """Replace the web server by one with another root."""
        await self.web.stopService()
        self.web = WebService(reactor, f"tcp:{self.address.rpartition(':')[2]}:interface=127.0.0.1", root)
        self.web.startService()
        self.addCleanup(self.web.stopService)

    async def test_restart_of_the_daemon(self) -> None:
        """The page shows that the daemon does not answer, and reconnects when it is back."""
        await self.open()
        await self.web.stopService()
        await self.until(_STALE, bool)
        await self.serve(self.daemon.root)
        self.daemon.receive_alive("dev-1")
        await self.until(_ROWS, lambda rows: len(rows) == 1)
        self.assertFalse(await self.run_script(_STALE))

    async def test_error_response(self) -> None:
        """The page reconnects after an error response, such as that of a proxy while the daemon restarts."""
        await self.open()
        await self.serve(Folder())
        await self.until("return stream.readyState === EventSource.CLOSED", bool)
        self.assertTrue(await self.run_script(_STALE))
        await self.serve(self.daemon.root)
        await self.until(_STALE, lambda stale: not stale)

    async def test_focus(self) -> None:
        """The focused element keeps its focus when rows are added before and after it."""
        self.daemon.receive_alive("dev-5")
        await self.open()
        await self.run_script("document.querySelector('#rows a').focus(); document.activeElement.mark = 1")
        for number in (3, 4, 6, 7):
            self.daemon.receive_alive(f"dev-{number}")
        await self.until(_ROWS, lambda rows: len(rows) == 5)
        order = [row.split()[1] for row in await self.run_script(_ROWS)]
        self.assertEqual(order, ["dev-3", "dev-4", "dev-5", "dev-6", "dev-7"])
        self.assertEqual(await self.run_script("return document.activeElement.mark"), 1)

    async def test_filter(self) -> None:
        """The filter is applied while it is typed, and is part of the URL."""
        for number in range(12):
            self.daemon.receive_alive(f"dev-{number}")
        await self.open()
        await self.run_script(
            "const q = document.getElementById('q'); q.value = 'dev-11'; q.dispatchEvent(new Event('input'))"
        )
        await self.until(_ROWS, lambda rows: len(rows) == 1)
        self.assertEqual(await self.run_script("return location.search"), "?q=dev-11")
        await self.open("/?q=dev-3")
        self.assertEqual(len(await self.run_script(_ROWS)), 1)

    async def test_durations(self) -> None:
        """The script formats durations as the server does."""
        seconds = [-5, 0, 59.9, 60, 119, 3599, 3600, 3725, 86399, 86400, 90000, 1_000_000]
        await self.open()
        formatted = await self.run_script("return arguments[0].map(formatDuration)", seconds)
        self.assertEqual(formatted, [format_duration(each) for each in seconds])

    async def test_renewal(self) -> None:
        """The remaining time of a service is right after a renewal, for which there is no event."""
        renewals = LoopingCall(self.daemon.receive_alive, "dev-1", max_age=3)
        renewals.start(0.5)
        self.addCleanup(renewals.stop)
        await self.open()
        # Two events may occur in this time: the end of the first search, and the next minute of the charts.
        for _ in range(3):
            await self.until(_REMAINING, lambda text: text == "0 s")
            await self.until(_REMAINING, lambda text: text == "3 s")

    async def test_five_thousand(self) -> None:
        """The page is loaded within 5 s and updated within 2 s with five thousand services."""
        for number in range(5000):
            self.daemon.receive_alive(f"dev-{number:04}", sender=f"10.0.0.{number % 8}")
        began = time.monotonic()
        await self.open()
        self.assertLess(time.monotonic() - began, 5.0)
        self.daemon.receive_alive("dev-0000a")
        await self.until(_ROWS, lambda rows: "dev-0000a" in rows[1], 2.0)
        text = await self.run_script("return document.querySelector('caption').textContent")
        self.assertEqual(text, "1 to 100 of 5,001 services")

    async def test_phone(self) -> None:
        """The page is no wider than the screen of a phone, also with long device IDs."""
        self.daemon.receive_alive("x" * 200, location=f"http://{'y' * 60}.{'z' * 60}/")
        await deferToThread(
            self.browser.command,
            "Emulation.setDeviceMetricsOverride",
            width=360,
            height=740,
            deviceScaleFactor=2,
            mobile=True,
        )
        self.addCleanup(self.browser.command, "Emulation.clearDeviceMetricsOverride")
        await self.open()
        scroll_width, client_width = await self.run_script(_WIDTHS)
        self.assertLessEqual(scroll_width, client_width)

    async def test_accessible(self) -> None:
        """Tables, headings, fields and changes have names for screen readers."""
        self.daemon.receive_alive("dev-1")
        await self.open()
        tree = await deferToThread(self.browser.command, "Accessibility.getFullAXTree")
        nodes = {
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in tree["nodes"]
            if not node["ignored"]
        }
        for expected in (
            ("table", "1 service"),
            ("columnheader", "Expires in"),
            ("rowheader", "RackHD-service:api:2.0"),
            ("heading", "Services"),
            ("heading", "The last hour"),
            ("searchbox", "Show only services with these words"),
            ("link", "10.0.0.5:8080"),
        ):
            self.assertIn(expected, nodes, json.dumps(sorted(nodes)))
        live = await self.run_script("return document.querySelector('[aria-live=polite]').textContent")
        self.assertEqual(live, "1 service on 1 device")

    async def test_contrast(self) -> None:
        """All text has the contrast that WCAG 2.1 requires, in the light and the dark color scheme."""
        self.daemon.receive_alive("dev-1")
        for scheme in ("light", "dark"):
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            await deferToThread(self.browser.command, "Emulation.setEmulatedMedia", features=features)
            await self.open()
            self.assertGreaterEqual(await self.run_script(_LEAST_CONTRAST), 4.5, scheme)


#: Returns the lowest contrast between a text and its background, as defined by WCAG 2.1.
_LEAST_CONTRAST = """
const parse = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
const luminance = (rgb) => {
  const [r, g, b] = rgb.map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (element) => {
  for (let each = element; each; each = each.parentElement) {
    const color = getComputedStyle(each).backgroundColor;
    if (!color.startsWith("rgba(0, 0, 0, 0")) return parse(color);
  }
  return [255, 255, 255];
};
let least = 21;
for (const element of document.querySelectorAll("body *")) {
  if (![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
  if (!element.checkVisibility() || element.closest(".none")) continue;
  const [a, b] = [luminance(parse(getComputedStyle(element).color)), luminance(ground(element))];
  least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
}
return least;
"""
