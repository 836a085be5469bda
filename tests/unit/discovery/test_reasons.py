"""Tests for :mod:`ssdpreg.discovery.reasons`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.claims import Claim
from ssdpreg.discovery.reasons import home_is_there, may_have_ceased
from ssdpreg.discovery.tracked import TrackedService
from ssdpreg.ssdp.reception import Channel
from tests.support.claims import claim

HOME, OTHER, THIRD = "10.0.0.5", "10.0.0.6", "10.0.0.7"


def service(current: Claim) -> TrackedService:
    """Return a service whose home is ``HOME``."""
    made = TrackedService(current, 1000.0)
    made.home = HOME
    return made


class HomeIsThereTests(SynchronousTestCase):
    """Tests for :func:`home_is_there`."""

    def test_home_of_a_moment_ago(self) -> None:
        """A home that holds the service is there for 3 s after its latest message."""
        held = service(claim(HOME))
        found = [home_is_there(held, claim(OTHER), now) for now in (1000.0, 1003.0, 1003.1, 1060.0)]
        self.assertEqual(found, [True, True, False, False])

    def test_other_holder(self) -> None:
        """The messages of a holder that is not the home do not show that the home is there."""
        for other in (HOME, OTHER, THIRD):
            self.assertFalse(home_is_there(service(claim(OTHER)), claim(other, port=81), 1000.0))

    def test_other_location_of_the_home(self) -> None:
        """Another LOCATION of the home itself is no claim of another host."""
        self.assertFalse(home_is_there(service(claim(HOME)), claim(HOME, port=81), 1000.0))


class MayHaveCeasedTests(SynchronousTestCase):
    """Tests for :func:`may_have_ceased`."""

    def test_message_of_the_holder(self) -> None:
        """A message that the holder sends about another LOCATION is no reason to check the holder."""
        for current in (claim(HOME, channel=Channel.SEARCH), claim(OTHER)):
            self.assertFalse(may_have_ceased(service(current), claim(THIRD, sender=current.host)))

    def test_message_of_another_host(self) -> None:
        """A message of another host is one, unless the holder is a home that never replied to a search."""
        cases = {
            (HOME, Channel.GROUP): False,
            (HOME, Channel.SEARCH): True,
            (OTHER, Channel.GROUP): True,
            (OTHER, Channel.SEARCH): True,
        }
        for (host, channel), expected in cases.items():
            self.assertIs(may_have_ceased(service(claim(host, channel=channel)), claim(THIRD)), expected)
