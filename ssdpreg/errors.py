"""Exceptions of ssdpreg, as a tree that branches by the reaction to each."""

from __future__ import annotations

from dataclasses import dataclass


class SSDPRegError(Exception):
    """Base class of all exceptions that ssdpreg raises on purpose."""


@dataclass(frozen=True, slots=True)
class Fault:
    """
    One fault of a configuration.

    :ivar path: Place of the fault, as in ``backend.address``; empty for the file as a whole.
    :ivar problem: Description of the fault and of a valid value.
    """

    path: str
    problem: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}" if self.path else self.problem


class ConfigError(SSDPRegError):
    """
    The configuration is invalid: the operator has to edit it.

    :ivar faults: All faults, in the order of the file.
    """

    def __init__(self, *faults: Fault) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


class MessageError(SSDPRegError, ValueError):
    """A datagram is not an SSDP message: it is dropped."""

    #: Kind of the fault in logs and metrics. A constant: never text from the datagram.
    kind = "malformed"


class StartLineError(MessageError):
    """The first line of a datagram is none of the three start lines of SSDP."""

    kind = "start line"


class HeaderError(MessageError):
    """
    A header field is missing or has an invalid value.

    :ivar name: Name of the field, in capitals.
    """

    kind = "header"

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name = name


class UnsolicitedError(MessageError):
    """A datagram was received on the socket of a search, and is no reply of a host that was searched."""

    kind = "unsolicited"


class OffLinkReplyError(MessageError):
    """The sender of a reply is neither on the network of the interface nor in a network that the operator named."""

    kind = "off-link reply"


class CaptureError(SSDPRegError):
    """A capture cannot be read: it is not in a known format, or the library for captures is not installed."""


class RejectedError(SSDPRegError):
    """
    A well-formed announcement that matches a search term cannot be registered.

    :ivar reason: One of a few constant phrases: it is the label of a metric.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BackendError(SSDPRegError):
    """A request to a backend failed."""


class BackendUnavailableError(BackendError):
    """
    The backend did not respond, or cannot process requests now: retry the same request later.

    :ivar retry_after: Pause in seconds that the backend requested, or None.
    """

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class BackendBusyError(BackendUnavailableError):
    """The backend limits the rate of requests, and did not process this one: send the same request after a pause."""


class BackendFaultError(BackendUnavailableError):
    """
    The backend responded that it failed to process the request. It may process others.

    :ivar status: HTTP status of the response.
    :ivar reason: Reason given by the backend, truncated.
    """

    def __init__(self, text: str, status: int, reason: str) -> None:
        super().__init__(text)
        self.status = status
        self.reason = reason


class BackendInUseError(BackendUnavailableError):
    """Another daemon that is alive writes the registrations of this scope: nothing is written until it ends."""


class NotHolderError(BackendInUseError):
    """This daemon does not hold the lock of its scope: nothing is written until it does."""


class BackendRefusedError(BackendError):
    """
    The backend rejected the request, and would reject it again: the operator has to act.

    :ivar status: HTTP status of the response, such as 403.
    :ivar reason: Reason given by the backend, truncated.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason

    @property
    def denied(self) -> bool:
        """Whether the request lacks a permission (401, 403), which an operator can grant at any time."""
        return self.status in (401, 403)

    @property
    def conflicting(self) -> bool:
        """Whether an entry of another program is in the way (409), which can be removed at any time."""
        return self.status == 409


class BackendForgotError(BackendError):
    """The backend lost what was registered, as a Consul agent does that restarts without its data."""


class DescriptionError(SSDPRegError):
    """
    A device did not provide a usable description. The next attempt is made an hour later.

    :ivar kind: One of a few constant words: it is the label of a metric.
    """

    def __init__(self, reason: str, kind: str = "invalid") -> None:
        super().__init__(reason)
        self.kind = kind
