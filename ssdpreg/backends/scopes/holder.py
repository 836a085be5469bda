"""Names in Consul that belong to the lock of a scope, and the value of its key, which describes the holder. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ssdpreg.errors import ConfigError, Fault
from ssdpreg.registration import SOURCE
from ssdpreg.registration.meta import META_SOURCE

#: Folder of the keys of all scopes. The key of a scope is its lock.
SCOPES = "ssdpreg/scopes/"

#: Meta of the node to which the session of a lock belongs. It is not the Meta of the devices' nodes, so that the
#: listing of a scope does not have this node.
META_LOCK = "ssdpreg-lock"

#: Beginning of the names of these nodes. No device has a node with such a name.
LOCK_NODE_PREFIX = "ssdpreg-"

#: Node-level check that marks the nodes of a scope without a living daemon. DNS and ``?passing`` leave such nodes out.
SCOPE_CHECK = "ssdpreg:scope"

#: Address of the nodes of locks: Consul requires one. It is the same for all daemons, so that none changes it.
LOCK_NODE_ADDRESS = "127.0.0.1"

#: Scopes that are part of a node name as they are. The name of any other scope is hashed.
_LITERAL = re.compile(r"[a-z0-9][a-z0-9._-]{0,54}")
_HASHED = re.compile(r"[0-9a-f]{32}")

#: Characters of each text in the value of a key. They bound what is logged and shown.
_LONGEST_TEXT = 64
#: Characters of the value of a key in base64. Longer values come from another program.
_LONGEST_VALUE = 2048
#: Seconds that the configuration accepts for ``backend.reap_after``: a minute to a year.
_SHORTEST_REAP_AFTER, _LONGEST_REAP_AFTER = 60.0, 31_536_000.0


@dataclass(frozen=True, slots=True)
class Holder:
    """
    Daemon that holds a lock.

    :ivar host: Name of its host.
    :ivar pid: ID of its process on that host.
    :ivar instance: Its identity, see :mod:`ssdpreg.backends.instance`.
    :ivar version: Its version.
    :ivar since: Time of day of the acquisition in UTC, such as ``2026-03-01T10:00:00Z``.
    :ivar reap_after: Seconds after its end until the nodes of its scope are removed; None if that is unknown.
    """

    host: str = ""
    pid: int = 0
    instance: str = ""
    version: str = ""
    since: str = ""
    reap_after: float | None = None

    def __str__(self) -> str:
        if not self.host:
            return "an unknown daemon"
        return f"{self.host} (process {self.pid}, since {self.since or 'an unknown time'})"


def format_holder(holder: Holder) -> dict[str, Any]:
    """Return the value of the key of a lock, to be sent as JSON."""
    fields = {key: value for key, value in asdict(holder).items() if value is not None}
    return {key: value[:_LONGEST_TEXT] if isinstance(value, str) else value for key, value in fields.items()}


def parse_holder(value: object) -> Holder:
    """
    Parse the value of the key of a lock.

    :param value: ``Value`` of the key in Consul's response: base64, or None.
    :return: The holder. Fields that are missing or malformed are empty: another program or an earlier version may have
        written the key.
    """
    if not isinstance(value, str) or len(value) > _LONGEST_VALUE:
        return Holder()
    try:
        fields = json.loads(base64.b64decode(value))
    except (ValueError, RecursionError):
        return Holder()
    if not isinstance(fields, dict):
        return Holder()
    pid = fields.get("pid")
    return Holder(
        host=_text(fields, "host"),
        pid=pid if isinstance(pid, int) and 0 < pid < 2**31 else 0,
        instance=_text(fields, "instance"),
        version=_text(fields, "version"),
        since=_text(fields, "since"),
        reap_after=_reap_after(fields.get("reap_after")),
    )


def scope_key(scope: str) -> str:
    """
    Return the key that is the lock of a scope.

    :raise ConfigError: If no key can contain the scope: Consul redirects requests for paths with such parts.
    """
    if not {"", ".", ".."}.isdisjoint(scope.split("/")):
        problem = f"{scope[:100]!r} begins or ends with a slash, or has a part that is empty, a dot or two dots"
        raise ConfigError(Fault("backend.scope", problem))
    return SCOPES + scope


def lock_node(scope: str) -> str:
    """
    Return the name of the node to which the session of a scope's lock belongs.

    :param scope: Any text. It is part of the name if node names allow it, otherwise its digest is.
    """
    if _LITERAL.fullmatch(scope) and not _HASHED.fullmatch(scope) and ".." not in scope:
        return LOCK_NODE_PREFIX + scope
    return LOCK_NODE_PREFIX + hashlib.sha256(scope.encode()).hexdigest()[:32]


def lock_node_meta(scope: str) -> dict[str, str]:
    """Return the Meta of the node to which the session of a scope's lock belongs."""
    return {META_SOURCE: SOURCE, META_LOCK: scope}


def _reap_after(value: object) -> float | None:
    """Return a duration that the configuration accepts, or None. JSON as Python parses it has NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if _SHORTEST_REAP_AFTER <= value <= _LONGEST_REAP_AFTER else None


def _text(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    if not isinstance(value, str):
        return ""
    return "".join(letter for letter in value[:_LONGEST_TEXT] if letter.isprintable())
