"""Tests for the order and the details of services on the status page, through HTTP in memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.backends.embedded import EmbeddedBackend
from ssdpreg.errors import BackendRefusedError
from ssdpreg.registration import Outcome, Plan
from ssdpreg.web import status_search
from tests.support.memory_daemon import LLDP, Daemon, Exchange
from tests.support.memory_reactor import MemoryMulticastReactor


class ChoosyBackend(EmbeddedBackend):
    """A backend that refuses the services of one device."""

    async def apply(self, plan: Plan) -> Outcome:
        error = BackendRefusedError(403, "no")
        refused = {each.service_id: error for each in plan.register if each.device_id == "dev-2"}
        accepted = tuple(each for each in plan.register if each.service_id not in refused)
        outcome = await super().apply(Plan(accepted, plan.deregister))
        return Outcome(outcome.applied, refused)


class ServicesTestCase(SynchronousTestCase):
    """A daemon with services of four devices."""

    def setUp(self) -> None:
        self.reactor = MemoryMulticastReactor()
        self.daemon = Daemon(self.reactor, ChoosyBackend())
        self.daemon.start()
        self.addCleanup(self.reactor.advance, 0)
        self.addCleanup(self.daemon.stop)
        self.reactor.pump([1] * 10)
        for device, address, max_age in (
            ("dev-3", "10.0.0.10", 600),
            ("dev-1", "10.0.0.9", 1800),
            ("dev-2", "2001:db8::1", 900),
        ):
            host = f"[{address}]" if ":" in address else address
            self.daemon.receive_alive(device, location=f"http://{host}/", max_age=max_age, sender=address)
            self.reactor.pump([1] * 3)
        self.daemon.receive_alive("Dev-4", LLDP, location="http://aaa.example/", max_age=1200)
        self.reactor.pump([1] * 3)

    def get(self, path: str = "/") -> str:
        """Return the HTML of the page."""
        exchange = Exchange(self.daemon.root, self.reactor, path)
        while exchange.status is None:
            self.reactor.advance(0)
        self.assertEqual(exchange.status, 200)
        return exchange.body.decode()

    def text(self, path: str = "/") -> str:
        """Return the text of the page, with single blanks."""
        return " ".join(unescape(re.sub("<[^>]*>", " ", self.get(path))).split())

    def devices(self, path: str) -> list[str]:
        """Return the numbers of the devices in the table."""
        return re.findall('class="device">[Dd]ev-([0-9]+)<', self.get(path))

    def service_id(self, device_id: str) -> str:
        """Return the ID of a device's service."""
        (found,) = (
            each.service_id for each in self.daemon.registry.registrations.values() if each.device_id == device_id
        )
        return found


class ManyServicesTests(ServicesTestCase):
    """Tests for an order of more services than one slice examines."""

    def test_pages(self) -> None:
        """The pages are complete and in order, although services of later pages are not collected."""
        ages = {number: 100 + number * 7919 % 2500 for number in range(2500)}
        for number, max_age in ages.items():
            self.daemon.receive_alive(
                f"dev-{number:04}", location="http://10.9.0.5/", max_age=max_age, sender="10.9.0.5"
            )
        order = sorted(ages, key=lambda number: ages[number])
        for sort, expected in (("expires", order), ("-expires", order[::-1])):
            for page in (1, 2, 12, 25):
                wanted = [f"{number:04}" for number in expected[(page - 1) * 100 : page * 100]]
                self.assertEqual(self.devices(f"/?q=10.9.0.5&sort={sort}&page={page}"), wanted, f"{sort} {page}")
        self.assertIn("1 to 100 of 2,500 services", self.get("/?q=10.9.0.5&sort=expires"))


class LimitTests(ServicesTestCase):
    """Tests for the number of searches at a time."""

    def test_searches(self) -> None:
        """Two requests look at all services at a time. The others wait, and one that is cancelled delays none."""
        running: list[Deferred[None]] = []

        async def collect(cooperator: object, steps: Iterator[object]) -> None:
            running.append(Deferred())
            await running[-1]
            for _ in steps:
                pass

        self.get("/")
        self.patch(status_search, "run_in_slices", collect)
        exchanges = [Exchange(self.daemon.root, self.reactor, "/?sort=address") for _ in range(5)]
        self.reactor.advance(0)
        self.assertEqual(len(running), 2)
        exchanges[2].disconnect()
        position = 0
        while position < len(running):
            running[position].callback(None)
            self.reactor.advance(0)
            position += 1
            self.assertLessEqual(len(running) - position, 2)
        self.assertEqual([exchange.status for exchange in exchanges], [200, 200, None, 200, 200])


