"""Tests for :mod:`ssdpreg.discovery.table` with devices that use IPv6, or several addresses."""

from __future__ import annotations

from dataclasses import replace

from ssdpreg.discovery.events import Appeared, Changed, Event, Left, SearchNeeded, SearchUrgency
from ssdpreg.discovery.standing import Standing
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.ssdp.reception import Channel, Reception
from tests.support.table_case import URN, TableTestCase, advertisement

GLOBAL = "2001:db8::5"
#: The same device's link-local address, as the daemon receives its announcements.
LINK = "fe80::5%eth0"
#: Another host of the link.
OTHER = "fe80::66%eth0"


def at(host: str, max_age: int = 1800, **facts: object) -> object:
    """Return an advertisement with some facts replaced."""
    return replace(advertisement(host, max_age), **facts)  # type: ignore[arg-type]


class NeighbourTests(TableTestCase):
    """Tests for devices that announce a global address from their link-local one."""

    def setUp(self) -> None:
        super().setUp()
        self.device = advertisement(GLOBAL)

    def standing(self) -> Standing:
        """Return the standing of the only service."""
        [live] = self.table
        return live.standing

    def test_proof(self) -> None:
        """The host of the LOCATION is searched for at once, and its reply confirms the claim."""
        self.reply(self.device)
        self.assertEqual(self.receive(self.device, LINK), [Appeared(self.device, Standing.INDIRECT)])
        self.assertEqual(self.searched, [(0.0, (GLOBAL,))])
        self.assertEqual(self.wait(1), [(0.5, Changed(self.device, Standing.CONFIRMED))])

    def test_search_of_a_proof(self) -> None:
        """The service does not wait for the search, which is less urgent than those for a claim."""
        search = SearchNeeded(self.device, 3.0, (GLOBAL,), urgency=SearchUrgency.UNFOUNDED, is_tracked=False)
        events = self.table.observe(self.device, Reception(LINK, "eth0"), self.now)
        self.assertEqual(events, [Appeared(self.device, Standing.INDIRECT), search])

    def test_repeated_proof(self) -> None:
        """A device whose reply was lost is searched for again, later each time, when it announces itself."""
        self.receive(self.device, LINK)
        for _ in range(40):
            self.wait(300)
            self.receive(self.device, LINK)
        times = [time for time, _ in self.searched]
        self.assertEqual(times, [0.0, 300.0, 600.0, 900.0, 1500.0, 2700.0, 4800.0, 8700.0])
        self.assertEqual(self.standing(), Standing.INDIRECT)

    def test_no_proof(self) -> None:
        """Other indirect claims cause no search: of another host over IPv4, and of a host name."""
        for device_id, host, sender in (("A", "10.0.0.5", "10.0.0.6"), ("B", "name.example", LINK)):
            self.receive(advertisement(host, device_id=device_id), sender)
        self.assertEqual(self.searched, [])

    def test_standing_that_is_lost(self) -> None:
        """With trust ``direct``, a service ends that only a neighbour address has announced for three hours."""
        self.table = AdvertisementTable(trust=Standing.DIRECT)
        self.receive(self.device)
        ended: list[Event] = []
        announcements = 0
        while not ended and announcements < 100:
            self.receive(self.device, LINK)
            announcements += 1
            ended = [event for _, event in self.wait(600)]
        self.assertEqual((ended, announcements), ([Left(self.device, "expired")], 20))

    def prove(self) -> None:
        """Let the device announce itself and reply."""
        self.reply(self.device)
        self.receive(self.device, LINK)
        self.wait(1)
        self.searched.clear()

    def test_announcements_prolong(self) -> None:
        """After the proof, announcements of the link-local address prolong the claim, with a search each hour."""
        self.prove()
        for _ in range(24):
            self.assertEqual(self.wait(900), [])
            self.receive(self.device, LINK)
        self.assertEqual([hosts for _, hosts in self.searched], [(GLOBAL,)] * 5)
        self.assertEqual(self.standing(), Standing.CONFIRMED)

    def test_silent_host(self) -> None:
        """Without a proof for three hours, the claim is an indirect one of the announcing address again."""
        self.prove()
        self.repliers.clear()
        for _ in range(16):
            self.assertEqual(self.wait(900), [])
            self.receive(self.device, LINK)
        self.assertEqual(self.standing(), Standing.INDIRECT)
        self.bye(LINK)
        self.assertEqual(self.wait(10), [(2.0, Left(self.device, "byebye"))])

    def test_silent_host_with_trust(self) -> None:
        """If indirect claims are not registered, the service leaves then."""
        self.table = AdvertisementTable(trust=Standing.DIRECT)
        self.prove()
        self.repliers.clear()
        events = []
        for _ in range(14):
            events += [event for _, event in self.wait(900)]
            self.receive(self.device, LINK)
        self.assertEqual(events, [Left(self.device, "expired")])

    def test_byebye(self) -> None:
        """A byebye of the link-local address ends the service if its host does not reply to the search."""
        self.prove()
        self.repliers.clear()
        self.bye(LINK)
        self.assertEqual(self.searched, [(1.0, (GLOBAL,))])
        self.assertEqual(self.wait(10), [(2.0, Left(self.device, "byebye"))])

    def test_forged_byebye(self) -> None:
        """A host of the link that announced the service, too, cannot end it while the device replies."""
        self.prove()
        self.receive(self.device, OTHER)
        self.bye(OTHER)
        self.assertEqual(self.wait(10), [])
        self.assertEqual(self.hosts(), [GLOBAL])

    def test_byebye_of_an_unknown_address(self) -> None:
        """A byebye of an address that has not announced the service ends nothing."""
        self.prove()
        self.repliers.clear()
        self.bye(OTHER)
        self.assertEqual(self.wait(10), [])

    def test_byebye_for_a_device_that_never_replies(self) -> None:
        """A byebye of another address of the link ends nothing if the device has never replied."""
        self.receive(self.device)
        self.receive(self.device, OTHER)
        self.bye(OTHER)
        self.assertEqual(self.wait(10), [])

    def test_byebye_of_the_global_address(self) -> None:
        """A byebye of the global address ends what the link-local one announced."""
        self.prove()
        self.receive(self.device, LINK)
        self.repliers.clear()
        self.bye(GLOBAL)
        self.assertEqual(self.wait(10), [(2.0, Left(self.device, "byebye"))])

    def test_new_address(self) -> None:
        """A device with a new prefix has its service at the new address after a contest."""
        self.prove()
        self.repliers.clear()
        moved = advertisement("2001:db9::5")
        self.reply(moved)
        self.receive(moved, LINK)
        [(when, event)] = self.wait(10)
        self.assertEqual(event, Changed(moved, Standing.CONFIRMED))
        self.assertLessEqual(when, 6.0)

    def test_repetitions_are_no_shortcut(self) -> None:
        """A repeated announcement of a claim that may need a proof is not processed by the shortcut for others."""
        self.receive(self.device, LINK)
        [service] = self.table._services
        self.assertIsNone(service.claim.latest)
        self.prove()
        for sender in (LINK, GLOBAL):
            self.receive(self.device, sender)
            self.assertIsNone(service.claim.latest)

    def test_number_of_addresses(self) -> None:
        """The number of neighbour addresses of a claim is limited."""
        self.prove()
        for number in range(100):
            self.receive(self.device, f"fe80::{number:x}%eth0")
        [service] = self.table._services
        assert service.claim.neighbours is not None
        self.assertEqual(service.claim.neighbours.addresses, ("fe80::62%eth0", "fe80::63%eth0"))


