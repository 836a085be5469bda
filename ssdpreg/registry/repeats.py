"""Messages that are received again unchanged: what the memo of datagrams keeps for each of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeAlias

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.interpret import Rejection
from ssdpreg.discovery.tracked import TrackedService
from ssdpreg.ssdp.messages import Message
from ssdpreg.ssdp.reception import Channel, Reception

#: Processes an advertisement whose datagram was parsed before.
ProcessAdvertisement: TypeAlias = Callable[[Advertisement, Reception], None]
#: Processes a rejection, and the IP address of the sender.
ProcessRejection: TypeAlias = Callable[[Rejection, str], None]


class MessageGroup:
    """
    Messages of one kind that a channel of one interface receives. Their repetitions share what does not differ.

    :ivar count: Number of received messages.
    :ivar interpretation: Number of the interpretation that is valid: see :class:`MessageGroups`.
    :ivar is_reply: Whether they are replies to searches.
    :ivar seconds: Returns the time.
    :ivar process: Processes an advertisement that is not a mere repetition.
    :ivar reject: Processes a rejection.
    """

    __slots__ = ("count", "interpretation", "is_reply", "process", "reject", "seconds")

    def __init__(
        self,
        interpretation: int,
        is_reply: bool,
        seconds: Callable[[], float],
        process: ProcessAdvertisement,
        reject: ProcessRejection,
    ) -> None:
        self.count = 0
        self.interpretation = interpretation
        self.is_reply, self.seconds, self.process, self.reject = is_reply, seconds, process, reject


class MessageGroups:
    """
    Groups of messages.

    :param seconds: Returns the time.
    :param process: Processes an advertisement.
    :param reject: Processes a rejection.
    """

    def __init__(self, seconds: Callable[[], float], process: ProcessAdvertisement, reject: ProcessRejection) -> None:
        self._seconds, self._process, self._reject = seconds, process, reject
        self._groups: dict[tuple[str, str, Channel], MessageGroup] = {}
        self._interpretation = 0

    def of(self, message: Message, reception: Reception) -> MessageGroup:
        """Return the group of a message."""
        key = message.kind, reception.interface, reception.channel
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = MessageGroup(
                self._interpretation, reception.is_reply, self._seconds, self._process, self._reject
            )
        return group

    def reinterpret(self) -> None:
        """Let every message be interpreted again, because its meaning may be another one now."""
        self._interpretation += 1
        for group in self._groups.values():
            group.interpretation = self._interpretation

    def counts(self) -> Counter[tuple[str, str]]:
        """Return the number of received messages by kind and interface."""
        counts: Counter[tuple[str, str]] = Counter()
        for (kind, interface, _), group in self._groups.items():
            counts[kind, interface] += group.count
        return counts


class RepeatedAdvertisement:
    """
    Processes an advertisement again that was received again. Called for most datagrams of a network: it has to be fast.

    :param group: Group of its message.
    :param service: Service that it is about.
    """

    __slots__ = ("_advertisement", "_claim", "_group", "_interpretation", "_reception", "_service")

    def __init__(
        self, group: MessageGroup, service: TrackedService, advertisement: Advertisement, reception: Reception
    ) -> None:
        self._group, self._interpretation = group, group.interpretation
        self._service = service
        self._advertisement, self._reception = advertisement, reception
        self._refer_to_claim()

    def _refer_to_claim(self) -> None:
        """Refer to the current claim, and to its copy of the advertisement if it has received the same one."""
        self._claim = claim = self._service.claim
        if claim.latest is not None and claim.latest.is_same(self._advertisement):
            self._advertisement = claim.latest

    def __call__(self) -> bool:
        """Process the advertisement. Return False if it has to be parsed again."""
        group, claim, reception = self._group, self._claim, self._reception
        if self._interpretation != group.interpretation:
            return False
        if (
            claim.latest is self._advertisement
            and claim.latest_is_reply is group.is_reply
            and claim.sender == reception.sender
            and claim.interface == reception.interface
        ):
            # Nothing is pending, so the claim is only prolonged.
            claim.repeat(group.seconds(), group.is_reply)
        elif self._service.removed:
            return False
        else:
            group.process(self._advertisement, reception)
            self._refer_to_claim()
        group.count += 1
        return True


class RepeatedRejection:
    """
    Processes a message again that was rejected, and was received again.

    :param group: Group of the message.
    """

    __slots__ = ("_group", "_interpretation", "_rejection", "_sender")

    def __init__(self, group: MessageGroup, rejection: Rejection, sender: str) -> None:
        self._group, self._interpretation = group, group.interpretation
        self._rejection, self._sender = rejection, sender

    def __call__(self) -> bool:
        """Process the rejection. Return False if the message has to be parsed again."""
        group = self._group
        if self._interpretation != group.interpretation:
            return False
        group.count += 1
        group.reject(self._rejection, self._sender)
        return True
