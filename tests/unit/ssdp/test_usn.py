"""Tests for :mod:`ssdpreg.ssdp.usn`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.ssdp.usn import device_id, is_usable, means_whole_device


class DeviceIDTests(SynchronousTestCase):
    """Tests for :func:`device_id` and :func:`is_usable`."""

    def test_device_id(self) -> None:
        """The device ID is the text between ``uuid:`` and the first ``::``, in any form."""
        for usn, expected in {
            "uuid:4c4c4544": "4c4c4544",
            "uuid:4c4c4544::upnp:rootdevice": "4c4c4544",
            "UUID: 4c4c4544 ::urn:a": "4c4c4544",
            "uuid:roku:ecp:1GU48T017973": "roku:ecp:1GU48T017973",
            "uuid:a::b::c": "a",
            "uuid:": "",
            "urn:a": "",
            "": "",
        }.items():
            self.assertEqual(device_id(usn), expected, usn)

    def test_usable(self) -> None:
        """A usable device ID is not empty, printable, and not longer than 255 characters."""
        for value in ("a", "x" * 255, "Küche"):
            self.assertTrue(is_usable(value), value)
        for value in ("", "x" * 256, "a\x1b[2J", "a\nb"):
            self.assertFalse(is_usable(value), value)


class MeansWholeDeviceTests(SynchronousTestCase):
    """Tests for :func:`means_whole_device`."""

    def test_types(self) -> None:
        """The root device and the bare UUID stand for every service of a device, and a URN does not."""
        for nt in ("upnp:rootdevice", "UPnP:RootDevice", "uuid:a", "UUID:a"):
            self.assertTrue(means_whole_device(nt), nt)
        for nt in ("urn:schemas-upnp-org:device:MediaServer:1", "roku:ecp", ""):
            self.assertFalse(means_whole_device(nt), nt)
