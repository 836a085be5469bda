"""
Identity of a running daemon, and the test whether the daemon with another identity has ended.

Two daemons with one scope must not write to the same Consul: each would remove what the other registers. Each daemon
therefore writes its identity into the Meta of the service that represents it. A daemon that finds another identity
there has to know whether the other daemon is alive, or is its own predecessor that was killed a moment ago:

- The TTL check of the service is not passing: the other daemon has ended, or was suspended for longer than the TTL.
- The TTL check is passing. It stays so for up to 30 s after the end of a daemon, but a daemon that is started again has
  to register new devices within a second. So a daemon also holds an abstract UNIX socket that is named after its
  identity. The kernel frees that name when the process ends, even by SIGKILL. A daemon that can bind the name
  knows that the other daemon has ended. No user can block a daemon by binding the name first, because it is random.
- Abstract sockets are visible only in one network namespace of one boot of a host. The identity begins with a digest of
  both. For a daemon in another namespace, only the TTL check counts: it ends within 30 s.

Neither a time nor a counter is stored in Consul, because each change of them would be a write to its raft log.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import secrets
import socket
from pathlib import Path

_NAME = re.compile(r"[0-9a-f]{16}")


class Instance:
    """
    Identity of a running daemon. It is alive as long as this object exists in the process.

    :param namespace: Digest of the boot and the network namespace; empty if there is no such socket.
    :ivar instance_id: ``<namespace>-<random>``.
    """

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self.instance_id = f"{namespace}-{secrets.token_hex(8)}"
        self._socket = _bind(self.instance_id) if namespace else None

    def has_ended(self, instance_id: str) -> bool:
        """
        Return whether the daemon with another identity is known to have ended.

        :param instance_id: Identity of the other daemon.
        """
        namespace, _, name = instance_id.partition("-")
        if not self._namespace or namespace != self._namespace or not _NAME.fullmatch(name):
            return False
        try:
            _bind(instance_id).close()
        except OSError:
            # EADDRINUSE: the other daemon is alive. After any other error, such as EMFILE, that is unknown.
            return False
        return True

    def close(self) -> None:
        """End the identity, as the end of the process does."""
        if self._socket is not None:
            self._socket.close()


def current_instance() -> Instance:
    """Return the identity of this process. It is made by the first call, because a daemon forks at its start."""
    return _instance_of(os.getpid())


@functools.cache
def _instance_of(pid: int) -> Instance:
    return Instance(_find_namespace())


def _find_namespace() -> str:
    """Return a digest of the boot of this host and of the network namespace, or an empty string if it is unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink("/proc/self/ns/net")
        _bind(f"test-{secrets.token_hex(8)}").close()
    except OSError:
        return ""
    return hashlib.sha256(f"{boot} {namespace}".encode()).hexdigest()[:12]


def _bind(instance_id: str) -> socket.socket:
    """Return a socket with the name of an identity."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        bound.bind(f"\0ssdpreg-{instance_id}")
    except OSError:
        bound.close()
        raise
    return bound
