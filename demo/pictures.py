"""
Pictures for the documentation, made from the running demo: the status page in a browser, and ``ssdpreg watch``.

Needs Chromium and ChromeDriver on the PATH (Debian: ``apt-get install chromium chromium-driver``). Takes about 40 s.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from tests.support.browser import Browser
from tests.support.paths import ROOT

#: The Consul that CI unpacks is used if there is no other, so that the pictures show the usual backend.
_CONSUL = ROOT / ".consul" / "usr" / "bin"
#: Seconds until the demo has a status page, and until its visiting device has come, left and come again.
_START_TIMEOUT = 30.0
_RECORDING = 30.0
#: Seconds between loading the page and taking its picture: its scripts update it every second.
_PAGE_DELAY = 3.0
#: Width of the terminal in characters, and of the page in pixels.
_COLUMNS = 100
_PAGE_WIDTH = 1280
#: Sequences that control a terminal: ECMA-48, section 5.4.
_CONTROL_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
#: Size limit of a picture in bytes: every clone of the repository contains all versions of it.
_MAX_SIZE = 150_000


class PictureError(Exception):
    """A picture cannot be made. The text contains the reason."""


class Recording:
    """
    A process in a terminal, whose output is recorded.

    :param command: Program and arguments.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._output = bytearray()
        self._main, terminal = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(_COLUMNS), "LINES": "50"}
        environment["PATH"] = os.pathsep.join([environment["PATH"], str(_CONSUL)])
        environment.pop("NO_COLOR", None)
        # A new session: Ctrl-C ends this program alone, which then stops the process.
        self._process = subprocess.Popen(
            command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment, start_new_session=True, cwd=ROOT
        )
        os.close(terminal)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        """Output until now, with the control sequences for colours."""
        return self._output.decode(errors="replace").replace("\r\n", "\n")

    def search(self, pattern: str, seconds: float) -> str:
        """
        Wait for text in the output, and return the first group of the pattern.

        :raise PictureError: If the text does not appear in time, or the process ends before.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._process.poll() is None:
            if found := re.search(pattern, _CONTROL_SEQUENCE.sub("", self.output)):
                return found[1]
            time.sleep(0.1)
        raise PictureError(f"no {pattern} in the output of {self._process.args!r}:\n{self.output}")

    def stop(self) -> None:
        """End the process as Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        os.close(self._main)

    def _read(self) -> None:
        # Linux reports the end of the other side as an error.
        try:
            while chunk := os.read(self._main, 65536):
                self._output += chunk
        except OSError:
            pass


@contextmanager
def recording(*command: str) -> Iterator[Recording]:
    """Run a command in a terminal for the time of the context."""
    process = Recording(command)
    try:
        yield process
    finally:
        process.stop()


def draw_terminal(command: str, output: str, path: Path) -> None:
    """
    Draw a terminal with a command and its output.

    :param path: The SVG file to write.
    """
    console = Console(record=True, width=_COLUMNS, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
    console.print(Text.from_ansi(output.rstrip()))
    # A constant identifier: otherwise each run writes another file.
    svg = console.export_svg(title=command, theme=MONOKAI, unique_id="terminal")
    # Browsers block fonts from other hosts in a picture. Those of the reader's system are used.
    path.write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL))


def photograph_page(url: str, path: Path, element: str = "html", script: str = "") -> None:
    """
    Take a picture of a page as a reader sees it some seconds after loading.

    :param path: The PNG file to write.
    :param element: Selector of the element to show.
    :param script: Script that runs in the page after it is loaded.
    """
    browser = Browser()
    try:
        browser.command("Emulation.setScrollbarsHidden", hidden=True)
        set_size(browser, 800)
        browser.go(url)
        time.sleep(_PAGE_DELAY)
        if script:
            browser.run(script)
            time.sleep(_PAGE_DELAY)
        # Repeated, because the height of the page may change with the height of the window.
        for _ in range(3):
            set_size(browser, browser.run("return document.documentElement.scrollHeight"))
        box = browser.run(
            "const box = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return {x: box.x, y: box.y, width: box.width, height: box.height, scale: 1}",
            element,
        )
        taken = browser.command("Page.captureScreenshot", format="png", clip=box)
    finally:
        browser.close()
    with Image.open(io.BytesIO(base64.b64decode(taken["data"]))) as image:
        # A palette of 256 colours makes the file less than half as large.
        image.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
            path, optimize=True
        )


def set_size(browser: Browser, height: int) -> None:
    """
    Set the size of the browser's window.

    :param height: Height in pixels.
    """
    browser.command(
        "Emulation.setDeviceMetricsOverride", width=_PAGE_WIDTH, height=height, deviceScaleFactor=1, mobile=False
    )


def make_pictures(folder: Path) -> list[Path]:
    """
    Run the demo and make all pictures.

    :param folder: Folder of the pictures. It is created if it does not exist.
    :raise PictureError: If a program is missing, the demo does not work, or a picture is too large.
    """
    for program in ("chromium", "chromedriver"):
        if shutil.which(program) is None:
            raise PictureError(f"{program} is not on the PATH (Debian: apt-get install chromium chromium-driver)")
    folder.mkdir(parents=True, exist_ok=True)
    page, service, terminal = folder / "status-page.png", folder / "service-details.png", folder / "watch.svg"
    with recording(sys.executable, str(ROOT / "demo" / "demo.py")) as demo:
        url = demo.search(r"(http://127\.0\.0\.1:\d+)/(?!\w)", _START_TIMEOUT)
        command = ["ssdpreg", "watch", *([] if url.endswith(":8580") else ["--url", url])]
        with recording(sys.executable, "-m", *command) as watch:
            time.sleep(_RECORDING)
            photograph_page(f"{url}/", page)
            photograph_page(f"{url}/?q=api", service, "#services", "document.querySelector('.toggle').click()")
            output = watch.output
        draw_terminal(" ".join(command), output, terminal)
    for picture in (page, service, terminal):
        if picture.stat().st_size > _MAX_SIZE:
            raise PictureError(f"{picture} has more than {_MAX_SIZE} bytes")
    return [page, service, terminal]


def main() -> int:
    """Run the program, and return its exit status."""
    parser = argparse.ArgumentParser(description="Make the pictures of the documentation from the running demo.")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "docs" / "images", help="folder of the pictures (default: docs/images)"
    )
    # A shell lets its background processes ignore SIGINT, and they pass that on. The processes here end by SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        made = make_pictures(parser.parse_args().folder)
    except PictureError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for picture in made:
        sys.stdout.write(f"{picture}: {picture.stat().st_size} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
