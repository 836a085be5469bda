"""Tests for :mod:`ssdpreg.web.hosts`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.web.hosts import AcceptedHosts


class AcceptedHostsTests(SynchronousTestCase):
    """Tests for :class:`AcceptedHosts`."""

    def setUp(self) -> None:
        self.hosts = AcceptedHosts(["Status.example"], "rack-7", lambda: "rack-7.example.com")

    def test_accepted(self) -> None:
        """IP addresses, localhost, the names of this host and the configured names are accepted, with any port."""
        for host in (
            "127.0.0.1", "10.0.0.5:8580", "[::1]", "[2001:db8::5]:80", "localhost", "LOCALHOST:1", "localhost.",
            "rack-7:8580", "Rack-7", "status.EXAMPLE", "status.example.:80",
        ):  # fmt: skip
            self.assertTrue(self.hosts.accepts(host), host)

    def test_refused(self) -> None:
        """Any other name is refused, however it is written."""
        for host in (
            "", "evil.example", "localhost.evil.example", "rack-7.evil.example", "127.0.0.1.evil.example", "2130706433",
            "0x7f.1", "localhost@evil.example", "evil.example:80:80", "localhost/", "localhost:80x", "[::1", "::1",
            "[localhost]", "user:localhost", "locälhost", "localhost evil.example", "localhost,evil.example", "\n",
        ):  # fmt: skip
            self.assertFalse(self.hosts.accepts(host), host)

    def test_full_name(self) -> None:
        """The fully qualified name of this host is accepted when it has been found."""
        self.assertFalse(self.hosts.accepts("rack-7.example.com"))
        self.hosts.add_full_name()
        self.assertTrue(self.hosts.accepts("RACK-7.example.com:8580"))
        self.assertTrue(self.hosts.accepts("localhost"))

    def test_short_name(self) -> None:
        """A host whose name is fully qualified is accepted under its short name as well."""
        self.assertTrue(AcceptedHosts((), "rack-7.example.com").accepts("rack-7"))

    def test_origin(self) -> None:
        """An origin is accepted if it is the host of the request, or a name of this server."""
        for origin, host, accepted in (
            ("http://10.0.0.5:8580", "10.0.0.5:8580", True),
            ("https://status.example", "10.0.0.5:8580", True),
            ("http://evil.example", "10.0.0.5:8580", False),
            ("http://10.0.0.6", "10.0.0.5:8580", False),
            ("http://10.0.0.5.evil.example", "10.0.0.5", False),
            ("http://10.0.0.5@evil.example", "10.0.0.5", False),
            ("null", "10.0.0.5", False),
            ("", "", False),
            ("file://", "10.0.0.5", False),
        ):
            self.assertEqual(self.hosts.accepts_origin(origin, host), accepted, origin)
