"""What the variables that every tool of Consul's reads say, where the file says nothing. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ssdpreg.config.values import show, split_scheme
from ssdpreg.errors import Fault

#: By the key of the ``backend`` section that each stands in for.
VARIABLES = {
    "address": "CONSUL_HTTP_ADDR",
    "token": "CONSUL_HTTP_TOKEN",
    "token_file": "CONSUL_HTTP_TOKEN_FILE",
    "ca_file": "CONSUL_CACERT",
    "cert_file": "CONSUL_CLIENT_CERT",
    "key_file": "CONSUL_CLIENT_KEY",
}
_USE_TLS = "CONSUL_HTTP_SSL"
_VERIFY_TLS = "CONSUL_HTTP_SSL_VERIFY"

#: As Go reads them.
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


@dataclass(frozen=True)
class Borrowed:
    """
    What the environment adds to the ``backend`` section.

    :ivar values: By key, as yet unread.
    :ivar verify_tls: Whether Consul's certificate has to be good.
    :ivar faults: Variables that make no sense.
    """

    values: Mapping[str, str]
    verify_tls: bool
    faults: tuple[Fault, ...]


def borrow(environ: Mapping[str, str], backend: Mapping[str, Any]) -> Borrowed:
    """
    Take from the environment what the file leaves open.

    :param environ: The environment. What is empty there is not set.
    :param backend: The section as it stands in the file.
    """
    values = {key: environ[name] for key, name in VARIABLES.items() if environ.get(name) and key not in backend}
    if "token_file" in values or "token_file" in backend:
        # As Consul's own tools have it: of two tokens, the one in the file.
        values.pop("token", None)
    if "token" in backend:
        values.pop("token_file", None)

    faults = []
    flags = {}
    for name in (_USE_TLS, _VERIFY_TLS):
        text = environ.get(name, "")
        if text and text not in _TRUE | _FALSE:
            faults.append(Fault(name, f"{show(text)} is neither true nor false"))
        flags[name] = text in _TRUE if text else None
    if flags[_USE_TLS] and "scheme" not in backend and scheme_of(backend) is None:
        values["scheme"] = "https"
        if "address" in values:
            # As Consul's own tools have it: who asks for TLS gets it, even where the address says "http://".
            values["address"] = split_scheme(values["address"])[1]
    return Borrowed(values, flags[_VERIFY_TLS] is not False, tuple(faults))


def scheme_of(backend: Mapping[str, Any]) -> str | None:
    """Tell the scheme that the address of a ``backend`` section begins with, ``None`` if there is none."""
    address = backend.get("address")
    return split_scheme(address)[0] if isinstance(address, str) else None