class OrderTests(ServicesTestCase):
    """Tests for the order of the services."""

    def test_columns(self) -> None:
        """Each column sorts the services, in both directions, and equal services are in the usual order."""
        for column, ascending, descending in (
            ("name", "4123", "1234"),
            ("device", "1234", "4321"),
            ("address", "1324", "4231"),
            ("tag", "4123", "1234"),
            ("age", "4213", "3124"),
            ("expires", "3241", "1423"),
            ("state", "2413", "4132"),
        ):
            self.assertEqual("".join(self.devices(f"/?sort={column}")), ascending, column)
            self.assertEqual("".join(self.devices(f"/?sort=-{column}")), descending, column)

    def test_usual_order(self) -> None:
        """Refused services come first, and the others are in the order of their names."""
        for path in ("/", "/?sort=nothing", "/?q=dev"):
            self.assertEqual(self.devices(path), ["2", "4", "1", "3"], path)

    def test_headers(self) -> None:
        """The head of a column is a link that sorts by it, or reverses the order, and states the present order."""
        page = self.get("/?q=dev&sort=age")
        self.assertEqual(
            re.findall(r'<th [^>]*aria-sort="([a-z]+)"[^>]*>(?:<[^>]*>)*([A-Za-z]+)', page), [("ascending", "Age")]
        )
        self.assertIn('href="?q=dev&amp;sort=-age#services"', page)
        self.assertIn('href="?q=dev&amp;sort=name#services"', page)
        self.assertIn('aria-sort="descending"', self.get("/?sort=-age"))
        self.assertNotIn("aria-sort", self.get("/"))

    def test_filter_keeps_the_order(self) -> None:
        """The form of the filter sends the present order, also without a script."""
        self.assertIn('<input type="hidden" name="sort" value="-age"', self.get("/?sort=-age"))
        self.assertNotIn('type="hidden"', self.get("/"))

    def test_pages(self) -> None:
        """The order extends over all pages, and the links between them keep it."""
        for number in range(100, 300):
            self.daemon.receive_alive(f"dev-{number}", sender=f"10.1.0.{number % 50}")
        self.assertEqual(self.devices("/?sort=-device")[:2], ["4", "3"])
        self.assertEqual(self.devices("/?sort=-device&page=3"), ["102", "101", "100", "1"])
        self.assertIn('href="?sort=-device&amp;page=3" rel="next"', self.get("/?sort=-device&page=2"))


class DetailsTests(ServicesTestCase):
    """Tests for the details of opened services."""

    def test_closed(self) -> None:
        """A service is closed at first, with a link that opens it."""
        page = self.get("/?sort=age&q=dev")
        self.assertNotIn('class="details"', page)
        self.assertEqual(page.count('aria-expanded="false"'), 4)
        service_id = self.service_id("dev-1")
        self.assertIn(f'href="?q=dev&amp;sort=age&amp;open={service_id}#{service_id}"', page)

    def test_opened(self) -> None:
        """An opened service has its reception, standing, changes, facts and registration, and a link that closes it."""
        self.daemon.receive_alive("dev-1", location="http://10.0.0.9:81/", sender="10.0.0.9")
        self.reactor.pump([1] * 5)
        service_id = self.service_id("dev-1")
        text = self.text(f"/?open={service_id}")
        self.assertIn("Received 5 s ago from 10.0.0.9 on eth0 Standing direct : announced by its own host", text)
        self.assertIn("Changes 5 s ago: moved from http://10.0.0.9/ 14 s ago: appeared Facts", text)
        self.assertIn("Device dev-1 LOCATION http://10.0.0.9:81/ Type (NT) urn:", text)
        self.assertIn("SERVER Linux/6 UPnP/2.0 max-age 1800 Registered by ssdpreg Scope rack-7", text)
        self.assertIn(f"State registered in memory Service ID {service_id} Address 10.0.0.9:81", text)
        self.assertIn("Tags lab, Blue Check alive: this daemon runs", text)
        page = self.get(f"/?open={service_id}")
        self.assertEqual((page.count('aria-expanded="true"'), page.count('class="details"')), (1, 1))
        self.assertIn(f'data-live="" href="?#{service_id}" aria-expanded="true"', page)
        # The content security policy permits neither.
        self.assertEqual(re.findall(r'\bstyle="|\bon[a-z]+="|<style|<script(?! src)', page), [])

    def test_refused(self) -> None:
        """An opened service has the reason of its refusal."""
        self.assertIn("State refused: 403 no", self.text(f"/?open={self.service_id('dev-2')}"))

    def test_link(self) -> None:
        """The link to a service shows this service only, also if the filter would find others."""
        service_id = self.service_id("dev-3")
        link = f"?q={service_id}&amp;open={service_id}"
        page = self.get(f"/?open={service_id}")
        self.assertIn(f'href="{link}"', page)
        self.assertEqual(self.devices("/" + unescape(link)), ["3"])
        self.assertIn('class="details"', self.get("/" + unescape(link)))

    def test_unknown(self) -> None:
        """IDs of services that are not on the page have no effect."""
        self.assertNotIn('class="details"', self.get("/?open=nothing&open=<b>"))

    def test_adopted(self) -> None:
        """A service of an earlier run has no sender until it is received."""
        registration = self.daemon.registry.registrations[self.service_id("dev-3")]
        daemon = Daemon(self.reactor, ChoosyBackend())
        daemon.registry.adopt([registration])
        self.daemon = daemon
        self.assertIn("Adopted from the backend", self.text(f"/?open={registration.service_id}"))

    def test_text_is_escaped(self) -> None:
        """Text of devices in the details is text and never markup."""
        self.daemon.receive_alive("<img src=x>", location="http://10.0.0.7/<i>", sender="10.0.0.7")
        page = self.get(f"/?open={self.service_id('<img src=x>')}")
        self.assertNotIn("<img src=x>", page)
        self.assertNotIn("<i>", page)
        self.assertIn('LOCATION</dt><dd><a href="http://10.0.0.7/&lt;i&gt;"', page)
        self.assertIn("Device</dt><dd>&lt;img src=x&gt;<", page)
