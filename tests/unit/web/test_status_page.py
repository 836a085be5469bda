"""Tests for :mod:`ssdpreg.web.status_page`, as a reader without a script sees the page."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.backends.embedded import EmbeddedBackend
from ssdpreg.errors import BackendRefusedError
from ssdpreg.interfaces import IRegistryBackend
from ssdpreg.registration import Outcome, Plan
from ssdpreg.ssdp.interfaces import NetworkInterface
from tests.support.memory_daemon import LLDP, Daemon, Reader
from tests.support.memory_reactor import MemoryMulticastReactor
from tests.unit.web.test_health import BrokenBackend


class RefusingBackend(EmbeddedBackend):
    """A backend that says no to everything."""

    async def apply(self, plan: Plan) -> Outcome:
        error = BackendRefusedError(403, "<b>Permission denied</b>")
        return Outcome(refused={registration.service_id: error for registration in plan.register})


class _Reading(HTMLParser):
    """Takes a page to pieces: its text, and its elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


class StatusPageTests(SynchronousTestCase):
    """Tests for :class:`StatusPage`, through HTTP in memory."""

    def setUp(self) -> None:
        self.reactor = MemoryMulticastReactor()

    def start(self, backend: IRegistryBackend | None = None, seconds: int = 10) -> Daemon:
        """Start a daemon, some seconds ago."""
        daemon = Daemon(self.reactor, backend, adapters=[NetworkInterface("eth0", 2, ("10.0.0.1",))])
        daemon.start()
        self.addCleanup(self.reactor.advance, 0)
        self.addCleanup(daemon.stop)
        self.reactor.pump([1] * seconds)
        self.daemon = daemon
        return daemon

    def read(self, path: str = "/") -> str:
        """Return the page."""
        self.reader = Reader(self.daemon.root, self.reactor, path)
        self.assertEqual(self.reader.status, 200)
        return self.reader.body.decode()

    def text(self, path: str = "/") -> str:
        """Return what a person reads, with single blanks."""
        return " ".join(" ".join(_Reading(self.read(path)).texts).split())

    def test_service(self) -> None:
        """A service is shown with its device, address, tag, age, end and state."""
        daemon = self.start()
        daemon.hear_alive("dev-1", location="https://[2001:db8::5]/redfish", max_age=3600)
        self.reactor.pump([1] * 65)
        self.assertIn("RackHD-service:api:2.0 dev-1 [2001:db8::5]:443 RackHD 1 min 59 min registered", self.text())
        links = [attributes for tag, attributes in _Reading(self.read()).elements if tag == "a"]
        self.assertIn({"rel": "noreferrer noopener", "href": "https://[2001:db8::5]/redfish"}, links)

    def test_nothing(self) -> None:
        """Where there is nothing, the page says what would be."""
        self.start()
        text = self.text()
        self.assertIn("Listening. No device has announced what is asked for:", text)
        self.assertIn(LLDP, text)

    def test_searching(self) -> None:
        """Before the first search is over, the page says so."""
        self.start(seconds=1)
        self.assertIn("Searching…", self.text())

    def test_daemon(self) -> None:
        """The page tells how the daemon is: its backend, what it asks for, and where."""
        self.start()
        self.assertIn("on host-1 memory asks for 3 types eth0 10.0.0.1", self.text())

    def test_backend_unavailable(self) -> None:
        """A backend that does not answer is shown, and what it has yet to be told."""
        daemon = self.start(BrokenBackend())
        daemon.hear_alive("dev-1")
        text = self.text()
        self.assertIn("memory is unavailable", text)
        self.assertIn("1 waiting 0 refused", text)

    def test_refused(self) -> None:
        """What was refused is shown with the reason."""
        daemon = self.start(RefusingBackend())
        daemon.hear_alive("dev-1")
        self.reactor.pump([1])
        self.assertIn("refused 403 <b>Permission denied</b>", self.text())

    def test_events(self) -> None:
        """What happened is told, the latest first, in a list and in the picture."""
        daemon = self.start()
        daemon.hear_alive("dev-1")
        daemon.hear_alive("dev-2", max_age=5)
        daemon.hear_bye("dev-1")
        self.reactor.pump([1] * 7)
        text = self.text()
        self.assertRegex(
            text, "Latest events .* fell silent dev-2 .* said goodbye dev-1 .* appeared dev-2 .* appeared dev-1"
        )
        self.assertIn("appeared 2 said goodbye 1 fell silent 1", text)
        self.assertIn("between 0 and 0 services were live. 2 appeared, 1 said goodbye, 1 fell silent.", self.read())

    def test_strangers_words_are_text(self) -> None:
        """Nothing that a device says becomes markup, nor does what a reader looks for."""
        daemon = self.start()
        elements = [tag for tag, _ in _Reading(self.read("/?q=x")).elements]
        for hostile in ('<script>alert("1")</script>', '"><img src=x onerror=alert(1)>', "&lt;b&gt;"):
            daemon.hear_alive(hostile)
        self.assertIn('<script>alert("1")</script>', self.text())
        self.assertIn("&lt;b&gt;", self.text())
        found = _Reading(self.read('/?q="><script>x</script>'))
        self.assertEqual([tag for tag, _ in found.elements if tag != "li" and tag != "rect"].count("script"), 1)
        self.assertEqual(elements.count("img"), 1)
        self.assertEqual([tag for tag, _ in _Reading(self.read()).elements].count("img"), 1)

    def test_policy(self) -> None:
        """A browser is told to run and load nothing but the page's own files, which needs nothing else."""
        self.start()
        page = self.read()
        policy = self.reader.headers["Content-Security-Policy"]
        self.assertIn("default-src 'none'; script-src 'self'", policy)
        self.assertNotIn("unsafe", policy)
        self.assertEqual(re.findall(r'\bstyle="|\bon[a-z]+="|<style|<script(?! src)', page), [])

    def test_files(self) -> None:
        """The files that the page asks for are there, with types that a browser takes."""
        self.start()
        files = set(re.findall(r'(?:src|href)="(static/[^"]+)"', self.read()))
        self.assertEqual(files, {"static/icon.svg", "static/page.css", "static/page.js"})
        types = {name: Reader(self.daemon.root, self.reactor, f"/{name}").headers["Content-Type"] for name in files}
        self.assertEqual(types["static/page.css"], "text/css; charset=utf-8")
        self.assertEqual(types["static/page.js"], "text/javascript; charset=utf-8")
        self.assertEqual(types["static/icon.svg"], "image/svg+xml")
        self.assertEqual(Reader(self.daemon.root, self.reactor, "/static/").status, 404)
        self.assertEqual(Reader(self.daemon.root, self.reactor, "/static/..%2fpage.xml").status, 404)

    def test_unchanged_file(self) -> None:
        """A file that a browser has already is not sent again."""
        self.start()
        first = Reader(self.daemon.root, self.reactor, "/static/page.js")
        self.assertIn(b"EventSource", first.body)
        etag = first.headers["ETag"]
        again = Reader(self.daemon.root, self.reactor, "/static/page.js", headers={"If-None-Match": etag})
        self.assertEqual((again.status, again.body), (304, b""))

    def test_filter(self) -> None:
        """Without a script the page can be filtered and turned, too."""
        daemon = self.start()
        for number in range(120):
            daemon.hear_alive(f"dev-{number:03}")
        self.assertIn("1 to 100 of 120 services", self.text())
        page = self.read("/?q=DEV&page=2")
        self.assertIn("101 to 120 of 120 services", page)
        self.assertIn('value="DEV"', page)
        self.assertIn('href="?q=DEV&amp;page=1" rel="prev"', page)
        self.assertIn("1 of 120 services", self.text("/?q=dev-007"))
        self.assertIn("None of 120 services has all these words.", self.text("/?q=nothing"))
        for nonsense in ("x", "-1", "9" * 5000, "²"):
            self.assertIn("of 120 services", self.text(f"/?page={nonsense}".replace("²", "%C2%B2")))

    def test_reloads_without_script(self) -> None:
        """Without a script the page loads itself again."""
        self.start()
        self.assertIn('<noscript><meta http-equiv="refresh" content="10"', self.read())
