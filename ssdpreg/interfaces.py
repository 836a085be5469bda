"""
The joints of the house: who hears messages, and where registrations are written down.

Every ``twistd`` of the environment imports this module, so it imports next to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from ssdpreg.registration import Outcome, Plan, Registration
    from ssdpreg.ssdp.messages import Alive, ByeBye, SearchResponse, Update


class ISSDPListener(Interface):
    """
    Hears what devices say. No method raises, whatever a stranger put into a message.

    ``sender`` is the IP address, as text, that a datagram came from; it is empty where nobody knows.
    """

    def notify_alive(message: Alive, sender: str = "") -> None:
        """A device or service is there, and stays for ``message.max_age`` seconds."""

    def notify_bye(message: ByeBye, sender: str = "") -> None:
        """A device or service leaves."""

    def notify_update(message: Update, sender: str = "") -> None:
        """A device is about to count its boots on; nothing else changes."""

    def response(message: SearchResponse, sender: str = "") -> None:
        """A device answered a search of ours."""


class IRegistrationListener(Interface):
    """Receiver of changes to the live services. An exception of one listener does not keep others from being called."""

    def appeared(registration: Registration) -> None:
        """Take note of a service that was not live before."""

    def changed(registration: Registration, before: Registration) -> None:
        """Take note of a live service whose registration differs from the one before. The service ID is the same."""

    def left(registration: Registration, reason: str) -> None:
        """
        Take note of a service that is no longer live.

        :param reason: ``byebye``, ``expired`` or ``unconfigured``.
        """


class IRegistryBackend(Interface):
    """
    A place where services are written down for others to find.

    A backend knows its own entries by a mark that it leaves on them, and neither shows nor touches any other.
    """

    async def read() -> Mapping[str, Registration]:
        """
        Tell what of ours is written down now.

        :return: Registrations by service ID.
        :raise BackendUnavailableError: If nobody answers.
        :raise BackendRefusedError: If the answer is no, or is known to hide our own entries.
        """

    async def apply(plan: Plan) -> Outcome:
        """
        Make a plan true, as far as possible. Repeating a plan changes nothing.

        One entry that is refused does not hold up the others. Never raises :class:`BackendError`: the outcome tells.
        """

    async def keep_alive() -> None:
        """
        Show that this daemon lives, in a way that costs the backend nothing while all is well.

        :raise BackendUnavailableError: If nobody answers.
        :raise BackendRefusedError: If the answer is no.
        :raise BackendForgotError: If the backend lost what it knew: it wants to be read, and told again.
        """

    async def retire() -> None:
        """
        Take back the daemon's own mark, where there is one, as the last act of a daemon that leaves nothing behind.

        :raise BackendUnavailableError: If nobody answers.
        :raise BackendRefusedError: If the answer is no.
        """

    async def close() -> None:
        """Let go of connections and files. What is written down stays."""


class ILifetimeStore(Interface):
    """
    A backend that also writes down how long services have left, so that a restart takes nothing from them.

    Others would be written to all the time by that. What they hold is believed for a full time after a restart.
    """

    def remember(lifetimes: Mapping[str, float]) -> None:
        """
        Write down how long some services have left. Those that were never registered are passed over.

        :param lifetimes: Seconds from now, by service ID.
        """

    def remaining() -> Mapping[str, float]:
        """Tell how long each registered service has left: seconds from now, 0 or less where its time is over."""


class IRequestStatistics(Interface):
    """Optional interface of a backend that makes requests: numbers for metrics."""

    requests: Mapping[tuple[str, str], int] = Attribute(
        "Number of requests by operation, such as ``register``, and by result: ``ok``, ``refused``, ``unavailable`` or"
        " ``forgot``."
    )
    seconds: Mapping[str, float] = Attribute("Total duration of the requests in seconds, by operation.")


class IBackendMaker(Interface):
    """A plugin that makes a backend, found by what ``backend.type`` says in the configuration."""

    type: str = Attribute("What ``backend.type`` says, such as ``consul``.")

    def make_backend(reactor: Any, config: Any, scope: str) -> IRegistryBackend:
        """
        Make the backend, without yet talking to anybody.

        :param reactor: The reactor, for connections and time.
        :param config: The ``backend`` section: :class:`ssdpreg.config.ConsulConfig`,
            :class:`ssdpreg.config.EmbeddedConfig`, or the plain mapping of a type that ssdpreg itself does not know.
        :param scope: Marks entries as this daemon's own.
        :raise ConfigError: If the section does not fit.
        """
