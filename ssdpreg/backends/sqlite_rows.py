"""Registrations as rows of a database: JSON with a checksum. Pure functions."""

from __future__ import annotations

import json
from dataclasses import fields
from operator import attrgetter
from zlib import crc32

from ssdpreg.backends.sqlite_file import DamagedFileError
from ssdpreg.registration import Check, Registration

#: Names of all attributes of a check. Equality of checks compares the ID alone, but a row stores everything.
_CHECK_FIELDS = tuple(field.name for field in fields(Check))


def encode(registration: Registration) -> tuple[str, int]:
    """
    Serialize a registration.

    :return: JSON text, and its CRC-32, which detects damage that SQLite's integrity check does not.
    """
    checks = sorted(registration.checks, key=attrgetter("check_id"))
    text = json.dumps(
        {
            "service_id": registration.service_id,
            "name": registration.name,
            "address": registration.address,
            "port": registration.port,
            "tags": registration.tags,
            "meta": dict(registration.meta),
            "checks": [{name: getattr(check, name) for name in _CHECK_FIELDS} for check in checks],
        }
    )
    return text, crc32(text.encode())


def decode(text: str, digest: int) -> Registration:
    """
    Parse a registration.

    :param text: JSON text.
    :param digest: Its CRC-32.
    :raise DamagedFileError: If the text is not one that :func:`encode` returns, or the digest does not match.
    """
    try:
        if crc32(text.encode()) != digest:
            raise ValueError("the checksum does not match")
        raw = json.loads(text)
        checks = frozenset(Check(**check) for check in raw["checks"])
        return Registration(**{**raw, "tags": tuple(raw["tags"]), "checks": checks})
    except (ValueError, LookupError, TypeError) as error:
        raise DamagedFileError(f"it has a row that cannot be read: {error}") from error
