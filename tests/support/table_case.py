"""
A table of live services and the world around it, for tests.

T is the true device at 10.0.0.5, E an attacker at 10.0.0.66. A case consists of the host that holds the service
(incumbent), the host that claims it or sends a byebye, the hosts that reply to searches, and the host that wins.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.events import Event, SearchNeeded
from ssdpreg.discovery.location import Endpoint
from ssdpreg.discovery.search_terms import SearchTerm
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.ssdp.reception import Channel, Reception

URN = "urn:schemas-upnp-org:service:api:2.0"
OTHER_URN = "urn:schemas-upnp-org:service:lldp:0.1"


def advertisement(
    host: str = "10.0.0.5", max_age: int = 1800, device_id: str = "D", urn: str = URN, server: str = "", port: int = 80
) -> Advertisement:
    """Return an advertisement of a service at a host."""
    return Advertisement.make(
        device_id=device_id,
        urn=urn,
        term=SearchTerm(urn, "RackHD"),
        nt=urn,
        usn=f"uuid:{device_id}::{urn}",
        location=f"http://{host}:{port}/",
        endpoint=Endpoint("http", host, port),
        max_age=max_age,
        server=server,
    )


T, E = "10.0.0.5", "10.0.0.66"
TRUE, FORGED = advertisement(T), advertisement(E, max_age=86400)


class TableTestCase(SynchronousTestCase):
    """
    A table, and a clock that lets it decide whenever a decision is due.

    :ivar searched: Searches that the table needed, as ``(seconds since the test began, hosts)``.
    :ivar repliers: Advertisements that their hosts send half a second after each search, by host. A host that is
        searched by unicast replies to that search, any other host to the search of the group.
    :ivar searching: Whether searches are sent at once, or not at all.
    """

    start = 1000.0

    def setUp(self) -> None:
        self.table = AdvertisementTable()
        self.now = self.start
        self.searched: list[tuple[float, tuple[str, ...]]] = []
        self.searching = True
        self.repliers: dict[str, Advertisement] = {}
        self._replies: list[tuple[float, str, Channel]] = []

    def reply(self, *advertisements: Advertisement) -> None:
        """Let the hosts of some advertisements reply to all further searches."""
        self.repliers.update({each.endpoint.host: each for each in advertisements})

    def receive(
        self,
        advertisement: Advertisement,
        sender: str = "",
        *,
        channel: Channel = Channel.GROUP,
        on_link: bool = True,
        interface: str = "eth0",
    ) -> list[Event]:
        """Receive an advertisement, from its own host unless another sender is given."""
        reception = Reception(sender or advertisement.endpoint.host, interface, channel, on_link)
        return self._note(self.table.observe(advertisement, reception, self.now))

    def bye(self, sender: str = "10.0.0.5", device_id: str = "D", urn: str | None = URN) -> list[Event]:
        """Receive a byebye."""
        return self._note(self.table.bye(device_id, urn, sender, self.now))

    def wait(self, seconds: float) -> list[tuple[float, Event]]:
        """Let time pass. Return the events, searches excepted, with the seconds after which each happened."""
        begin, end = self.now, self.now + seconds
        events: list[tuple[float, Event]] = []
        while (when := min(self.table.next_due, self._replies[0][0] if self._replies else end + 1)) <= end:
            self.now = max(self.now, when)
            happened = self._note(self.table.expire(self.now))
            while self._replies and self._replies[0][0] <= self.now:
                _, host, channel = self._replies.pop(0)
                if host in self.repliers:
                    happened += self.receive(self.repliers[host], channel=channel)
            events += [(round(self.now - begin, 6), event) for event in happened]
        self.now = end
        return events

    def hosts(self) -> list[str]:
        """Return the hosts of the live services."""
        return sorted(live.advertisement.endpoint.host for live in self.table)

    def _note(self, events: list[Event]) -> list[Event]:
        for event in events:
            if isinstance(event, SearchNeeded):
                self.searched.append((round(self.now - self.start, 6), event.hosts))
                if self.searching:
                    self.table.search_sent(event.advertisement.search_target, self.now)
                for host in self.repliers:
                    channel = Channel.HOST if host in event.hosts else Channel.SEARCH
                    self._replies.append((self.now + 0.5, host, channel))
        self._replies.sort(key=lambda reply: reply[0])
        return [event for event in events if not isinstance(event, SearchNeeded)]
