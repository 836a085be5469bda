"""The script of the status page in a real browser, with a daemon in memory."""

from __future__ import annotations

import re
import time
from functools import partial
from operator import eq

from twisted.internet import reactor
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread
from twisted.web.resource import IResource

from ssdpreg.web.resources import Folder
from ssdpreg.web.service import WebService
from ssdpreg.web.status import format_duration
from tests.support.page_case import PageTestCase

_ROWS = "return [...document.querySelectorAll('#rows tr')].map(row => row.innerText)"
_REMAINING = "return document.querySelector('[data-remaining]')?.textContent"
_STALE = "return document.body.classList.contains('stale')"


class BrowserTests(PageTestCase):
    """The script of the status page in Chromium."""

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


#: Devices in the order of the rows.
_DEVICES = "return [...document.querySelectorAll('#rows .device')].map(cell => cell.innerText)"
_DETAILS = "return [...document.querySelectorAll('#rows .details')].map(row => row.innerText)"
_SORTED = "return [...document.querySelectorAll('[aria-sort]')].map(head => `${head.innerText} ${head.ariaSort}`)"


class ServicesTests(PageTestCase):
    """Opened services and their order, in Chromium."""

    async def test_open_and_close(self) -> None:
        """A service is opened and closed in place by the keyboard, is in the URL, and the focus stays."""
        for number in (1, 2):
            self.daemon.receive_alive(f"dev-{number}")
        await self.open()
        await self.run_script(
            "document.querySelector('.toggle').focus(); document.activeElement.mark = 1; window.mark = 1"
        )
        await self.press("Enter", "\r")
        await self.until(_DETAILS, lambda details: len(details) == 1 and "Received" in details[0], 2.0)
        self.assertRegex(await self.run_script("return location.search"), r"^\?open=ssdpreg-[a-z0-9-]+$")
        self.assertEqual(await self.run_script("return [document.activeElement.mark, window.mark]"), [1, 1])
        await self.press("Tab")
        self.assertEqual(await self.run_script("return document.activeElement.innerText"), "10.0.0.5:8080")
        await self.press("Tab")
        self.assertTrue(await self.run_script("return document.activeElement.closest('.details') !== null"))
        await self.run_script("document.querySelector('.toggle').focus()")
        await self.press("Enter", "\r")
        await self.until(_DETAILS, lambda details: not details, 2.0)
        self.assertEqual(await self.run_script("return [location.search, window.mark]"), ["", 1])
        await self.assert_log_is_empty()

    async def test_fast_clicks(self) -> None:
        """Clicks before the page is updated are all applied: to services, and to the order."""
        for number in (1, 2, 3):
            self.daemon.receive_alive(f"dev-{number}")
        await self.open()
        click = "for (const selector of arguments) document.querySelector(selector).click()"
        rows = [f"tbody tr:nth-of-type({number}) .toggle" for number in (1, 2, 3)]
        await self.run_script(click, *rows, "th:nth-child(2) .sort", "th:nth-child(3) .sort")
        await self.until(_DETAILS, lambda details: len(details) == 3, 3.0)
        await self.until(_SORTED, partial(eq, ["Address ascending"]), 3.0)
        toggles = "document.querySelectorAll('.toggle').forEach((toggle, index) => index < 2 && toggle.click())"
        await self.run_script(toggles)
        await self.until(_DETAILS, lambda details: len(details) == 1, 3.0)

    async def test_updates_keep_details(self) -> None:
        """An opened service stays open at updates, with the focus in it, and shows what changed."""
        self.daemon.receive_alive("dev-2")
        await self.open()
        await self.click(".toggle")
        await self.until(_DETAILS, lambda details: len(details) == 1)
        await self.run_script("document.querySelector('.details a').focus(); document.activeElement.mark = 1")
        self.daemon.receive_alive("dev-1")
        self.daemon.receive_alive("dev-2", location="http://10.0.0.5:9/")
        await self.until(_DETAILS, lambda details: "moved from http://10.0.0.5:8080/" in details[0])
        self.assertEqual(await self.run_script(_DEVICES), ["dev-1", "dev-2"])
        self.assertEqual(await self.run_script("return document.activeElement.mark"), 1)

    async def test_reception(self) -> None:
        """The time since the latest reception is right within 6 s of a renewal, for which there is no event."""
        self.daemon.receive_alive("dev-1")
        await self.open()
        await self.click(".toggle")
        # Other events, such as the end of the first search, would update the page too.
        await self.run_script("stream.onmessage = null")
        await self.until(_DETAILS, lambda details: bool(details) and "Received 3 s ago" in details[0])
        self.daemon.receive_alive("dev-1")
        renewed = time.monotonic()

        def is_right(details: list[str]) -> bool:
            match = re.search(r"Received (\d+) s ago", details[0])
            return match is not None and int(match[1]) <= time.monotonic() - renewed

        await self.until(_DETAILS, is_right, 6.0)

    async def test_sort(self) -> None:
        """A click on the head of a column sorts in place, a second one reverses, and updates keep the order."""
        for number in (2, 1):
            self.daemon.receive_alive(f"dev-{number}", location=f"http://10.0.0.{5 + number}/")
        await self.open("/?q=dev")
        await self.run_script("window.mark = 1")
        for direction, order in (("ascending", ["dev-1", "dev-2"]), ("descending", ["dev-2", "dev-1"])):
            await self.click("th:nth-child(2) .sort")
            await self.until(_SORTED, partial(eq, [f"Device {direction}"]), 2.0)
            self.assertEqual(await self.run_script(_DEVICES), order)
        self.assertEqual(await self.run_script("return [location.search, window.mark]"), ["?q=dev&sort=-device", 1])
        self.daemon.receive_alive("dev-3")
        await self.until(_DEVICES, lambda devices: devices == ["dev-3", "dev-2", "dev-1"])
        # The filter keeps the order.
        await self.run_script(
            "const q = document.getElementById('q'); q.value = '10.0.0'; q.dispatchEvent(new Event('input'))"
        )
        await self.until("return location.search", lambda search: search == "?q=10.0.0&sort=-device")
        await self.until(_DEVICES, lambda devices: devices == ["dev-3", "dev-2", "dev-1"])

    async def test_link(self) -> None:
        """The link to a service opens a page with this service, opened."""
        for number in (1, 2):
            self.daemon.receive_alive(f"dev-{number}")
        await self.open()
        await self.click("tr:nth-child(2) .toggle")
        await self.until(_DETAILS, lambda details: len(details) == 1)
        link = await self.run_script("return [...document.querySelectorAll('.details a')].at(-1).getAttribute('href')")
        await self.open(f"/{link}")
        self.assertEqual(await self.run_script(_DEVICES), ["dev-2"])
        self.assertEqual(len(await self.run_script(_DETAILS)), 1)
