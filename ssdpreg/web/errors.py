"""What a reader did wrong."""

from __future__ import annotations

from ssdpreg.errors import SSDPRegError


class AnswerError(SSDPRegError):
    """
    There is no such answer.

    :ivar status: HTTP status.
    """

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status
