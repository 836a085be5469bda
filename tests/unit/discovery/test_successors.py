"""Tests for the claim that takes the place of one that ends."""

from __future__ import annotations

from ssdpreg.discovery.events import Changed, Left
from ssdpreg.discovery.standing import Standing
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.ssdp.reception import Channel
from tests.support.table_case import TableTestCase, advertisement

HOME, CURRENT, OTHER = "10.0.0.5", "10.0.0.6", "10.0.0.7"


class SuccessorTests(TableTestCase):
    """Tests for the end of a current claim after a byebye, while the hosts of other claims reply."""

    def receive_reply(self, host: str, max_age: int = 1800) -> None:
        """Receive a reply to a search that was sent to one host."""
        self.receive(advertisement(host, max_age), channel=Channel.HOST)

    def test_home_first(self) -> None:
        """The service returns to its home, if the home replied, also if another host replied a little later."""
        self.receive(advertisement(HOME))
        self.wait(100)
        self.reply(advertisement(CURRENT))
        self.receive(advertisement(CURRENT))
        self.wait(15)
        self.receive(advertisement(OTHER))
        self.wait(15)
        self.assertEqual(self.hosts(), [CURRENT])
        self.repliers.clear()
        self.bye(CURRENT)
        self.receive_reply(HOME)
        self.now += 0.5
        self.receive_reply(OTHER)
        self.assertEqual([type(event) for _, event in self.wait(2)], [Changed])
        self.assertEqual(self.hosts(), [HOME])

    def end_with_reply(self, max_age: int, trust: Standing, channel: Channel) -> list[type]:
        """End the only claim but one whose host replied, and return the types of the events."""
        self.setUp()
        self.table = AdvertisementTable(trust=trust)
        self.receive(advertisement(HOME), channel=Channel.HOST)
        self.wait(100)
        self.bye(HOME)
        self.receive(advertisement(OTHER, max_age), channel=channel)
        return [type(event) for _, event in self.wait(2)]

    def test_expired(self) -> None:
        """A claim that expires at the moment at which the current one ends does not take its place."""
        self.assertEqual(self.end_with_reply(1, Standing.INDIRECT, Channel.HOST), [Left])
        self.assertEqual(self.end_with_reply(2, Standing.INDIRECT, Channel.HOST), [Changed])

    def test_trust(self) -> None:
        """A claim takes the place if it has at least the standing that makes a service live."""
        self.assertEqual(self.end_with_reply(1800, Standing.DIRECT, Channel.SEARCH), [Changed])
        self.assertEqual(self.end_with_reply(1800, Standing.CONFIRMED, Channel.SEARCH), [Left])
        self.assertEqual(self.end_with_reply(1800, Standing.CONFIRMED, Channel.HOST), [Changed])
