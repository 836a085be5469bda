"""Parts of a USN and kinds of NT: UPnP Device Architecture 2.0, 1.2.2, table 1-1. Pure functions."""

from __future__ import annotations

#: Longest accepted device ID, in characters; a UUID has 36.
_LONGEST_DEVICE_ID = 255


def device_id(usn: str) -> str:
    """
    Return the device ID of a USN: the text between ``uuid:`` and ``::``.

    :return: The device ID, which need not be a UUID; empty if the USN does not begin with ``uuid:``.
    """
    return usn[5:].partition("::")[0].strip() if usn[:5].lower() == "uuid:" else ""


def is_usable(device_id: str) -> bool:
    """Return whether a device ID can be stored and displayed: not empty, printable and not too long."""
    return bool(device_id) and device_id.isprintable() and len(device_id) <= _LONGEST_DEVICE_ID


def means_whole_device(nt: str) -> bool:
    """
    Return whether a byebye for this type ends every service of its device.

    Many devices send no other byebye when they leave.
    """
    return nt.lower() == "upnp:rootdevice" or nt.lower().startswith("uuid:")
