"""Certificates for tests."""

from __future__ import annotations

import datetime
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet.ssl import PrivateCertificate


def make_certificate(
    name: str, authority: PrivateCertificate | None = None, days: tuple[float, float] = (-1, 1)
) -> PrivateCertificate:
    """
    Make a certificate.

    :param name: Common name of the subject. It becomes a subject alternative name, too, unless it is an authority's.
    :param authority: Authority that signs the certificate. Without one, the certificate is an authority itself.
    :param days: Begin and end of the validity, in days from now.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    issuer, signing_key = subject, key
    if authority is not None:
        issuer = authority.original.to_cryptography().subject
        signing_key = authority.privateKey.original.to_cryptography_key()
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
    )
    if name[0].isdigit() or authority is not None:
        alternative = x509.IPAddress(ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
        builder = builder.add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
    pem = builder.sign(signing_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    certificate: PrivateCertificate = PrivateCertificate.loadPEM(pem + key_pem)
    return certificate
