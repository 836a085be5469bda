"""Requirements of ``docs/conformance.md`` that only a running daemon can show."""

from __future__ import annotations

import socket

from twisted.trial.unittest import SynchronousTestCase

from tests.support import hosts
from tests.support.rack import API, Rack, notify
from tests.support.waiting import wait_until

#: Memberships in ``/proc/net/igmp`` and ``/proc/net/igmp6``.
_IGMP = "FAFFFFEF"
_MLD = tuple(f"ff0{scope}000000000000000000000000000c" for scope in "25e")


class ConformanceTests(SynchronousTestCase):
    """The daemon with its default configuration and its own catalogue, and a device on another host."""

    skip = hosts.unavailable()

    def setUp(self) -> None:
        lan = hosts.Lan()
        self.addCleanup(lan.close)
        self.host, self.device = lan.host("10.77.0.2", "fd00:77::2"), lan.host("10.77.0.3", "fd00:77::3")
        self.rack = Rack(self.host, lan.folder)
        self.daemon = self.rack.start_daemon(
            {
                "ssdp": {"tags": {"RackHD": [API]}},
                "backend": {"type": "embedded", "path": None},
                "web": {"endpoint": "tcp:8580"},
            }
        )

    def test_memberships(self) -> None:
        """The kernel is a member of the groups on the interface, so that it reports them by IGMP and MLD."""
        igmp = self.host.call(["cat", "/proc/net/igmp"])
        self.assertIn(_IGMP, igmp[igmp.index("eth0") :])
        mld = [line.split() for line in self.host.call(["cat", "/proc/net/igmp6"]).splitlines()]
        self.assertLessEqual({("eth0", group) for group in _MLD}, {(line[1], line[2]) for line in mld})
        self.daemon.stop()
        wait_until(lambda: _IGMP not in self.host.call(["cat", "/proc/net/igmp"]))

    def test_no_reply(self) -> None:
        """The daemon replies to no search, of the group or of this host, although a matching service is registered."""
        self.device.send(notify(API, "D", "http://10.77.0.3:80/"))
        self.daemon.wait_for("Registered .* at 10.77.0.3:80")
        with self.device.listen() as searcher:
            for target in ("ssdp:all", API, "upnp:rootdevice"):
                search = f'M-SEARCH * HTTP/1.1\r\nHOST: x:1900\r\nMAN: "ssdp:discover"\r\nMX: 1\r\nST: {target}\r\n\r\n'
                for address in (hosts.SSDP, (self.host.address, 1900)):
                    searcher.sendto(search.encode(), address)
            searcher.settimeout(1.5)
            self.assertRaises(TimeoutError, searcher.recv, 2000)

    def test_nothing_is_fetched(self) -> None:
        """Nothing connects to the LOCATION of a registered service."""
        with self.device.inside(lambda: socket.create_server((self.device.address, 80))) as server:
            self.device.send(notify(API, "D", "http://10.77.0.3:80/"))
            self.daemon.wait_for("Registered .* at 10.77.0.3:80")
            server.settimeout(2.0)
            self.assertRaises(TimeoutError, server.accept)
