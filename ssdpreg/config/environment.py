"""Consul's environment variables, as defaults of the ``backend`` section. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ssdpreg.config.consul_address import scheme_of, split_scheme
from ssdpreg.config.faults import quote
from ssdpreg.config.go_syntax import parse_bool
from ssdpreg.errors import Fault

#: Variables by the key of the ``backend`` section whose default they set.
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


@dataclass(frozen=True)
class ConsulEnvironment:
    """
    Additions of the environment to the ``backend`` section.

    :ivar values: Strings by key, to be read together with the section.
    :ivar verify_tls: Whether Consul's certificate is verified.
    :ivar faults: Faults of the variables that have no key.
    """

    values: Mapping[str, str]
    verify_tls: bool
    faults: tuple[Fault, ...]


def consul_environment(environ: Mapping[str, str], backend: Mapping[str, Any]) -> ConsulEnvironment:
    """
    Return the variables for the keys that the ``backend`` section does not have.

    :param environ: The environment. An empty variable counts as unset.
    :param backend: The section as decoded JSON.
    """
    values = {key: environ[name] for key, name in VARIABLES.items() if environ.get(name) and key not in backend}
    # Consul's own tools prefer the token file to the token.
    if "token_file" in values or "token_file" in backend:
        values.pop("token", None)
    if "token" in backend:
        values.pop("token_file", None)

    faults: list[Fault] = []
    use_tls = _parse_flag(environ, _USE_TLS, faults)
    verify_tls = _parse_flag(environ, _VERIFY_TLS, faults)
    if use_tls and "scheme" not in backend and scheme_of(backend) is None:
        values["scheme"] = "https"
        if "address" in values:
            # In Consul's own tools, CONSUL_HTTP_SSL overrides the scheme "http://" of CONSUL_HTTP_ADDR.
            values["address"] = split_scheme(values["address"])[1]
    return ConsulEnvironment(values, verify_tls is not False, tuple(faults))


def _parse_flag(environ: Mapping[str, str], name: str, faults: list[Fault]) -> bool | None:
    """Parse a boolean variable. Return ``None`` if it is unset or faulty, in which case a fault is appended."""
    text = environ.get(name)
    if not text:
        return None
    try:
        return parse_bool(text)
    except ValueError:
        faults.append(Fault(name, f"{quote(text)} is not true or false"))
        return None
