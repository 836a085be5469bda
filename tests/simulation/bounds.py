"""Bounds of the invariants. Seconds unless stated otherwise."""

from __future__ import annotations

#: A service that the registry knows is in Consul with the same address, and one that left is not: while Consul works.
CATALOG = 5.0
#: Additional time while Consul is slow, and an attacker causes many changes.
BUSY = 5.0
#: The same in catalog mode, where each response takes at most 0.5 s.
BUSY_IN_CATALOG = 5.0
#: The same, if more than half of all services leave within a minute: a second comparison has to confirm that.
GUARD = 100.0
#: The same as :data:`CATALOG`, after the end of a fault of Consul or of the daemon: the longest pause between two
#: attempts is 30 s, and a request may take 10 s.
RECOVERY = 60.0
#: A service is in Consul after the daemon received a message of its device.
HEARD = 5.0
#: Time after the start in which adopted services give way to no others, when the table is full.
ADOPTION = 90.0
#: A service is at its new address after the daemon received a message from there: two search rounds, and the budget for
#: moves. The same holds for the first message of a device after an attack on it.
MOVED = 65.0
#: The same for the home of a service, after its first message, while an attacker answers searches for the service.
HOME_IN_ATTACK = MOVED + 10.0
#: After an attacker that answered searches, the device has to be received twice: there is a search every 300 s.
SECOND_MESSAGE = 310.0
#: Three search intervals: hardly ever are all replies of a device lost.
THREE_SEARCHES = 900.0
#: A device that answers searches is in Consul after the next search, if no datagram of that was lost.
NEXT_SEARCH = 315.0
#: The same after the end of a fault of the network: the daemon notices it within 10 s, and searches at once.
NEXT_SEARCH_AFTER_FAULT = 30.0
#: A service whose device sends nothing that the daemon receives, although it is switched on: six search intervals.
UNHEARD = 1860.0
#: A device that never answers searches takes over from another claim when that has been silent for its max-age, at most
#: for this long.
SILENT_CLAIM = 1800.0
#: A byebye that the daemon received takes effect: 2 s for the reply that would void it, 5 s if the search for that
#: reply waits for the budget, and :data:`CATALOG`.
BYEBYE = 5.0 + CATALOG
#: Seconds without a change of the device, or a fault, after which a forged byebye must be voided by its reply.
VOIDED = 20.0
#: A service leaves at the end of its lifetime: two search rounds if most services expire at once.
EXPIRED = 12.0 + CATALOG
#: The same after the end of an interruption of the reception: the devices are searched for first, which takes 15 s. An
#: expiry that is held is examined every 30 s.
HELD = 45.0
#: Seconds after which a second comparison can confirm a removal of more than half of all services, and of more than so
#: many.
SECOND_LOOK = 19.0
FEW = 5
#: A service leaves that no search term matches any more.
UNCONFIGURED = 10.0 + GUARD

#: Exchanges with a device that answers searches that have to fail because of losses before its service expires: there
#: are up to five searches, and those of every 300 s. After an interruption of the reception there are fewer.
FAILED_EXCHANGES = 3
FAILED_EXCHANGES_AFTER_INTERRUPTION = 2
#: The TTL check of the daemon is passed every 10 s.
OWN_CHECK = 35.0
#: Services are in Consul after the token was replaced or got more rights.
NEW_TOKEN = 15.0

#: A device that has been switched on for so long is not deregistered while its announcements are valid.
STARTED = 6.0
#: Probability of loss above which a device that answers can be removed because all its messages were lost.
HIGH_LOSS = 0.1

#: Requests a minute, besides those for changes: keep-alives, comparisons and retries.
REQUESTS = 60
#: Requests a minute while Consul serves none.
REQUESTS_IN_OUTAGE = 30
#: Requests for each change of a service.
REQUESTS_PER_CHANGE = 4
#: Writes to the raft log a minute besides those for changes, and for each change.
WRITES = 4
WRITES_PER_CHANGE = 3
#: Log lines a minute: 60 that unsolicited datagrams cause, changes included, and those about faults.
LINES = 60 + 40
#: Further lines after a restart, and while two daemons run: each process has another budget.
LINES_OF_OTHER = 60
#: Registrations a minute that are equal to what Consul has. After a timeout, the daemon does not know the outcome.
NEEDLESS = 20
#: Searches a minute on one interface: one a second on average and a burst of 32 are the budget of datagrams. The daemon
#: searches for all search terms by itself, at most every 5.5 s.
SEARCHES = 92 + 48
#: Seconds until the daemon searches because a receive buffer had no space, and before that in which a search suffices.
SEARCH_AFTER_OVERFLOW = 8.0
#: Searches on one interface at the same moment: those for several search terms are spaced.
SEARCHES_AT_ONCE = 3
#: Seconds for which the socket of a search is open at most: it is used for 3 s, and replies are received for 3.5 s.
SOCKET = 7
#: Changes of one service in Consul that the daemon makes in ten minutes.
CHANGES_OF_SERVICE = 25
#: Moves of a device in Consul in an hour, while it does not move and is not attacked.
FLAPS = 4
#: Entries in memory for each service in the table, and besides.
ENTRIES_PER_SERVICE = 30
ENTRIES = 6_000
#: Entries in memory for each byebye that the table keeps, and their number.
ENTRIES_PER_BYEBYE = 5
BYEBYES = 1_024
#: Services that the reconciler may keep although they are neither live nor in Consul: those of one plan.
REMEMBERED = 300
#: Seconds for which a device holds its service longer than every other host, so that it is certainly the home.
HOME = 660.0
HOME_MARGIN = 60.0
HOME_TIME = HOME + HOME_MARGIN + 60.0
#: Requests a minute in quiet times, and writes that are not the end of a service.
QUIET_REQUESTS = 20
QUIET_WRITES = 0
#: The same for three daemons in catalog mode, each with its lock and reaper.
QUIET_CATALOG_REQUESTS = 250

#: Every bound with its meaning, as the command prints it.
TABLE = (
    ("in Consul after a message of the device", HEARD),
    ("Consul equal to the registry", CATALOG),
    ("the same after a fault of Consul or of the daemon", RECOVERY),
    ("at the new address after a message", MOVED),
    ("at the true address after an attack and a message", MOVED + SECOND_MESSAGE),
    ("in Consul after the next search", NEXT_SEARCH),
    ("in Consul although no message is received", UNHEARD),
    ("out of Consul after byebye", BYEBYE),
    ("out of Consul after the lifetime", EXPIRED),
)


def entries(services: int, byebyes: int) -> int:
    """Return the largest number of entries in memory for services and byebyes."""
    return ENTRIES + ENTRIES_PER_SERVICE * services + ENTRIES_PER_BYEBYE * byebyes
