"""Address of a unicast search as one text. Pure functions."""

from __future__ import annotations

from ssdpreg.ssdp.messages import PORT


def search_address(host: str, port: int) -> str:
    """
    Return the address of a search in the form of a URL, such as ``[2001:db8::1]:50000``; the host alone for port 1900.

    :param host: IP address, a link-local IPv6 address with its zone.
    :param port: UDP port: SEARCHPORT.UPNP.ORG of the device.
    """
    if port == PORT:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_search_address(text: str) -> tuple[str, int]:
    """Return the host and the port of a text that :func:`search_address` returned."""
    if text.startswith("["):
        host, _, port = text[1:].rpartition("]:")
        return host, int(port)
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, int(port)
    return text, PORT
