"""Tests for :mod:`ssdpreg.web.status_page`, on the HTML of the page."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.backends.embedded import EmbeddedBackend
from ssdpreg.errors import BackendRefusedError
from ssdpreg.interfaces import IRegistryBackend
from ssdpreg.registration import Outcome, Plan
from ssdpreg.ssdp.interfaces import NetworkInterface
from tests.support.memory_daemon import LLDP, Daemon, Exchange, UnavailableBackend
from tests.support.memory_reactor import MemoryMulticastReactor


class RefusingBackend(EmbeddedBackend):
    """A backend that refuses every registration."""

    async def apply(self, plan: Plan) -> Outcome:
        error = BackendRefusedError(403, "<b>Permission denied</b>")
        return Outcome(refused={registration.service_id: error for registration in plan.register})


class _Parser(HTMLParser):
    """Parser that collects the texts and the elements of a page."""

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
        """Start a daemon, and let some seconds pass."""
        daemon = Daemon(self.reactor, backend, adapters=[NetworkInterface("eth0", 2, ("10.0.0.1",))])
        daemon.start()
        self.addCleanup(self.reactor.advance, 0)
        self.addCleanup(daemon.stop)
        self.reactor.pump([1] * seconds)
        self.daemon = daemon
        return daemon

    def test_competing_claims(self) -> None:
        """An opened service shows claims of other LOCATIONs. Without any, there is no heading for them."""
        daemon = self.start()
        daemon.receive_alive("dev-1")
        service_id = next(iter(daemon.registry.registrations))
        self.assertNotIn("Also claimed", self.get(f"/?open={service_id}"))
        daemon.receive_alive("dev-1", location="http://10.0.0.9:99/<b>", sender="10.0.0.9")
        self.reactor.advance(3)
        page = self.get(f"/?open={service_id}")
        self.assertIn("<h3>Also claimed at</h3>", page)
        text = re.sub(r"<[^>]+>", "", page)
        self.assertIn("http://10.0.0.9:99/&lt;b&gt;, announced by 10.0.0.9: direct, does not answer searches", text)
        self.assertIn("received 3 s ago, first 3 s ago", text)
        # A LOCATION that the device itself left does not compete.
        daemon.receive_alive("dev-2")
        daemon.receive_alive("dev-2", location="http://10.0.0.5:1/")
        last = list(daemon.registry.registrations)[-1]
        self.assertNotIn("Also claimed", self.get(f"/?open={last}"))

    def get(self, path: str = "/") -> str:
        """Return the HTML of the page."""
        self.exchange = Exchange(self.daemon.root, self.reactor, path)
        self.assertEqual(self.exchange.status, 200)
        return self.exchange.body.decode()

    def text(self, path: str = "/") -> str:
        """Return the text of the page, with single blanks."""
        return " ".join(" ".join(_Parser(self.get(path)).texts).split())

    def test_service(self) -> None:
        """A row has name, device, address, tag, age, remaining time and state of a service."""
        daemon = self.start()
        daemon.receive_alive("dev-1", location="https://[2001:db8::5]/redfish", max_age=3600, sender="2001:db8::5")
        self.reactor.pump([1] * 65)
        self.assertIn(
            "RackHD-service:api:2.0 dev-1 [2001:db8::5]:443 direct RackHD 1 min 59 min registered", self.text()
        )
        self.assertIn('data-age="65.0"', self.get())
        self.assertIn('data-remaining="3595.0"', self.get())
        links = [attributes for tag, attributes in _Parser(self.get()).elements if tag == "a"]
        self.assertIn({"rel": "noreferrer noopener", "href": "https://[2001:db8::5]/redfish"}, links)

    def test_no_services(self) -> None:
        """Without services, the page lists the search terms."""
        self.start()
        text = self.text()
        self.assertIn("Listening. No device has announced one of these types:", text)
        self.assertIn(LLDP, text)

    def test_searching(self) -> None:
        """The page shows that the first search is not over."""
        self.start(seconds=1)
        self.assertIn("Searching…", self.text())

    def test_daemon(self) -> None:
        """The header has the backend, the number of search terms, and the interfaces."""
        self.start()
        self.assertIn("on host-1 memory searches for 3 types eth0 10.0.0.1", self.text())

    def test_backend_unavailable(self) -> None:
        """The page shows that the backend is unavailable, and counts the services that wait for it."""
        daemon = self.start(UnavailableBackend())
        daemon.receive_alive("dev-1")
        text = self.text()
        self.assertIn("memory is unavailable", text)
        self.assertIn("1 waiting 0 refused", text)

    def test_refused(self) -> None:
        """A refused service is shown with the reason."""
        daemon = self.start(RefusingBackend())
        daemon.receive_alive("dev-1")
        self.reactor.pump([1])
        self.assertIn("refused 403 <b>Permission denied</b>", self.text())

    def test_events(self) -> None:
        """Events are shown in a list, the last one first, and in the charts."""
        daemon = self.start()
        daemon.receive_alive("dev-1")
        daemon.receive_alive("dev-2", max_age=5)
        daemon.receive_byebye("dev-1")
        self.reactor.pump([1] * 7)
        text = self.text()
        self.assertRegex(text, "Latest events .* expired dev-2 .* byebye dev-1 .* appeared dev-2 .* appeared dev-1")
        self.assertIn("appeared 2 byebye 1 expired 1", text)
        # The clock of the test comes to its next minute after the first events.
        description = "Live services in the last 2 minutes: 0 to 1. 2 appeared, 1 left with a byebye, 1 expired."
        self.assertIn(description, self.get())

    def test_text_of_devices_is_escaped(self) -> None:
        """Text from devices, and the filter, are text and never markup."""
        daemon = self.start()
        elements = [tag for tag, _ in _Parser(self.get("/?q=x")).elements]
        for hostile in ('<script>alert("1")</script>', '"><img src=x onerror=alert(1)>', "&lt;b&gt;"):
            daemon.receive_alive(hostile)
        for service_id in list(daemon.registry.registrations):
            daemon.registry.set_facts(service_id, {"ssdp-model": "<script>alert(2)</script>"})
        self.assertIn('<script>alert("1")</script>', self.text())
        self.assertIn("&lt;b&gt;", self.text())
        self.assertIn("<script>alert(2)</script>", self.text())
        found = _Parser(self.get('/?q="><script>x</script>'))
        self.assertEqual([tag for tag, _ in found.elements if tag != "li" and tag != "rect"].count("script"), 1)
        self.assertEqual(elements.count("img"), 1)
        self.assertEqual([tag for tag, _ in _Parser(self.get()).elements].count("img"), 1)

    def test_policy(self) -> None:
        """The content security policy allows only files of this server, and the page needs no other."""
        self.start()
        page = self.get()
        policy = self.exchange.headers["Content-Security-Policy"]
        self.assertIn("default-src 'none'; script-src 'self'", policy)
        self.assertNotIn("unsafe", policy)
        self.assertEqual(re.findall(r'\bstyle="|\bon[a-z]+="|<style|<script(?! src)', page), [])

    def test_files(self) -> None:
        """Every file that the page refers to is served with its MIME type."""
        self.start()
        files = set(re.findall(r'(?:src|href)="(static/[^"]+)"', self.get()))
        self.assertEqual(files, {"static/icon.svg", "static/page.css", "static/page.js"})
        types = {name: Exchange(self.daemon.root, self.reactor, f"/{name}").headers["Content-Type"] for name in files}
        self.assertEqual(types["static/page.css"], "text/css; charset=utf-8")
        self.assertEqual(types["static/page.js"], "text/javascript; charset=utf-8")
        self.assertEqual(types["static/icon.svg"], "image/svg+xml")
        self.assertEqual(Exchange(self.daemon.root, self.reactor, "/static/").status, 404)
        self.assertEqual(Exchange(self.daemon.root, self.reactor, "/static/..%2fpage.xml").status, 404)

    def test_unchanged_file(self) -> None:
        """The response for a file that the browser has already is 304."""
        self.start()
        first = Exchange(self.daemon.root, self.reactor, "/static/page.js")
        self.assertIn(b"EventSource", first.body)
        etag = first.headers["ETag"]
        again = Exchange(self.daemon.root, self.reactor, "/static/page.js", headers={"If-None-Match": etag})
        self.assertEqual((again.status, again.body), (304, b""))

    def test_filter(self) -> None:
        """The filter and the links between pages work without a script."""
        daemon = self.start()
        for number in range(120):
            daemon.receive_alive(f"dev-{number:03}")
        self.assertIn("1 to 100 of 120 services", self.text())
        page = self.get("/?q=DEV&page=2")
        self.assertIn("101 to 120 of 120 services", page)
        self.assertIn('value="DEV"', page)
        self.assertIn('href="?q=DEV" rel="prev"', page)
        self.assertIn("1 of 120 services", self.text("/?q=dev-007"))
        self.assertIn("None of 120 services matches the filter.", self.text("/?q=nothing"))
        for nonsense in ("x", "-1", "9" * 5000, "²"):
            self.assertIn("of 120 services", self.text(f"/?page={nonsense}".replace("²", "%C2%B2")))

    def test_reloads_without_script(self) -> None:
        """The page reloads itself in a browser without scripts."""
        self.start()
        self.assertIn('<noscript><meta http-equiv="refresh" content="10"', self.get())
