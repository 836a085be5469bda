"""Tests for ``twistd ssdpspoof``, as other hosts receive its messages."""

from __future__ import annotations

import json
from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.ssdp.codec import USER_AGENT
from ssdpreg.ssdp.messages import GROUP, PORT
from tests.support import hosts
from tests.support.paths import ROOT
from tests.support.rack import twistd

URN = "urn:schemas-upnp-org:service:api:2.0"


class AnnouncerOnHostsTests(SynchronousTestCase):
    """Tests for the announcer on one host, and a control point on another."""

    skip = hosts.unavailable()

    def setUp(self) -> None:
        self.lan = hosts.Lan()
        self.addCleanup(self.lan.close)
        self.near = self.lan.host("10.77.0.2")
        self.far = self.lan.host("10.77.0.3")

    def start_announcer(self, source: Mapping[str, object], *arguments: str) -> hosts.Program:
        """Start the announcer with one source."""
        path = self.lan.folder / "spoof.json"
        path.write_text(json.dumps({"ssdp": {"rack": source}}))
        return self.near.run(twistd("ssdpspoof", "--config", str(path), *arguments), cwd=str(ROOT))

    def test_datagrams(self) -> None:
        """Announcements, replies and byebyes have the format of UPnP, and the program exits on SIGTERM."""
        with self.far.listen(PORT) as listener, self.far.listen() as control_point:
            source = {"broadcastIP": ["10.77.0.2:80"], "urnList": [URN], "uuid": "d"}
            program = self.start_announcer(source, "--max-age", "60", "--interface", "eth0")
            received = [listener.recv(2000) for _ in range(3)]
            self.assertEqual(
                received[2].decode(),
                "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nCACHE-CONTROL: max-age=60\r\n"
                f"LOCATION: http://10.77.0.2:80/\r\nSERVER: {USER_AGENT}\r\n"
                f"NT: {URN}\r\nNTS: ssdp:alive\r\nUSN: uuid:d::{URN}\r\n\r\n",
            )
            self.assertIn(b"\r\nNT: upnp:rootdevice\r\n", received[0])
            self.assertIn(b"\r\nNT: uuid:d\r\n", received[1])
            # Not serialized with the codec, which is under test.
            control_point.sendto(
                b'M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: "ssdp:discover"\r\nMX: 1\r\n'
                b"ST: " + URN.encode() + b"\r\n\r\n",
                (GROUP, PORT),
            )
            reply, (host, _) = control_point.recvfrom(2000)
            self.assertEqual(host, "10.77.0.2")
            self.assertEqual(
                reply.decode(),
                "HTTP/1.1 200 OK\r\nEXT: \r\nCACHE-CONTROL: max-age=60\r\n"
                f"LOCATION: http://10.77.0.2:80/\r\nSERVER: {USER_AGENT}\r\nST: {URN}\r\nUSN: uuid:d::{URN}\r\n\r\n",
            )
            # A search of this host alone, which has no MX: the reply has the searched port.
            control_point.sendto(
                b'M-SEARCH * HTTP/1.1\r\nHOST: 10.77.0.2:1900\r\nMAN: "ssdp:discover"\r\nST: '
                + URN.encode()
                + b"\r\n\r\n",
                ("10.77.0.2", PORT),
            )
            self.assertEqual(control_point.recvfrom(2000), (reply, ("10.77.0.2", PORT)))
            self.assertEqual(program.stop(), -15)
            datagram = b""
            while b"ssdp:byebye" not in datagram or URN.encode() not in datagram:
                datagram = listener.recv(2000)
            self.assertEqual(
                datagram.decode(),
                "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n"
                f"NT: {URN}\r\nNTS: ssdp:byebye\r\nUSN: uuid:d::{URN}\r\n\r\n",
            )
        self.assertNotIn("Traceback", program.output)

    def test_health(self) -> None:
        """With ``--health`` the list of nodes is served, and no other path."""
        self.start_announcer(
            {"broadcastIP": ["10.77.0.2:80"], "urnList": [URN], "uuid": "d"}, "--health", "8090"
        ).wait_for("Announcing")
        response = self.far.http("/api/2.0/nodes", host="10.77.0.2", port=8090)
        self.assertEqual((response.status, response.headers["content-type"]), (200, "application/json"))
        self.assertEqual(response.json(), [{"id": "d", "name": "rack"}])
        self.assertEqual(self.far.http("/", host="10.77.0.2", port=8090).status, 404)
