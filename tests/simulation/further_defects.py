"""Further defects that the simulation notices: one changed line each, in all packages of the daemon."""

from __future__ import annotations

from tests.simulation.defect_list import Defect, Edit

_INTERPRET = "discovery/interpret.py"
_DIFFERENCES = "registration/differences.py"
_REGISTRY = "registry/service.py"
_RECEPTION = "registry/reception.py"
_SEARCH_ROUNDS = "ssdp/search_rounds.py"
_APPLICATION = "reconciler/application.py"
_AVAILABILITY = "reconciler/availability.py"
_COMPARISON = "reconciler/comparison.py"
_AGENT = "backends/consul_agent.py"
_FORMAT = "backends/consul_format.py"


def _change(name: str, what: str, file: str, old: str, new: str, mode: str = "agent") -> Defect:
    """Return a defect of one replacement."""
    return Defect(name, what, (Edit(file, old, new),), mode)


#: Meaning of messages, and the table of services.
_TABLE = (
    _change(
        "byebye-ends-device",
        "a byebye of one service ends all services of its device",
        _INTERPRET,
        "Departure(device_id(message.usn), term.identity(nt))",
        "Departure(device_id(message.usn), None)",
    ),
    _change(
        "byebye-of-device-ignored",
        "a byebye of the root device, or of the UUID, has no effect",
        _INTERPRET,
        "means_whole_device(nt):\n            return Departure(device_id(message.usn), None)",
        "means_whole_device(nt):\n            return None",
    ),
    _change(
        "no-max-age-is-a-minute",
        "an announcement without max-age is valid for a minute",
        "discovery/advertisement.py",
        "DEFAULT_MAX_AGE = 1800",
        "DEFAULT_MAX_AGE = 60",
    ),
    _change(
        "expiry-at-twice-max-age",
        "services expire at twice max-age",
        "discovery/advertisement.py",
        "    return max_age + min(",
        "    return 2 * max_age + min(",
    ),
    _change(
        "loopback-accepted",
        "a LOCATION at a loopback or multicast address is registered",
        "discovery/location.py",
        "            check_address(host, parse_sender(sender), self._broadcasts())\n",
        "",
    ),
    _change(
        "broadcast-accepted",
        "a LOCATION at the directed broadcast address of the network is registered",
        "discovery/location.py",
        "            and text not in self._broadcasts()\n",
        "",
    ),
    _change(
        "checks-of-indirect-claims",
        "Consul's health checks are aimed at any host that a sender names",
        "registration/rules.py",
        "is_direct = standing is not Standing.INDIRECT",
        "is_direct = True",
    ),
    _change(
        "interruption-counts",
        "the time in which an interface was down counts for devices that never reply",
        _RECEPTION,
        "            self._table.add_interruption(self._down.pop(interface), now, interface)\n",
        "            del self._down[interface]\n",
    ),
    _change(
        "overflow-ignored",
        "lost datagrams of a full receive buffer cause no search",
        _RECEPTION,
        "            elif now - self._held_at.get(interface, -math.inf) >= _PAUSE:",
        "            elif False:",
    ),
    _change(
        "no-search-after-interruption",
        "nothing is searched for when an interface is up again",
        _RECEPTION,
        "            self._searched_at = now\n            self._search()\n",
        "            self._searched_at = now\n",
    ),
    _change(
        "adoption-left-out",
        "the registrations of an earlier run are not adopted",
        _REGISTRY,
        "                self._apply_events(self._table.adopt(advertisement, now, lifetime, standing))\n",
        "                pass\n",
    ),
)

#: Sockets and searches.
_NETWORK = (
    _change(
        "rounds-never-closed",
        "the sockets of searches are never closed",
        _SEARCH_ROUNDS,
        "            opened.closing = self._reactor.callLater(seconds, self._close, opened)\n        elif",
        "            return\n        if",
    ),
    _change(
        "no-spacing-of-searches",
        "all searches are sent at the same moment",
        "ssdp/search_scheduler.py",
        "            delay += SPACING * self._random.uniform(*_JITTER)\n",
        "",
    ),
    _change(
        "no-regular-search",
        "the daemon searches at its start only",
        _REGISTRY,
        "        if self._search_interval:",
        "        if False:",
    ),
    _change(
        "new-interface-not-searched",
        "nothing is searched for on a new interface",
        _REGISTRY,
        "        if opened:\n",
        "        if opened and False:\n",
    ),
)