class SeveralAddressesTests(TableTestCase):
    """Tests for devices with addresses of both families, which announce all of them."""

    def announce(self, *announcements: tuple[object, str], hours: int = 4) -> list[object]:
        """Let a device send some announcements every 15 minutes. Return the events after the first half hour."""
        events: list[object] = []
        for number in range(4 * hours):
            for each, sender in announcements:
                self.receive(each, sender)  # type: ignore[arg-type]
            events += [event for _, event in self.wait(900) if number > 2]
            if number == 2:
                self.searched.clear()
                contests = self.table.contests
        self.assertEqual(self.table.contests, contests)
        return events

    def test_both_families(self) -> None:
        """A service at an IPv4 and a global IPv6 address stays at the first, and causes no contests."""
        for replies in (True, False):
            for first in (True, False):
                self.setUp()
                four, six = (advertisement("10.0.0.5"), "10.0.0.5"), (advertisement(GLOBAL), LINK)
                if replies:
                    self.reply(four[0], six[0])
                self.assertEqual(self.announce(*((four, six) if first else (six, four))), [])
                self.assertEqual(len(self.hosts()), 1)
                # A claim that no host proves has a lower standing than one that its own host sends.
                self.assertEqual(self.hosts(), ["10.0.0.5" if first or not replies else GLOBAL])

    def test_same_boot_id(self) -> None:
        """
        A higher standing of another address is no reason for a contest if both announce the same BOOTID.

        It is one for another BOOTID, and without any.
        """
        for four_boot, six_boot, contests in (("7", "7", 1), ("7", "8", 2), ("", "", 2)):
            self.setUp()
            four, six = at("10.0.0.5", boot_id=four_boot), at(GLOBAL, boot_id=six_boot)
            self.receive(four)  # type: ignore[arg-type]
            self.receive(six, LINK)  # type: ignore[arg-type]
            self.wait(60)
            self.receive(four)  # type: ignore[arg-type]
            self.receive(six, channel=Channel.HOST)  # type: ignore[arg-type]
            self.assertEqual((self.hosts(), self.table.contests), (["10.0.0.5"], contests))

    def test_link_local_gives_way(self) -> None:
        """A service at a link-local address moves to an IPv4 or a global address that the device announces, too."""
        for host in ("10.0.0.5", GLOBAL):
            self.setUp()
            self.receive(advertisement(LINK))
            self.assertEqual(self.receive(advertisement(host)), [Changed(advertisement(host), Standing.DIRECT)])
            self.assertEqual(self.announce((advertisement(LINK), LINK), (advertisement(host), host)), [])
            self.assertEqual(self.hosts(), [host])

    def test_ten_minutes_of_preference(self) -> None:
        """A link-local address gives way at once within ten minutes after the service appeared."""
        for seconds, host in ((599.5, "10.0.0.5"), (600.0, LINK)):
            self.setUp()
            self.receive(advertisement(LINK))
            self.wait(seconds)
            self.receive(advertisement("10.0.0.5"))
            self.assertEqual(self.hosts(), [host])

    def test_link_local_does_not_give_way_later(self) -> None:
        """A service that has been at a link-local address for long is decided about by a search, as any other."""
        self.reply(advertisement(LINK))
        self.receive(advertisement(LINK))
        self.wait(700)
        self.receive(advertisement("10.0.0.66"))
        self.assertEqual(self.wait(10), [])
        self.assertEqual(self.hosts(), [LINK])

    def test_other_address_takes_over(self) -> None:
        """When the IPv4 address is no longer announced, the service moves to the IPv6 address."""
        four, six = advertisement("10.0.0.5"), advertisement(GLOBAL)
        self.reply(six)
        for _ in range(2):
            self.receive(four)
            self.receive(six, LINK)
            self.wait(900)
        for _ in range(3):
            self.receive(six, LINK)
            self.wait(900)
        self.assertEqual(self.hosts(), [GLOBAL])


