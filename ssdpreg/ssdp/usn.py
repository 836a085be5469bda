"""What USN and NT say of devices: UPnP Device Architecture 2.0, 1.2.2, table 1-1. Pure."""

from __future__ import annotations

#: Characters; a UUID has 36.
_LONGEST_DEVICE_ID = 255


def device_id(usn: str) -> str:
    """Return what follows ``uuid:`` in a USN, up to ``::``, in whatever form; empty where there is none."""
    return usn[5:].partition("::")[0].strip() if usn[:5].lower() == "uuid:" else ""


def is_usable(device_id: str) -> bool:
    """Tell whether a device ID is one that can be kept and shown."""
    return bool(device_id) and device_id.isprintable() and len(device_id) <= _LONGEST_DEVICE_ID


def means_whole_device(nt: str) -> bool:
    """Tell whether a type stands for a device with all that it offers: many say no more when they leave."""
    return nt.lower() == "upnp:rootdevice" or nt.lower().startswith("uuid:")
