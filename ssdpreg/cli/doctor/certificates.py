"""Checks of Consul's TLS certificate."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from OpenSSL.crypto import FILETYPE_ASN1, load_certificate

from ssdpreg.cli.doctor.findings import Finding, HostCheck
from ssdpreg.config import ConsulConfig

_TLS = HostCheck("TLS")

#: Seconds of the longest wait for a connection or a message.
_TIMEOUT = 5.0
_DAY = 86400
#: Days before its end from which a certificate is reported. Consul's built-in authority issues them for 72 h.
_SOON = 1.0
#: X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL.
_WRONG_NAME = (62, 64)
#: X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL.
_WRONG_TIME = (9, 10)


@dataclass(frozen=True, slots=True)
class TLSFacts:
    """
    Result of a TLS handshake.

    :ivar host: Host name or address to which the connection was made.
    :ivar code: Number of OpenSSL's error of verification; 0 for none.
    :ivar problem: Text of the error; empty for none.
    :ivar connected: Whether the server accepted the connection.
    :ivar names: Names in the certificate, as far as they are known.
    :ivar starts_at: Begin of the validity in seconds since the epoch, or None if it is not known.
    :ivar ends_at: End of the validity in seconds since the epoch, or None if it is not known.
    """

    host: str
    code: int = 0
    problem: str = ""
    connected: bool = True
    names: tuple[str, ...] = ()
    starts_at: float | None = None
    ends_at: float | None = None


def check_certificate(facts: TLSFacts, now: float, verify: bool, ca_file: str | None) -> list[Finding]:
    """
    Check the certificate's name, dates and authority.

    :param now: Seconds since the epoch.
    :param verify: Whether the daemon verifies the certificate.
    :param ca_file: File with the trusted authorities; None for those of the system.
    """
    if not verify:
        advice = "Set backend.ca_file, and unset CONSUL_HTTP_SSL_VERIFY"
        return [_TLS.warning(facts.host, "the certificate is not verified", advice)]
    if facts.code in _WRONG_NAME:
        names = ", ".join(facts.names) or "no name"
        advice = "Use one of these names in backend.address, or issue a certificate with the name"
        return [_TLS.fault(facts.host, f"the certificate is valid for {names}, not for {facts.host}", advice)]
    if facts.code in _WRONG_TIME and facts.ends_at is not None and facts.starts_at is not None:
        if now > facts.ends_at:
            finding = f"the certificate expired {(now - facts.ends_at) / _DAY:.1f} days ago"
            return [_TLS.fault(facts.host, finding, "Renew it, and check the clock of this host")]
        finding = f"the certificate is valid in {(facts.starts_at - now) / _DAY:.1f} days"
        return [_TLS.fault(facts.host, finding, "Check the clock of this host and of Consul")]
    if facts.code:
        trusted = f"the certificates in {ca_file}" if ca_file else "the authorities of this system"
        advice = "Set backend.ca_file to the certificate of Consul's authority (consul-agent-ca.pem)"
        return [_TLS.fault(facts.host, f"the certificate is not signed by {trusted}: {facts.problem}", advice)]
    if facts.problem:
        advice = "Check that this port serves HTTPS, and that backend.cert_file is the certificate of a client"
        return [_TLS.fault(facts.host, f"the handshake failed: {facts.problem}", advice)]
    if facts.ends_at is None:
        return [_TLS.ok(facts.host, "the certificate is valid")]
    days = (facts.ends_at - now) / _DAY
    if days < _SOON:
        return [_TLS.warning(facts.host, f"the certificate expires in {24 * days:.0f} h", "Renew it")]
    return [_TLS.ok(facts.host, f"the certificate is valid, and expires in {days:.0f} days")]


def read_certificate(config: ConsulConfig) -> TLSFacts:
    """
    Make a TLS connection to Consul, and examine the certificate. Blocks for a few seconds at most.

    :param config: Its files can be read, which was tried before.
    """
    host, port = split_address(config.address)
    try:
        certificate = _connect(host, port, _make_context(config))
    except ssl.SSLCertVerificationError as error:
        return _examine(config, host, port, error.verify_code, error.verify_message)
    except ssl.SSLError as error:
        return TLSFacts(host, problem=error.reason or str(error))
    except OSError as error:
        return TLSFacts(host, problem=error.strerror or str(error), connected=False)
    ends = ssl.cert_time_to_seconds(str(certificate["notAfter"])) if "notAfter" in certificate else None
    return TLSFacts(host, ends_at=ends)


def split_address(address: str) -> tuple[str, int]:
    """Split ``HOST:PORT``, in which an IPv6 address has brackets."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _examine(config: ConsulConfig, host: str, port: int, code: int, problem: str) -> TLSFacts:
    """Return the names and the dates in a certificate that was rejected."""
    names: tuple[str, ...] = ()
    if code in _WRONG_NAME:
        # The standard library parses only certificates that it has verified.
        context = _make_context(config)
        context.check_hostname = False
        with suppress(OSError):
            listed = _connect(host, port, context).get("subjectAltName", ())
            names = tuple(str(entry[1]) for entry in listed)
    context = _make_context(config)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    starts = ends = None
    with (
        suppress(OSError),
        socket.create_connection((host, port), _TIMEOUT) as connection,
        context.wrap_socket(connection, server_hostname=host) as secure,
    ):
        rejected = load_certificate(FILETYPE_ASN1, secure.getpeercert(binary_form=True) or b"")
        starts, ends = (parse_time(each) for each in (rejected.get_notBefore(), rejected.get_notAfter()))
    return TLSFacts(host, code, problem, names=names, starts_at=starts, ends_at=ends)


def parse_time(text: bytes | None) -> float:
    """Parse a time in the format of ASN.1, such as ``20260301100000Z``."""
    return datetime.strptime((text or b"").decode("ascii"), "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc).timestamp()


def _make_context(config: ConsulConfig) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=config.ca_file)
    if config.cert_file:
        context.load_cert_chain(config.cert_file, config.key_file)
    return context


def _connect(host: str, port: int, context: ssl.SSLContext) -> dict[str, Any]:
    """Return the certificate of a server in the form of :meth:`ssl.SSLSocket.getpeercert`."""
    with (
        socket.create_connection((host, port), _TIMEOUT) as connection,
        context.wrap_socket(connection, server_hostname=host) as secure,
    ):
        return dict(secure.getpeercert() or {})
