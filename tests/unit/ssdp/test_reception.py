"""Tests for :mod:`ssdpreg.ssdp.reception`."""

from __future__ import annotations

from ipaddress import ip_network

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.ssdp.reception import Channel, Reception, Receptions


class ReceptionTests(SynchronousTestCase):
    """Tests for :class:`Reception`."""

    def test_is_reply(self) -> None:
        """Only the sockets of searches receive replies."""
        replies = {channel for channel in Channel if Reception("10.0.0.9", "eth0", channel).is_reply}
        self.assertEqual(replies, {Channel.SEARCH, Channel.HOST})


class ReceptionsTests(SynchronousTestCase):
    """Tests for :class:`Receptions`."""

    def setUp(self) -> None:
        networks = [ip_network("10.0.0.0/24"), ip_network("10.1.0.0/30")]
        named = [ip_network("10.2.0.0/16"), ip_network("2001:db8::/32")]
        self.receptions = Receptions("eth0", Channel.SEARCH, networks, named)

    def test_networks(self) -> None:
        """A sender is on the link if any network of the interface contains it, and named if any named one does."""
        for sender, on_link, named in (
            ("10.0.0.255", True, False),
            ("10.0.1.0", False, False),
            ("10.1.0.3", True, False),
            ("10.1.0.4", False, False),
            ("10.2.255.255", False, True),
            ("10.3.0.0", False, False),
        ):
            expected = Reception(sender, "eth0", Channel.SEARCH, on_link, named)
            self.assertEqual(self.receptions[sender], expected)

    def test_ipv6(self) -> None:
        """A link-local sender is on the link, and has the interface as its zone."""
        receptions = Receptions("eth0", Channel.GROUP, [ip_network("2001:db8:1::/64")], [ip_network("fd00::/8")])
        for sender, text, on_link, named in (
            ("fe80::5", "fe80::5%eth0", True, False),
            ("2001:db8:1::5", "2001:db8:1::5", True, False),
            ("2001:db8:2::5", "2001:db8:2::5", False, False),
            ("fd00::5", "fd00::5", False, True),
        ):
            self.assertEqual(receptions[sender], Reception(text, "eth0", Channel.GROUP, on_link, named))

    def test_cached(self) -> None:
        """The reception of a sender is made once, and the number of cached ones is limited."""
        first = self.receptions["10.0.0.9"]
        self.assertIs(self.receptions["10.0.0.9"], first)
        self.receptions.clear()
        for number in range(10_000):
            sender = f"10.0.{number // 256}.{number % 256}"
            self.assertEqual(self.receptions[sender].sender, sender)
            # All are removed when there is no room for one more.
            self.assertEqual(len(self.receptions), number % 2048 + 1)