class InterfaceTests(TableTestCase):
    """Tests for services on several interfaces."""

    def test_same_private_address(self) -> None:
        """A byebye of a host with the same address on another network ends nothing."""
        self.receive(advertisement(), interface="eth0")
        self.assertEqual(self.table.bye("D", URN, "10.0.0.5", self.now, "eth1"), self.contest())
        self.assertEqual(self.wait(20), [])
        self._note(self.table.bye("D", URN, "10.0.0.5", self.now, "eth0"))
        self.assertEqual(self.wait(20), [(2.0, Left(advertisement(), "byebye"))])

    def contest(self) -> list[Event]:
        """Return the search that a byebye without a claim causes."""
        return [SearchNeeded(advertisement(), 3.0, ("10.0.0.5",), urgency=SearchUrgency.UNFOUNDED)]

    def test_two_interfaces_on_one_network(self) -> None:
        """A device that is received on two interfaces is one service, and a byebye on either ends it."""
        self.receive(advertisement(), interface="eth0")
        for _ in range(3):
            for interface in ("eth0", "eth1"):
                self.assertEqual(self.receive(advertisement(), interface=interface), [])
            self.wait(600)
        self.assertEqual((self.hosts(), self.table.contests, self.searched), (["10.0.0.5"], 0, []))
        self._note(self.table.bye("D", URN, "10.0.0.5", self.now, "eth1"))
        self._note(self.table.bye("D", URN, "10.0.0.5", self.now, "eth0"))
        self.assertEqual(self.wait(20), [(2.0, Left(advertisement(), "byebye"))])

    def test_number_of_interfaces(self) -> None:
        """The number of interfaces that are kept for a claim is limited."""
        for number in range(100):
            self.receive(advertisement(), interface=f"eth{number}")
        [service] = self.table._services
        self.assertEqual(service.claim.other_interfaces, ("eth95", "eth96", "eth97", "eth98"))


