"""
Claims of senders about the LOCATION of one service. Pure.

- *Claim*: the statement "service S is at LOCATION L". One sender owns it. A service has one *current* claim, and may
  have a few others: see :mod:`ssdpreg.discovery.tracked`. The owner of the current claim is the *holder* of the
  service.
- *Standing*: the degree to which the way of reception supports a claim: see :mod:`ssdpreg.discovery.standing`.
- *Superseded*: a claim from which its own owner has moved the service away.
"""

from __future__ import annotations

import math
from typing import Any

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.hosts import is_link_local_ipv6
from ssdpreg.discovery.neighbours import Neighbours, is_link_local_announcement
from ssdpreg.discovery.rare import Rare
from ssdpreg.discovery.shared import shared_with
from ssdpreg.discovery.standing import Standing, standing_of
from ssdpreg.ssdp.reception import Reception
from ssdpreg.ssdp.search_address import search_address

#: Part of max-age after which a silent device is searched for.
_SEARCH_AFTER = 0.8
#: Number of announcements after which a claim counts as long established.
_ENOUGH_ANNOUNCEMENTS = 10
#: Seconds within which a device sends the copies of one announcement.
_COPIES = 10.0
#: Seconds that an indirect claim lives at most: its sender may have nothing to do with the service.
_MAX_INDIRECT_LIFETIME = 1800.0
#: Largest number of interfaces that are kept for a claim, besides that of the latest reception.
_MAX_OTHER_INTERFACES = 4
#: Seconds after its adoption in which a service has the time to reply to a search.
_ADOPTION = 60.0

#: A shared number: each evaluation of ``-math.inf`` makes one.
_NEVER = -math.inf


