"""Tests for :mod:`ssdpreg.registration.model`."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.registration import Check, Plan, Registration
from ssdpreg.testing import make_registration

META = {
    "external-source": "ssdpreg",
    "ssdpreg-scope": "rack-7",
    "ssdp-device": "D",
    "ssdp-usn": "uuid:D::urn:x",
    "ssdp-nt": "urn:x",
    "ssdp-location": "http://10.0.0.5/",
    "ssdp-server": "Linux/6",
    "ssdp-max-age": "30",
}


def facts(registration: Registration) -> tuple[str, ...]:
    """Return the properties that are derived from the Meta."""
    return (
        registration.scope,
        registration.device_id,
        registration.usn,
        registration.nt,
        registration.location,
        registration.server,
    )


class CheckTests(SynchronousTestCase):
    """Tests for :class:`Check`."""

    def test_equality(self) -> None:
        """Checks are compared by their IDs, which contain a digest of the other attributes."""
        self.assertEqual(Check("a-http-0a", "http", "http://10.0.0.5/", 15.0), Check("a-http-0a"))
        self.assertNotEqual(Check("a-http-0a"), Check("a-http-0b"))

    def test_defaults(self) -> None:
        """A check whose ID alone is known has no interval, and accepts no invalid TLS certificate."""
        check = Check("a-http-0a")
        self.assertEqual((check.kind, check.target, check.interval, check.tls_skip_verify), ("", "", 0.0, False))


class RegistrationTests(SynchronousTestCase):
    """Tests for :class:`Registration`."""

    def test_properties(self) -> None:
        """Each property has the value of its Meta key."""
        registration = replace(make_registration(), meta=META)
        self.assertEqual(facts(registration), ("rack-7", "D", "uuid:D::urn:x", "urn:x", "http://10.0.0.5/", "Linux/6"))

    def test_properties_without_meta(self) -> None:
        """The properties of a registration without Meta are empty."""
        self.assertEqual(facts(replace(make_registration(), meta={})), ("",) * 6)


class PlanTests(SynchronousTestCase):
    """Tests for :class:`Plan`."""

    def test_size(self) -> None:
        """The length of a plan is the number of its changes, and an empty plan is false."""
        one, two = make_registration(1), make_registration(2)
        for plan, length in ((Plan(), 0), (Plan((one, two)), 2), (Plan((), (one,)), 1), (Plan((one,), (two,)), 2)):
            self.assertEqual((len(plan), bool(plan)), (length, length > 0))
