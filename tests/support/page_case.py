"""The status page of a daemon in memory, in a real browser."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.threads import deferToThread

from tests.support.browser import shared_browser
from tests.support.paths import ROOT
from tests.support.programs import ProgramTestCase, skip_without
from tests.support.waiting import wait_until

#: The file that ``.ci/provision`` downloads.
_AXE = ROOT / ".npm" / "node_modules" / "axe-core" / "axe.min.js"
_RUN_AXE = "axe.run(document).then((result) => JSON.stringify(result.violations))"


def skip_without_axe() -> str | None:
    """
    Return the ``skip`` of tests that need axe-core: a reason, or None if it is installed.

    :raise RuntimeError: If it is missing and ``SSDPREG_REQUIRE_ALL`` is set.
    """
    if _AXE.exists():
        return None
    reason = f"Needs {_AXE.relative_to(ROOT)}: run .ci/provision."
    if os.environ.get("SSDPREG_REQUIRE_ALL"):
        raise RuntimeError(reason)
    return reason


class PageTestCase(ProgramTestCase):
    """The status page of a daemon in memory, in Chromium."""

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

    async def click(self, selector: str) -> None:
        """Click on the first element that a selector matches."""
        await self.run_script("document.querySelector(arguments[0]).click()", selector)

    async def press(self, key: str, text: str = "") -> None:
        """
        Press a key, which the focused element receives.

        :param key: ``Enter`` or ``Tab``.
        :param text: Text that the key produces.
        """
        code = {"Enter": 13, "Tab": 9}[key]
        command = partial(self.browser.command, "Input.dispatchKeyEvent", key=key, windowsVirtualKeyCode=code)
        await deferToThread(command, type="keyDown", text=text)
        await deferToThread(command, type="keyUp")

    async def use_color_scheme(self, scheme: str) -> None:
        """Let the browser prefer ``light`` or ``dark`` until the end of the test."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await deferToThread(self.browser.command, "Emulation.setEmulatedMedia", features=features)
        self.addCleanup(self.browser.command, "Emulation.setEmulatedMedia", features=[])

    async def use_phone(self, width: int) -> None:
        """Give the browser the screen of a phone until the end of the test."""
        await deferToThread(
            self.browser.command,
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=740,
            deviceScaleFactor=2,
            mobile=True,
        )
        self.addCleanup(self.browser.command, "Emulation.clearDeviceMetricsOverride")

    async def violations(self) -> list[str]:
        """Return the faults that axe-core finds in the page: its rules of WCAG 2 and of good practice."""
        # DevTools evaluate the script: the content security policy of the page stays in force.
        await deferToThread(self.browser.command, "Runtime.evaluate", expression=_AXE.read_text())
        answer = await deferToThread(
            self.browser.command, "Runtime.evaluate", expression=_RUN_AXE, awaitPromise=True, returnByValue=True
        )
        return [
            f"{violation['id']}: {violation['help']}: {node['html'][:200]}"
            for violation in json.loads(answer["result"]["value"])
            for node in violation["nodes"]
        ]