class Claim:
    """
    Claim that a service is at a LOCATION.

    :ivar advertisement: Advertisement with the facts of the device. They are replaced when the device restarts.
    :ivar sender: Address of the owner. Only the owner and the LOCATION's host can prolong, move or end the claim.
    :ivar standing: Highest standing of its receptions.
    :ivar interface: Interface of the latest reception.
    :ivar other_interfaces: Interfaces of its earlier receptions, the latest ones if there are many.
    :ivar neighbours: Other addresses of the link that announce it: see :mod:`ssdpreg.discovery.neighbours`. They can
        prolong it, and end it if the LOCATION's host does not reply. None if there was none.
    :ivar boot_id: BOOTID of its latest announcement.
    :ivar began_at: Time of the first reception.
    :ivar received_at: Time of the latest reception from the owner.
    :ivar previous_at: Time of the reception before that. Copies of one announcement count as one reception.
    :ivar lifetime: Seconds from the latest reception to the expiry.
    :ivar latest: Advertisement of the latest reception, as long as its repetition only prolongs the claim: see
        :meth:`settle`. None for a claim that is not the current one, and while a decision is pending.
    :ivar latest_is_reply: Whether that reception was a reply to a search.
    :ivar answers: Whether the LOCATION's host replies to searches: it replied to one, and to the latest of a contest.
    :ivar replied_at: Time of its latest reply.
    :ivar announcements: Number of receptions from the LOCATION's host, up to a limit. Copies count as one.
    :ivar superseded: Whether its owner moved the service to another LOCATION. The claim stays until it expires. If
        it is received again, the device has two addresses.
    :ivar rare: Values of the attributes that few claims have: see :mod:`ssdpreg.discovery.rare`.
    """

    __slots__ = (
        "_adopted_at",
        "advertisement",
        "announcements",
        "answers",
        "began_at",
        "boot_id",
        "interface",
        "latest",
        "latest_is_reply",
        "lifetime",
        "previous_at",
        "rare",
        "received_at",
        "replied_at",
        "sender",
        "standing",
    )

    other_interfaces: Rare[tuple[str, ...]] = Rare(())
    neighbours: Rare[Neighbours | None] = Rare(None)
    superseded: Rare[bool] = Rare(False)
    # Max-age of the latest reception, if it is not that of the advertisement.
    _other_max_age: Rare[int | None] = Rare(None)

    def __init__(self, advertisement: Advertisement, reception: Reception, now: float) -> None:
        self.advertisement = advertisement
        self.sender = shared_with(advertisement.host, reception.sender)
        self.standing = Standing.INDIRECT
        self.answers = False
        self.rare: dict[str, Any] | None = None
        self.interface = ""
        self.boot_id = advertisement.boot_id
        self.began_at = now
        self._adopted_at: float | None = None
        self.announcements = 0
        self.latest: Advertisement | None = None
        self.latest_is_reply = False
        self.replied_at = self.previous_at = self.received_at = _NEVER
        self._receive(advertisement, standing_of(advertisement, reception), reception, now)

    @classmethod
    def adopted(cls, advertisement: Advertisement, standing: Standing, lifetime: float, now: float) -> Claim:
        """
        Return the claim of a service that an earlier run registered. The LOCATION's host owns it.

        :param lifetime: Seconds until it expires.
        """
        claim = cls(advertisement, Reception(advertisement.host), now)
        claim.standing = standing
        claim.announcements = _ENOUGH_ANNOUNCEMENTS
        claim.lifetime = lifetime
        claim._adopted_at = now
        return claim

    @property
    def host(self) -> str:
        """Host of the LOCATION."""
        return self.advertisement.host

    @property
    def searched_host(self) -> str:
        """The host, and its port for searches, as :meth:`ssdpreg.ssdp.network.Network.search_hosts` takes them."""
        port = self.advertisement.search_port
        # Only the host itself can name the port.
        return self.host if port is None or self.standing is Standing.INDIRECT else search_address(self.host, port)

    @property
    def max_age(self) -> int:
        """Seconds of validity that the latest reception has announced."""
        other = None if self.rare is None else self._other_max_age
        return self.advertisement.max_age if other is None else other

    @max_age.setter
    def max_age(self, seconds: int) -> None:
        self._other_max_age = None if seconds == self.advertisement.max_age else seconds

    @property
    def search_at(self) -> float:
        """Time at which the device is searched for, unless the claim is received again before."""
        return self.received_at + _SEARCH_AFTER * self.max_age

    @property
    def expires_at(self) -> float:
        """Time of expiry."""
        return self.received_at + self.lifetime

    @property
    def is_adopted(self) -> bool:
        """Whether an earlier run registered it, and it was not received since a minute later."""
        return self._adopted_at is not None

    def is_on_probation(self, now: float) -> bool:
        """Return whether it was adopted so lately that the device may not have been received yet."""
        return self._adopted_at is not None and now - self._adopted_at <= _ADOPTION

    @property
    def is_direct(self) -> bool:
        """Whether the LOCATION's host owns the claim, and was received from its own address."""
        return self.standing is not Standing.INDIRECT and self.sender == self.host

    @property
    def has_replied(self) -> bool:
        """Whether the LOCATION's host has ever replied to a search."""
        return self.replied_at > _NEVER

    def is_established_before(self, other: Claim) -> bool:
        """Return whether the claim was announced more often than another one, or as often as is counted."""
        return self.announcements > other.announcements or self.announcements == _ENOUGH_ANNOUNCEMENTS

    def renew(self, advertisement: Advertisement, reception: Reception, now: float) -> bool:
        """
        Prolong the claim, if the sender owns it, is the LOCATION's host, or announces it from a neighbour address.

        :return: Whether it was prolonged.
        """
        standing = standing_of(advertisement, reception)
        if reception.sender != self.sender:
            if standing is Standing.INDIRECT and self._is_neighbour(reception):
                self._renew_by_neighbour(advertisement, reception, now)
                return True
            # The owner of an indirect claim may have a new address. Then no announcement comes from the old one.
            passes_on = self.standing is Standing.INDIRECT and self.silence(now) > advertisement.max_age / 2
            if standing is Standing.INDIRECT and not passes_on:
                return False
            if standing is not Standing.INDIRECT and is_link_local_ipv6(self.sender):
                self.neighbours = self.neighbours or Neighbours()
                self.neighbours.add(self.sender)
            self.sender = reception.sender
        if standing is not Standing.INDIRECT or self.standing is Standing.INDIRECT:
            self.superseded = False
        self._receive(advertisement, standing, reception, now)
        return True

    def settle(self, advertisement: Advertisement, reception: Reception) -> None:
        """
        Record that a repetition of the message that has just renewed the claim only prolongs it: see :meth:`repeat`.

        A repetition has the same values, sender, interface and channel. It is recognized by the identity of
        :attr:`latest`, which is the advertisement of the claim if both have the same values: a second copy would need
        400 bytes.
        """
        self.latest = self.advertisement if self.advertisement.is_same(advertisement) else advertisement
        self.latest_is_reply = reception.is_reply

    def is_latest(self, advertisement: Advertisement, reception: Reception) -> bool:
        """Return whether an advertisement is the repetition that :meth:`settle` has recorded."""
        latest = self.latest
        return latest is not None and latest.is_same(advertisement) and self.latest_is_reply is reception.is_reply

    def repeat(self, now: float, is_reply: bool) -> None:
        """
        Prolong the claim because the message of :attr:`latest` was received again unchanged.

        :param is_reply: Whether it is a reply to a search.
        """
        if now - self.received_at > _COPIES:
            self._count_reception(self.standing)
        self.received_at = now
        if is_reply and self.standing:
            self.replied_at = now

    def owns(self, sender: str, interface: str = "") -> bool:
        """
        Return whether a byebye of a sender ends the claim: of its owner, or of a neighbour address or the LOCATION's
        host, if the host replies to searches. Then its silence shows that the byebye is not forged.

        :param interface: Interface that received the byebye: hosts of two networks can have the same private address.
            Empty if it is unknown.
        """
        if interface and self.interface and interface not in (self.interface, *self.other_interfaces):
            return False
        if sender == self.sender:
            return True
        neighbours = () if self.neighbours is None else self.neighbours.addresses
        return self.answers and (sender in neighbours or (sender == self.host and is_link_local_ipv6(self.sender)))

    def take_proof(self, reception: Reception, now: float) -> bool:
        """
        Return whether the LOCATION's host has to be searched for, because the claim was announced by another address of
        the link. A reply raises or confirms the standing of the claim.
        """
        if not is_link_local_announcement(reception, self.host):
            return False
        self.neighbours = self.neighbours or Neighbours()
        return self.neighbours.take_search(now)

    def _is_neighbour(self, reception: Reception) -> bool:
        """Return whether the sender may be a neighbour address of this claim, which its host has proved."""
        return (
            self.standing is not Standing.INDIRECT
            and is_link_local_announcement(reception, self.host)
            and reception.interface == self.interface
        )

    def _renew_by_neighbour(self, advertisement: Advertisement, reception: Reception, now: float) -> None:
        """Prolong the claim. Without a proof for a long time, it becomes an indirect claim of the sender."""
        neighbours = self.neighbours
        if neighbours is None:
            neighbours = self.neighbours = Neighbours()
            neighbours.prove(self.received_at)
        if neighbours.is_proved(now):
            neighbours.add(reception.sender)
        else:
            self.standing, self.answers, neighbours.addresses = Standing.INDIRECT, False, ()
            self.sender = reception.sender
        self.superseded = False
        self._receive(advertisement, Standing.INDIRECT, reception, now)

    def end(self) -> None:
        """End the claim at once."""
        self.lifetime = -math.inf

    def _count_reception(self, standing: Standing) -> None:
        """Count a reception that is no copy of the one before."""
        self.previous_at = self.received_at
        if standing is not Standing.INDIRECT and self.announcements < _ENOUGH_ANNOUNCEMENTS:
            self.announcements += 1

    def miss_search(self) -> None:
        """Record that the LOCATION's host did not reply to the searches of a contest."""
        self.answers = False
        if self.standing is Standing.CONFIRMED:
            self.standing = Standing.DIRECT

    def silence(self, now: float) -> float:
        """Return the seconds since the latest reception."""
        return now - self.received_at

    @property
    def expected_silence(self) -> float:
        """Seconds within which a device repeats its announcement, even if it announces as rarely as permitted."""
        return min(self.advertisement.max_age, _MAX_INDIRECT_LIFETIME)

    def _receive(self, advertisement: Advertisement, standing: Standing, reception: Reception, now: float) -> None:
        if reception.interface != self.interface:
            if self.interface:
                others = tuple(each for each in self.other_interfaces if each != self.interface)
                self.other_interfaces = (*others[1 - _MAX_OTHER_INTERFACES :], self.interface)
            self.interface = reception.interface
        if self.rare is not None and standing is not Standing.INDIRECT and self.neighbours is not None:
            self.neighbours.prove(now)
        # At first it is received by an announcement, and only later by a reply, which would show that it answers.
        if self._adopted_at is not None and now - self._adopted_at > _ADOPTION:
            self._adopted_at = None
        if now - self.received_at > _COPIES:
            self._count_reception(standing)
        self.received_at = now
        if standing > self.standing:
            self.standing = standing
        if standing and reception.is_reply:
            self.answers = True
            self.replied_at = now
        if advertisement is not self.advertisement or self.rare is not None:
            self.max_age = advertisement.max_age
        lifetime = advertisement.lifetime
        self.lifetime = lifetime if self.standing else min(lifetime, _MAX_INDIRECT_LIFETIME)
