"""
Interfaces between the parts of the daemon, and for plugins: listeners and backends.

Every ``twistd`` of the environment imports this module, so it imports next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from ssdpreg.discovery.events import Reason
    from ssdpreg.registration import Outcome, Plan, Registration
    from ssdpreg.ssdp.messages import Alive, ByeBye, SearchResponse, Update


class ISSDPListener(Interface):
    """
    Receiver of SSDP messages. No content of a message makes a method raise an exception.

    ``sender`` is the IP address of the sender of the datagram, empty if it is unknown.
    """

    def notify_alive(message: Alive, sender: str = "") -> None:
        """Process ``ssdp:alive``: a device or service is available for ``message.max_age`` seconds."""

    def notify_bye(message: ByeBye, sender: str = "") -> None:
        """Process ``ssdp:byebye``: a device or service leaves."""

    def notify_update(message: Update, sender: str = "") -> None:
        """Process ``ssdp:update``: a device is about to raise its BOOTID; nothing else changes."""

    def response(message: SearchResponse, sender: str = "") -> None:
        """Process the reply of a device to a search of this daemon."""


class IRegistrationListener(Interface):
    """Receiver of changes to the live services. An exception of one listener does not keep others from being called."""

    def appeared(registration: Registration) -> None:
        """Process a service that was not live before."""

    def changed(registration: Registration, before: Registration) -> None:
        """Process a live service whose registration differs from the one before. The service ID is the same."""

    def left(registration: Registration, reason: Reason) -> None:
        """
        Process a service that is no longer live.

        :param reason: ``byebye``, ``expired``, ``evicted`` or ``unconfigured``.
        """


class IRegistryBackend(Interface):
    """
    A store of registrations, such as Consul.

    A backend marks its own entries. It neither returns nor changes any other entry.
    """

    async def read() -> Mapping[str, Registration]:
        """
        Return the registrations of this daemon, by service ID.

        :raise BackendUnavailableError: If the backend does not respond.
        :raise BackendRefusedError: If the backend rejects the request, or is known to hide entries of this daemon.
        :raise BackendInUseError: If another daemon that is alive writes the entries of this scope.
        """

    async def apply(plan: Plan) -> Outcome:
        """
        Apply a plan as far as possible. Idempotent.

        A rejected entry does not keep the others from being applied. Never raises :class:`BackendError`: the outcome
        contains the errors. After :class:`BackendInUseError` from another method, nothing is written.
        """

    async def keep_alive() -> None:
        """
        Show that this daemon is alive. Causes no write in the backend while nothing is wrong.

        :raise BackendUnavailableError: If the backend does not respond.
        :raise BackendRefusedError: If the backend rejects the request.
        :raise BackendForgotError: If the backend lost its entries. They have to be read and registered again.
        :raise BackendInUseError: If another daemon that is alive writes the entries of this scope.
        """

    async def retire() -> None:
        """
        Remove the entry that represents this daemon itself. Called when the daemon removes all its entries.

        :raise BackendUnavailableError: If the backend does not respond.
        :raise BackendRefusedError: If the backend rejects the request.
        """

    async def close() -> None:
        """Close connections and files. Entries stay."""


class IOverlappingPlans(Interface):
    """
    Optional interface of a backend that can begin with a plan before all changes of the plan before have ended.

    Otherwise a backend that runs several changes at a time would be idle more and more towards the end of each plan.
    """

    async def apply_overlapping(plan: Plan, room: Callable[[], None]) -> Outcome:
        """
        Apply a plan as :meth:`IRegistryBackend.apply` does.

        :param plan: Changes of services of which no other change is in progress.
        :param room: Called at most once, when no change of the plan waits any more and the backend could begin with
            another one. The caller may apply another plan from then on.
        """


class ILifetimeStore(Interface):
    """
    Optional interface of a backend that stores the remaining lifetimes of services for the next start of the daemon.

    A backend for which frequent writes are expensive does not provide it. After a restart, each of its services gets a
    full lifetime.
    """

    def remember(lifetimes: Mapping[str, float]) -> None:
        """
        Store the remaining lifetimes of some services. A service that was never registered is ignored.

        :param lifetimes: Seconds from now, by service ID.
        """

    def remaining() -> Mapping[str, float]:
        """Return the remaining lifetime of each registered service: seconds from now, 0 or less if it has expired."""


class IRequestStatistics(Interface):
    """Optional interface of a backend that makes requests: numbers for metrics."""

    requests: Mapping[tuple[str, str], int] = Attribute(
        "Number of requests by operation, such as ``register``, and by result: ``ok``, ``refused``, ``unavailable`` or"
        " ``forgot``."
    )
    seconds: Mapping[str, float] = Attribute("Total duration of the requests in seconds, by operation.")
    too_long: int = Attribute("Number of responses that were not accepted because of their length.")


class IWriteProbe(Interface):
    """Optional interface of a backend that can test whether it accepts writes at all."""

    async def probe() -> None:
        """
        Write the entry of this daemon itself again.

        Called after the backend rejected all changes of a plan, to find out whether the fault lies with the changes or
        with the backend.

        :raise BackendError: If the backend rejects this write, too.
        """


class ICredentials(Interface):
    """Optional interface of a backend whose credentials can change while it is used."""

    credentials_version: int = Attribute(
        "Number that grows when the credentials change. Changes that were rejected for a missing permission are worth"
        " another attempt then."
    )


class IKnownRegistrations(Interface):
    """Optional interface of a backend that can return given registrations in place of equal ones, to save memory."""

    known: Mapping[str, Registration] = Attribute(
        "Registrations by service ID, set by the caller. ``read`` returns them in place of equal ones."
    )


class ISharedRegistrations(Interface):
    """
    Optional interface of a backend that stores registrations in the memory of the daemon, and that only the daemon
    changes. The daemon does not keep a copy of them.
    """

    registrations: dict[str, Registration] = Attribute(
        "The registrations by service ID. ``apply`` changes this mapping. The caller makes the same changes again after"
        " it has returned."
    )


class IEarlierRegistrations(Interface):
    """Optional interface of a backend that finds registrations of an earlier run also where it does not write."""

    async def read_earlier() -> Collection[Registration]:
        """
        Return registrations that ``read`` does not return. Their services are adopted, and registered like new ones.

        It is empty if they cannot be read.
        """


class IWriterLock(Interface):
    """Lock that several daemons share. Its holder writes to the backend, the others keep their tables up to date."""

    scope: str = Attribute("Scope whose registrations the lock protects.")
    held: bool = Attribute("Whether this daemon holds the lock, as far as it knows.")
    waiting: bool = Attribute("Whether another daemon holds the lock.")
    unreachable: bool = Attribute("Whether the latest request for the lock failed.")
    description: str = Attribute("Text that says which daemon holds the lock, and since when.")
    others_wrote: bool = Attribute(
        "Whether another daemon may have written between the last time that this one held the lock, and the latest"
        " acquisition."
    )
    acquisitions: int = Attribute("Number of times that this daemon acquired the lock.")
    losses: int = Attribute("Number of times that it lost the lock.")
    refusals: int = Attribute("Number of transactions that were rejected because it did not hold the lock.")

    def subscribe(changed: Callable[[], None]) -> None:
        """
        Call a function after each acquisition and each loss of the lock.

        :param changed: Called without arguments.
        """


class IScopeReaper(Interface):
    """The part of the daemon that marks and removes the nodes of scopes without a living daemon: its numbers."""

    elected: bool = Attribute("Whether this daemon is the one in the datacenter that does so.")
    scopes: int = Attribute("Number of scopes in the datacenter, 0 if it is not.")
    dead_scopes: int = Attribute("Number of those without a living daemon, of which nodes are left.")
    marked: int = Attribute("Number of nodes that were marked.")
    removed: int = Attribute("Number of nodes that were removed.")
    kept: int = Attribute("Number of nodes that were not removed, because other programs use them.")
    failures: int = Attribute("Number of rounds that failed.")


class ILockedBackend(Interface):
    """Optional interface of a backend to which only the holder of a lock writes."""

    lock: IWriterLock = Attribute("The lock.")
    reaper: IScopeReaper = Attribute("The part that looks after the scopes of daemons that have ended.")


class IBackendMaker(Interface):
    """A plugin that makes a backend, found by the value of ``backend.type`` in the configuration."""

    type: str = Attribute("Value of ``backend.type``, such as ``consul``.")

    def make_backend(reactor: Any, config: Any, scope: str) -> IRegistryBackend:
        """
        Make a backend. It opens no connection yet.

        :param reactor: Provides connections and time.
        :param config: The ``backend`` section: :class:`ssdpreg.config.ConsulConfig`,
            :class:`ssdpreg.config.EmbeddedConfig`, or a plain mapping for a type of a plugin.
        :param scope: Marks the entries of this daemon.
        :raise ConfigError: If the section is invalid.
        """
