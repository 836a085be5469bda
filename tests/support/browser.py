"""A browser for tests: Chromium without a window, driven by ChromeDriver over HTTP as the W3C's WebDriver has it."""

from __future__ import annotations

import atexit
import functools
import json
import subprocess
import tempfile
import urllib.request
from typing import Any

from tests.support.consul import free_ports
from tests.support.waiting import wait_until

#: Whatever Chromium would ask the world for, and the sandbox that does not work for root.
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
)


class Browser:
    """A browser with one tab. All methods block."""

    def __init__(self) -> None:
        (port,) = free_ports(1)
        self._folder = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        self._driver = subprocess.Popen(
            ["chromedriver", f"--port={port}", "--allowed-ips=127.0.0.1"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._url = f"http://127.0.0.1:{port}"
        wait_until(self._is_up, 60, what="ChromeDriver")
        capabilities = {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": [*_FLAGS, f"--user-data-dir={self._folder.name}"]},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        session = self._post("/session", {"capabilities": {"alwaysMatch": capabilities}})
        self._session = f"/session/{session['sessionId']}"

    def close(self) -> None:
        """End it, and all that it wrote."""
        try:
            self._ask("DELETE", self._session)
        finally:
            self._driver.terminate()
            self._driver.wait()
            self._folder.cleanup()

    def go(self, url: str) -> None:
        """Load a page."""
        self._post(f"{self._session}/url", {"url": url})

    def run(self, script: str, *arguments: object) -> Any:
        """Run the body of a function in the page, and return what it returns."""
        return self._post(f"{self._session}/execute/sync", {"script": script, "args": list(arguments)})

    def command(self, method: str, **parameters: object) -> Any:
        """Give a command of the DevTools protocol."""
        return self._post(f"{self._session}/goog/cdp/execute", {"cmd": method, "params": parameters})

    def log(self) -> list[str]:
        """Tell what the page complained about since the last time."""
        return [entry["message"] for entry in self._post(f"{self._session}/se/log", {"type": "browser"})]

    def _is_up(self) -> bool:
        try:
            return bool(self._ask("GET", "/status")["ready"])
        except OSError:
            return False

    def _post(self, path: str, body: object) -> Any:
        return self._ask("POST", path, body)

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, {"Content-Type": "application/json"}, method=method)
        # It is here, whatever proxies the environment names.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as response:
            return json.load(response)["value"]


@functools.cache
def shared_browser() -> Browser:
    """Return a browser that all tests share, started with the first of them and ended with the last."""
    browser = Browser()
    atexit.register(browser.close)
    return browser
