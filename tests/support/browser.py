"""A browser for tests: headless Chromium, controlled through ChromeDriver by the W3C's WebDriver protocol."""

from __future__ import annotations

import atexit
import functools
import json
import subprocess
import tempfile
import urllib.request
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.consul import free_ports
from tests.support.hosts import Host
from tests.support.waiting import wait_until

#: Flags that set a wide window, and that switch off Chromium's own requests to the internet and its sandbox, which does
#: not work for root.
_FLAGS = (
    "--headless",
    "--window-size=1400,1000",
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

#: Default port of ChromeDriver. On a test host, the port is free.
_HOST_PORT = 9515


class Browser:
    """
    A browser with one tab. All methods block.

    :param host: The host on whose network the browser runs, or None for the network of this process.
    """

    def __init__(self, host: Host | None = None) -> None:
        self._host = host
        port = _HOST_PORT if host is not None else free_ports(1)[0]
        self._folder = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        enter: Sequence[str] = () if host is None else ("ip", "netns", "exec", host.name)
        self._driver = subprocess.Popen(
            [*enter, "chromedriver", f"--port={port}", "--allowed-ips=127.0.0.1"],
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
        """Stop the browser, and remove its files."""
        try:
            self._request("DELETE", self._session)
        finally:
            self._driver.terminate()
            self._driver.wait()
            self._folder.cleanup()

    def go(self, url: str) -> None:
        """Load a page."""
        self._post(f"{self._session}/url", {"url": url})

    def run(self, script: str, *arguments: object) -> Any:
        """Run the body of a function in the page, and return its result."""
        return self._post(f"{self._session}/execute/sync", {"script": script, "args": list(arguments)})

    def command(self, method: str, **parameters: object) -> Any:
        """Send a command of the DevTools protocol."""
        return self._post(f"{self._session}/goog/cdp/execute", {"cmd": method, "params": parameters})

    def screenshot(self, path: Path) -> None:
        """Write a picture of the page to a PNG file."""
        path.write_bytes(b64decode(self.command("Page.captureScreenshot", captureBeyondViewport=True)["data"]))

    def log(self) -> list[str]:
        """Return the messages of the browser's console since the last call."""
        return [entry["message"] for entry in self._post(f"{self._session}/se/log", {"type": "browser"})]

    def _is_up(self) -> bool:
        try:
            return bool(self._request("GET", "/status")["ready"])
        except OSError:
            return False

    def _post(self, path: str, body: object) -> Any:
        return self._request("POST", path, body)

    def _request(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, {"Content-Type": "application/json"}, method=method)
        # ChromeDriver runs on this machine: the proxies of the environment must not be used.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        def send() -> Any:
            with opener.open(request, timeout=60) as response:
                return json.load(response)["value"]

        return send() if self._host is None else self._host.inside(send)


@functools.cache
def shared_browser() -> Browser:
    """Return a browser that all tests share. It is started by the first of them and stopped at exit."""
    browser = Browser()
    atexit.register(browser.close)
    return browser
