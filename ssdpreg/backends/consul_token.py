"""Source of the ACL token that requests to Consul carry."""

from __future__ import annotations

from pathlib import Path

#: Bytes of a token file that are read.
_MAX_TOKEN = 4096


class TokenSource:
    """
    Source of Consul's ACL token: a fixed value, or a file that may change. The token is in no log and no ``repr()``.

    :param value: The token, or None for requests without a token.
    :param path: File to read the token from, in place of ``value``.
    :ivar value: The current token, or None.
    :ivar version: Number of changes of the token so far.
    """

    def __init__(self, value: str | None = None, path: str | None = None) -> None:
        self.value = value
        self.version = 0
        self._path = path
        if path is not None:
            self.value = self._read(path)

    def refresh(self) -> None:
        """Read the file again."""
        if self._path is None:
            return
        try:
            value = self._read(self._path)
        except (OSError, ValueError):
            # The file may be missing for a moment while it is replaced.
            return
        # It may be empty for a moment while it is written.
        if value and value != self.value:
            self.value = value
            self.version += 1

    @staticmethod
    def _read(path: str) -> str:
        with Path(path).open() as file:
            return file.read(_MAX_TOKEN).strip()
