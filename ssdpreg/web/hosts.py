"""
Values of the ``Host`` header that are accepted.

A page of another site can let its name resolve to the address of this server, and then read everything through the
browser of a visitor (DNS rebinding). Its requests have the name of that site in ``Host``.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from threading import Thread

#: Host and optional port, in the forms of RFC 9110, section 7.2.
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]/@]*)(?::\d{0,5})?", re.ASCII)
#: The serialized origin of a site, RFC 6454, section 6.2.
_ORIGIN = re.compile(r"https?://([^/?#]*)", re.ASCII | re.IGNORECASE)


class AcceptedHosts:
    """
    The names of this server. IP addresses and ``localhost`` are always accepted.

    :param names: Further names, from ``web.hosts``.
    :param host_name: Name of this host.
    :param find_full_name: Returns the fully qualified name of this host. May take long, so it is called in a thread.
    """

    def __init__(
        self,
        names: Iterable[str] = (),
        host_name: str | None = None,
        find_full_name: Callable[[], str] = socket.getfqdn,
    ) -> None:
        own_name = socket.gethostname() if host_name is None else host_name
        self._names = frozenset(map(_normalize, ("localhost", own_name, own_name.partition(".")[0], *names)))
        self._find_full_name = find_full_name

    def start(self) -> None:
        """Look up the fully qualified name of this host, in a thread that the end of the process does not wait for."""
        Thread(target=self.add_full_name, name="full host name", daemon=True).start()

    def add_full_name(self) -> None:
        """Accept the fully qualified name of this host."""
        self._names |= {_normalize(self._find_full_name())}

    def accepts(self, host: str) -> bool:
        """
        Return whether a value of the ``Host`` header is accepted.

        :param host: Name or IP address, with or without a port.
        """
        match = _AUTHORITY.fullmatch(host)
        if match is None:
            return False
        name = match[1]
        if name.startswith("["):
            name = name[1:-1]
        elif _normalize(name) in self._names:
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return True

    def accepts_origin(self, origin: str, host: str) -> bool:
        """
        Return whether a value of the ``Origin`` header is the site of this server.

        :param host: Value of the ``Host`` header.
        """
        match = _ORIGIN.fullmatch(origin)
        if match is None:
            return False
        # Behind a proxy, the port and the scheme differ.
        return _host_of(match[1]) == _host_of(host) or _host_of(match[1]) in self._names


def _host_of(authority: str) -> str:
    match = _AUTHORITY.fullmatch(authority)
    return "" if match is None else _normalize(match[1])


def _normalize(name: str) -> str:
    return name.casefold().removesuffix(".")