class BootIDTests(TableTestCase):
    """Tests for BOOTID, ``ssdp:update`` and SEARCHPORT."""

    def test_restart(self) -> None:
        """Another BOOTID means a restart: the facts of the device are replaced, and the service stays."""
        before, after = at("10.0.0.5", boot_id="1", server="old"), at("10.0.0.5", boot_id="2", server="new")
        self.receive(before)  # type: ignore[arg-type]
        self.wait(60)
        self.assertEqual(self.receive(after), [Changed(after, Standing.DIRECT)])  # type: ignore[arg-type]
        self.assertEqual(self.receive(after), [])  # type: ignore[arg-type]

    def test_restarts_have_a_pause(self) -> None:
        """A sender that changes its BOOTID with each datagram changes the facts every 10 s at most."""
        changes = 0
        for number in range(100):
            each = at("10.0.0.5", boot_id=str(number), server=str(number))
            changes += sum(isinstance(event, Changed) for event in self.receive(each))  # type: ignore[arg-type]
            self.wait(1)
        self.assertLessEqual(changes, 10)
        self.assertGreaterEqual(changes, 9)

    def test_length_of_the_pause(self) -> None:
        """A restart 10 s after the one before changes the facts. An earlier one does not."""
        for seconds, changes in ((9.5, 0), (10.0, 1)):
            self.setUp()
            for number in range(2):
                self.receive(at("10.0.0.5", boot_id=f"{number}", server=f"{number}"))  # type: ignore[arg-type]
            self.wait(seconds)
            restarted = at("10.0.0.5", boot_id="2", server="2")
            self.assertEqual(len(self.receive(restarted)), changes)  # type: ignore[arg-type]

    def test_restart_in_the_pause(self) -> None:
        """A second restart in the pause is processed at the first announcement after it, also at a repetition."""
        self.receive(at("10.0.0.5", boot_id="1"))  # type: ignore[arg-type]
        self.receive(at("10.0.0.5", boot_id="2"))  # type: ignore[arg-type]
        last = at("10.0.0.5", boot_id="3", server="last")
        self.wait(9)
        self.assertEqual(self.receive(last), [])  # type: ignore[arg-type]
        [service] = self.table._services
        self.assertIsNone(service.claim.latest)
        self.wait(1)
        self.assertEqual(self.receive(last), [Changed(last, Standing.DIRECT)])  # type: ignore[arg-type]
        self.assertIs(service.claim.latest, last)

    def test_another_description(self) -> None:
        """Another BOOTID or CONFIGID is reported, although the registration is the same. A missing one is not."""
        edition: tuple[str, int | None] = ("", None)
        for boot_id, config_id, changed in (
            ("1", None, False),
            ("", None, False),
            ("1", 5, True),
            ("", None, False),
            ("1", 6, True),
            ("2", 6, True),
            ("2", 6, False),
        ):
            events = self.receive(at("10.0.0.5", boot_id=boot_id, config_id=config_id))  # type: ignore[arg-type]
            self.assertEqual([type(event) for event in events if not isinstance(event, Appeared)], [Changed] * changed)
            [service] = self.table
            edition = (boot_id or edition[0], edition[1] if config_id is None else config_id)
            self.assertEqual((service.advertisement.boot_id, service.advertisement.config_id), edition)
            self.wait(11)

    def test_restart_after_a_message_without_boot_id(self) -> None:
        """A reply without a BOOTID between two announcements does not hide a restart."""
        after = at("10.0.0.5", boot_id="2", server="new")
        for each in (at("10.0.0.5", boot_id="1", server="old"), at("10.0.0.5", server="old")):
            self.receive(each)  # type: ignore[arg-type]
            self.wait(60)
        self.assertEqual(self.receive(after), [Changed(after, Standing.DIRECT)])  # type: ignore[arg-type]

    def test_first_boot_id(self) -> None:
        """The first BOOTID of a device is no restart, so that the next one, a moment later, is processed."""
        after = at("10.0.0.5", boot_id="2", server="new")
        for each in (at("10.0.0.5", server="old"), at("10.0.0.5", boot_id="1", server="old")):
            self.receive(each)  # type: ignore[arg-type]
            self.wait(1)
        self.assertEqual(self.receive(after), [Changed(after, Standing.DIRECT)])  # type: ignore[arg-type]

    def test_description_in_the_pause(self) -> None:
        """Another CONFIGID in the pause after a restart is reported after it."""
        changes = []
        for boot_id, config_id, seconds in (("1", 1, 1), ("2", 1, 5), ("2", 2, 5), ("2", 2, 1)):
            events = self.receive(at("10.0.0.5", boot_id=boot_id, config_id=config_id))  # type: ignore[arg-type]
            changes.append(len(events))
            self.wait(seconds)
        self.assertEqual(changes, [1, 1, 0, 1])

    def test_byebye_before_a_restart(self) -> None:
        """A device that sends byebye, and then announces another BOOTID, is reported."""
        self.receive(at("10.0.0.5", boot_id="1"))  # type: ignore[arg-type]
        self.bye()
        [event] = self.receive(at("10.0.0.5", boot_id="2"))  # type: ignore[arg-type]
        self.assertIsInstance(event, Changed)

    def test_neighbour_address(self) -> None:
        """A device that announces its global address from its link-local one restarts, too."""
        self.receive(at(GLOBAL, boot_id="1"), GLOBAL)  # type: ignore[arg-type]
        self.receive(at(GLOBAL, boot_id="1"), LINK)  # type: ignore[arg-type]
        events = self.receive(at(GLOBAL, boot_id="2"), LINK)  # type: ignore[arg-type]
        self.assertEqual([type(event) for event in events], [Changed])

    def test_other_sender(self) -> None:
        """A BOOTID from a sender that does not own the claim changes nothing."""
        self.receive(at("10.0.0.5", boot_id="1"))  # type: ignore[arg-type]
        forged = at("10.0.0.5", boot_id="2", server="forged")
        self.assertEqual(self.receive(forged, "10.0.0.66"), [])  # type: ignore[arg-type]

    def test_update(self) -> None:
        """After an update of the owner, the announcement with the next BOOTID is no restart."""
        self.receive(at("10.0.0.5", boot_id="1", server="old"))  # type: ignore[arg-type]
        self.table.change_boot_id("d", "1", "2", "10.0.0.66")
        self.table.change_boot_id("d", "7", "8", "10.0.0.5")
        [service] = self.table._services
        self.assertEqual(service.claim.boot_id, "1")
        self.table.change_boot_id("d", "1", "2", "10.0.0.5")
        self.table.change_boot_id("unknown", "1", "2", "10.0.0.5")
        self.wait(20)
        following = at("10.0.0.5", boot_id="2", server="new")
        self.assertEqual(self.receive(following), [])  # type: ignore[arg-type]

    def test_update_after_a_restart(self) -> None:
        """So it is after an update of a device that has restarted before."""
        for boot_id in ("1", "2"):
            self.receive(at("10.0.0.5", boot_id=boot_id, server="old"))  # type: ignore[arg-type]
            self.wait(20)
        self.table.change_boot_id("D", "2", "3", "10.0.0.5")
        self.assertEqual(self.receive(at("10.0.0.5", boot_id="3", server="new")), [])  # type: ignore[arg-type]

    def test_update_prolongs_nothing(self) -> None:
        """An update does not prolong the lifetime of a service."""
        self.receive(at("10.0.0.5", 100, boot_id="1"))  # type: ignore[arg-type]
        self.wait(60)
        self.table.change_boot_id("D", "1", "2", "10.0.0.5")
        self.assertEqual([when for when, _ in self.wait(100)], [50.0])

    def test_search_port(self) -> None:
        """A device is searched for at its own port, if it named the port itself."""
        self.receive(at("10.0.0.5", 100, search_port=50000))  # type: ignore[arg-type]
        self.wait(90)
        self.assertEqual(self.searched[0], (80.0, ("10.0.0.5:50000",)))
        self.searched.clear()
        self.table = AdvertisementTable()
        self.receive(at("10.0.0.5", 100, search_port=50000), "10.0.0.66")  # type: ignore[arg-type]
        self.wait(90)
        self.assertEqual([hosts for _, hosts in self.searched], [("10.0.0.5",)])