#: Reconciliation.
_RECONCILIATION = (
    _change(
        "move-not-registered",
        "a service that is registered already is not registered again at its new address",
        _DIFFERENCES,
        "            self._queue.add(service_id, wanted.address, Urgency.CHANGE)",
        "            pass",
    ),
    _change(
        "port-not-compared",
        "a registration with another port counts as equal",
        _FORMAT,
        '        and service["Port"] == registration.port\n',
        "",
    ),
    _change(
        "tags-not-compared",
        "a registration with other tags counts as equal",
        _FORMAT,
        '        and tuple(service["Tags"] or ()) == registration.tags\n',
        "",
    ),
    _change(
        "meta-not-compared",
        "a registration with other Meta counts as equal",
        _FORMAT,
        '        and (service["Meta"] or {}) == registration.meta\n',
        "",
    ),
    _change(
        "checks-not-compared",
        "a registration without its checks counts as equal",
        _FORMAT,
        "    return len(check_ids) == len(checks) and all(check.check_id in check_ids for check in checks)",
        "    return True",
    ),
    Defect(
        "all-registered-again",
        "each comparison registers all services again",
        (
            Edit(
                _DIFFERENCES,
                "    return one is other or (one is not None and other is not None and one == other)",
                "    return one is other",
            ),
            Edit(_AGENT, "if known is None or not represents(entry, check_ids, known):", "if True:"),
            Edit("registration/plan.py", "if service_id not in actual or actual[service_id] != wanted", "if True"),
        ),
    ),
    _change(
        "rare-comparison",
        "the content of Consul is compared every five minutes",
        _COMPARISON,
        "COMPARE_INTERVAL = 30.0",
        "COMPARE_INTERVAL = 300.0",
    ),
    _change(
        "no-pause-after-error",
        "requests are repeated without a pause",
        _AVAILABILITY,
        "        return max(self._backoff.pause(), min(requested or 0.0, _LONGEST_RETRY_AFTER))",
        "        return 0.0",
    ),
    _change(
        "constant-pause",
        "the pause after an error does not grow",
        "timers.py",
        "self._shortest * 2.0 ** min(max(self.failures - 1, 0), 32)",
        "self._shortest",
    ),
    _change(
        "no-jitter",
        "the pauses after errors have no jitter",
        "timers.py",
        "return pause if self._random is None else pause * self._random.uniform(0.5, 1.0)",
        "return pause",
    ),
    _change(
        "unlimited-slices",
        "a plan has any number of changes",
        _APPLICATION,
        "self._differences.take(self._slice.count)",
        "self._differences.take(10**9)",
    ),
    _change(
        "line-for-each-change",
        "each change of an unsolicited service is logged",
        "registration/change_lines.py",
        "        if not self._waiting and self._budget.take_for_change(now):",
        "        if True:",
    ),
    _change(
        "removal-of-all",
        "an expiry of nearly all services is applied at once",
        "registration/guard.py",
        "if count > _HARMLESS and count > (total + recent) / 2:",
        "if False:",
    ),
    _change(
        "removed-by-prefix-and-source",
        "services of other scopes count as the daemon's own",
        _FORMAT,
        "    return bool(meta.get(META_SOURCE) == SOURCE and meta.get(META_SCOPE) == scope)",
        "    return bool(meta.get(META_SOURCE) == SOURCE)",
    ),
    _change(
        "any-id-is-own",
        "a service without the daemon's prefix counts as its own",
        _AGENT,
        "        elif service_id.startswith(ID_PREFIX):",
        "        else:",
    ),
    _change(
        "ended-daemon-not-noticed",
        "the end of a daemon with the same scope is not noticed",
        "backends/consul_own_service.py",
        "self._instance.has_ended(other) or not await self._is_passing()",
        "False",
    ),
)

#: Catalog mode.
_CATALOG = (
    _change(
        "fence-left-out",
        "transactions do not begin with check-session",
        "backends/catalog/transactions.py",
        "        pieces = [] if fence is None else [fence]\n",
        "        pieces = []\n",
        "catalog",
    ),
    _change(
        "lost-lock-not-noticed",
        "a daemon writes on after its lock was lost",
        "backends/scopes/lock_state.py",
        "        return self._acquired and self._boot_time() - self._renewed_at < SESSION_TTL",
        "        return self._acquired",
        "catalog",
    ),
    _change(
        "node-without-cas",
        "a node is written without a comparison of its index",
        "backends/catalog/format.py",
        'return {"Node": {"Verb": "cas", "Node": {**node',
        'return {"Node": {"Verb": "set", "Node": {**node',
        "catalog",
    ),
    _change(
        "foreign-services-deleted",
        "a node is deleted although another program has a service on it",
        "backends/catalog/writer.py",
        "        return not inspection.foreign",
        "        return True",
        "catalog",
    ),
    _change(
        "living-scope-reaped",
        "the reaper marks scopes whose daemons are alive",
        "backends/scopes/dead_scopes.py",
        "            if key.session:\n                continue\n",
        "",
        "catalog",
    ),
    _change(
        "dead-at-once",
        "the reaper marks a scope as soon as its lock is free",
        "backends/scopes/dead_scopes.py",
        "DEAD_AFTER = 60.0",
        "DEAD_AFTER = 0.0",
        "catalog",
    ),
    _change(
        "marks-stay",
        "a daemon that returns does not remove the marks",
        "backends/scopes/reaper.py",
        "            await self._remove_own_marks()\n",
        "",
        "catalog",
    ),
    _change(
        "session-not-renewed",
        "the session is renewed too late",
        "backends/scopes/lock.py",
        "_RENEW_INTERVAL = SESSION_TTL / 3",
        "_RENEW_INTERVAL = SESSION_TTL * 1.5",
        "catalog",
    ),
)

FURTHER_DEFECTS = (*_TABLE, *_NETWORK, *_RECONCILIATION, *_CATALOG)
