"""Exceptions that become HTTP error responses."""

from __future__ import annotations

from ssdpreg.errors import SSDPRegError


class ResponseError(SSDPRegError):
    """
    A request that is answered with an error. The text of the exception is the body of the response.

    :ivar status: HTTP status.
    """

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status
