"""Tests for :mod:`ssdpreg.registry.live`."""

from __future__ import annotations

from typing import cast
from unittest import mock

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.location import Endpoint
from ssdpreg.discovery.search_terms import SearchTerm
from ssdpreg.registration import Registration, RegistrationRules
from ssdpreg.registration.announced import AnnouncedRegistration
from ssdpreg.registry import LiveRegistrations
from tests.unit.registry.registry_case import FailingListener, RecordingListener

URN = "urn:schemas-upnp-org:service:api:2.0"


def make_registration(number: int, port: int = 80) -> AnnouncedRegistration:
    """Create the registration of a device with a number."""
    host = f"192.0.2.{number}"
    advertisement = Advertisement.make(
        device_id=f"device-{number}",
        urn=URN,
        term=SearchTerm(URN, "RackHD"),
        nt=URN,
        usn=f"uuid:device-{number}::{URN}",
        location=f"http://{host}:{port}/",
        endpoint=Endpoint("http", host, port),
        max_age=1800,
    )
    return RegistrationRules("rack-7").registration(advertisement)


class LiveRegistrationsTests(SynchronousTestCase):
    """Tests for :class:`LiveRegistrations`."""

    def setUp(self) -> None:
        self.live = LiveRegistrations()
        self.one, self.two = make_registration(1), make_registration(2)
        self.moved = make_registration(1, port=8080)

    def subscribe(self) -> mock.Mock:
        """Return a listener that records its calls."""
        listener = mock.create_autospec(RecordingListener, instance=True)
        self.live.subscribe(listener)
        return cast(mock.Mock, listener)

    def change_and_remove(self) -> None:
        """Cause each of the three events once."""
        self.live.put(self.one)
        self.live.put(self.moved)
        self.live.remove(self.one.service_id, "byebye")

    def test_three_events(self) -> None:
        """A new, a changed and a removed registration are published as three different events."""
        listener = self.subscribe()
        self.change_and_remove()
        self.assertEqual(
            listener.mock_calls,
            [
                mock.call.appeared(self.one),
                mock.call.changed(self.moved, self.one),
                mock.call.left(self.moved, "byebye"),
            ],
        )

    def test_equal_registration(self) -> None:
        """Nothing is published for a registration that is equal to the present one."""
        self.live.put(self.one)
        listener = self.subscribe()
        self.live.put(make_registration(1))
        self.assertEqual(listener.mock_calls, [])

    def test_view(self) -> None:
        """The view follows the changes, in the order of the first registrations."""
        view = self.live.by_id
        for registration in (self.two, self.one, self.moved, make_registration(2, port=1)):
            self.live.put(registration)
        self.assertEqual(
            list(view.items()),
            [(self.two.service_id, make_registration(2, port=1)), (self.one.service_id, self.moved)],
        )
        self.live.remove(self.two.service_id, "expired")
        self.assertEqual(view, {self.one.service_id: self.moved})

    def test_view_is_read_only(self) -> None:
        """The view cannot be changed by its readers."""
        self.live.put(self.one)
        view = cast(dict[str, Registration], self.live.by_id)
        with self.assertRaises(TypeError):
            view[self.two.service_id] = self.two
        with self.assertRaises(TypeError):
            del view[self.one.service_id]
        self.assertEqual(self.live.by_id, {self.one.service_id: self.one})

    def test_view_is_updated_first(self) -> None:
        """The view contains the change already when a listener is called."""
        seen: list[dict[str, Registration]] = []
        listener = self.subscribe()
        for method in (listener.appeared, listener.changed, listener.left):
            method.side_effect = lambda *_: seen.append(dict(self.live.by_id))
        self.change_and_remove()
        self.assertEqual(seen, [{self.one.service_id: self.one}, {self.one.service_id: self.moved}, {}])

    def test_failing_listener(self) -> None:
        """An exception of a listener is logged, and keeps neither the view nor other listeners from being updated."""
        first, failing, last = self.subscribe(), FailingListener(), mock.create_autospec(RecordingListener)
        self.live.subscribe(failing)
        self.live.subscribe(last)
        with capturedLogs() as logged:
            self.live.put(self.one)
            self.live.put(self.moved)
            self.assertEqual(self.live.by_id, {self.one.service_id: self.moved})
            self.live.remove(self.one.service_id, "byebye")
        self.assertEqual(self.live.by_id, {})
        for listener in (first, last):
            self.assertEqual([name for name, _, _ in listener.mock_calls], ["appeared", "changed", "left"])
        self.assertEqual(
            [(event["listener"], event["event"]) for event in logged],
            [("FailingListener", event) for event in ("appeared", "changed", "left")],
        )
        self.assertEqual(
            [str(failure.value) for failure in self.flushLoggedErrors(RuntimeError)], ["appeared", "changed", "left"]
        )
