"""What can go wrong, as a tree that branches by what is to be done about it."""

from __future__ import annotations

from dataclasses import dataclass


class SSDPRegError(Exception):
    """The root of all errors that ssdpreg raises on purpose."""


@dataclass(frozen=True, slots=True)
class Fault:
    """
    One thing wrong with a configuration.

    :ivar path: Where, as in ``backend.address``; empty for the file as a whole.
    :ivar problem: What is wrong and what would be right.
    """

    path: str
    problem: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}" if self.path else self.problem


class ConfigError(SSDPRegError):
    """
    The configuration cannot be used; its operator has to edit it.

    :ivar faults: Everything that is wrong, in the order of the file.
    """

    def __init__(self, *faults: Fault) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


class MessageError(SSDPRegError, ValueError):
    """A datagram is no SSDP message, and is dropped."""

    #: What counts as one kind of fault, in logs and metrics: never a stranger's text.
    kind = "malformed"


class StartLineError(MessageError):
    """The first line is none of the three that SSDP knows."""

    kind = "start line"


class HeaderError(MessageError):
    """
    A header field is missing or says nothing.

    :ivar name: The field's name, in capitals.
    """

    kind = "header"

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name = name


class IgnoredError(SSDPRegError):
    """
    A message that was well formed, and asked for, cannot be registered.

    :ivar reason: Why, as one of a few constant phrases: it is a metric's label and keys a log's memory.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BackendError(SSDPRegError):
    """A backend did not do as it was asked."""


class BackendUnavailableError(BackendError):
    """
    Nobody answered, or the answer was "not now": the same request is worth repeating later.

    :ivar retry_after: Seconds that the backend asked to be left alone, or ``None``.
    """

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class BackendRefusedError(BackendError):
    """
    The answer is no, and repeating the request will not change it: a person has to act.

    :ivar status: HTTP status of the answer, such as 403.
    :ivar reason: What the backend said, cut short.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason

    @property
    def denied(self) -> bool:
        """Whether rights are missing (401, 403), which an operator can grant without any change of ours."""
        return self.status in (401, 403)


class BackendForgotError(BackendError):
    """The backend does not know what it was told before, as after a restart without its data."""
