"""
Defects that are put into the daemon's code to show that the simulation notices them.

Each one is a real defect of an earlier version, or the removal of one rule. A defect is a set of replacements of text:
when the code changes so that a text is no longer found, ``test_defects`` fails, and the entry has to be adapted.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """
    Replacement of a text in a file of the package ``ssdpreg``.

    :ivar file: Path of the file in the package.
    :ivar old: Text that occurs once.
    :ivar new: Text in its place.
    """

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Defect:
    """
    A defect.

    :ivar name: Name for the command line.
    :ivar what: Wrong behaviour of the daemon.
    :ivar edits: Replacements that make it.
    :ivar mode: Mode of the backend in which it shows.
    """

    name: str
    what: str
    edits: tuple[Edit, ...]
    mode: str = "agent"


_ANNOUNCEMENTS = "discovery/announcements.py"
_CLAIMS = "discovery/claims.py"
_DECISION = "discovery/decision.py"
_DEPARTURES = "discovery/departures.py"
_DUE = "discovery/due.py"
_TRACKED = "discovery/tracked.py"
_SEARCH_ROUNDS = "ssdp/search_rounds.py"
_RECONCILER = "reconciler/service.py"
_APPLICATION = "reconciler/application.py"
_AVAILABILITY = "reconciler/availability.py"
_COMPARISON = "reconciler/comparison.py"
_KEEP_ALIVE = "reconciler/keep_alive.py"
_RECEPTION = "registry/reception.py"
_PENDING = "registration/pending.py"
_REJECTIONS = "registration/rejections.py"
_AGENT = "backends/consul_agent.py"
_FORMAT = "backends/consul_format.py"
_HTTP = "backends/consul_http.py"

_NO_MASS_CHECK = Edit(
    "discovery/holds.py", "        if now < self._next_mass_check:\n            return []", "        return []"
)
_NO_GUARD = Edit("registration/guard.py", "if count > _HARMLESS and count > (total + recent) / 2:", "if False:")
_ONE_PLAN = (
    Edit(_APPLICATION, "self._differences.take(self._slice.count)", "self._differences.take(10**9)"),
    Edit(_PENDING, "        place = (int(urgency), -priority)", '        place, host = (0, 0), ""'),
    Edit(_PENDING, "shares = {Urgency.DEPARTURE: count - 2 * share,", "shares = {Urgency.DEPARTURE: count,"),
    Edit(
        _PENDING,
        "service_id, _ = services.popitem()",
        "service_id = next(iter(services))\n                del services[service_id]",
    ),
)

#: Decisions between claims.
_TRUST = (
    Defect(
        "latest-claim-wins",
        "a service is at the LOCATION that any host announced last",
        (
            Edit(
                _ANNOUNCEMENTS,
                "            if service.leaves_at == math.inf and service.may_contest(now):\n"
                "                return self._moves.begin_contest(service, now)",
                "            return self._moves.move(service, claim, now)",
            ),
        ),
    ),
    Defect(
        "squatter-stays",
        "a silent attacker that announces a device before it boots keeps its service",
        (
            Edit(
                _ANNOUNCEMENTS,
                "        if is_new or was_superseded or is_doubtful(service, claim, now):",
                "        if current.answers and (is_new or was_superseded):",
            ),
        ),
    ),
    Defect(
        "no-home",
        "the host that has held a service longest has no advantage over the current one",
        (
            Edit(_TRACKED, "        home = self.home = _home(held, self.home)", "        home = claim.host"),
            Edit(
                _TRACKED,
                "            self.home = home.host\n            self._held = {home.host: home.held}",
                "            pass",
            ),
        ),
    ),
    Defect(
        "home-not-decisive",
        "a contest does not prefer the home",
        (
            Edit(
                _ANNOUNCEMENTS,
                "if claim.host == service.home != current.host and claim.standing >= self._services.trust:",
                "if False:",
            ),
            Edit(_ANNOUNCEMENTS, "            if claim.host == service.home:\n", "            if False:\n"),
            Edit(
                _DECISION,
                "    homes = [claim for claim in (*answered, *announced) if claim.host == service.home]",
                "    homes: list[Claim] = []",
            ),
            Edit(_DECISION, "if claim.sender == claim.host == service.home", "if False"),
        ),
    ),
    Defect(
        "home-forgotten",
        "the home of a service is not remembered when the service leaves",
        (Edit("discovery/homes.py", "        self._homes[key] = Home(host, held, now)", "        pass"),),
    ),
    Defect(
        "indirect-for-a-day",
        "an indirect claim lives as long as its max-age says",
        (Edit(_CLAIMS, "_MAX_INDIRECT_LIFETIME = 1800.0", "_MAX_INDIRECT_LIFETIME = 95_040.0"),),
    ),
    Defect(
        "byebye-inherits",
        "at a byebye any other claim takes over",
        (
            Edit(
                _DEPARTURES,
                "        candidates = [claim for claim in valid if claim.replied_at >= asked_at] or [",
                "        candidates = valid or [",
            ),
        ),
    ),
    Defect(
        "byebye-not-searched",
        "a byebye is accepted without a search",
        (
            Edit(
                _DEPARTURES,
                "events.append(self._services.searches.request(service, _BYE_DELAY, now, SearchUrgency.BYEBYE))",
                "pass",
            ),
        ),
    ),
    Defect(
        "byebye-ignored",
        "a byebye of the holder has no effect",
        (Edit(_DEPARTURES, "if service.claim.owns(sender, interface):", "if False:"),),
    ),
    Defect(
        "claim-in-contest-ignored",
        "a claim that appears in a contest begins no other one",
        (
            Edit(
                _ANNOUNCEMENTS,
                "(is_new and not is_one_of_many) or (current.host != service.home and not reception.is_reply)",
                "False",
            ),
        ),
        "catalog",
    ),
    Defect(
        "routed-is-direct",
        "a datagram that a router forwarded has the standing direct",
        (Edit("discovery/standing.py", " or not reception.on_link:", ":"),),
    ),
)

#: Sockets: what is accepted.
_NETWORK = (
    Defect(
        "any-kind-of-reply",
        "the sockets of searches accept byebyes",
        (Edit(_SEARCH_ROUNDS, "if not isinstance(message, SearchResponse | Alive) or (", "if ("),),
    ),
    Defect(
        "replies-at-any-time",
        "the sockets of searches stay open",
        (
            Edit(
                _SEARCH_ROUNDS,
                "    return max(1.0, min(request.mx or 0, _LONGEST_MX) + NETWORK_DELAY)",
                "    return 1e6",
            ),
            Edit(_SEARCH_ROUNDS, "self._reactor.seconds() < began + reused_for", "reused_for"),
        ),
    ),
    Defect(
        "replies-of-other-networks",
        "a reply from another network is accepted",
        (
            Edit(
                _SEARCH_ROUNDS,
                "    return None if reception.on_link or reception.named else _OFF_LINK",
                "    return None",
            ),
        ),
    ),
)

#: Consul's answers.
_CONSUL = (
    Defect(
        "retry-after-unlimited",
        "Consul may ask for any pause, and the keep-alives wait, too",
        (
            Edit(_AVAILABILITY, "min(requested or 0.0, _LONGEST_RETRY_AFTER)", "requested or 0.0"),
            Edit(
                _KEEP_ALIVE,
                "        if len(self._waiting) >= _MOST_KEEP_ALIVES:\n            return",
                "        if len(self._waiting) >= _MOST_KEEP_ALIVES or self.is_held():\n            return",
            ),
            Edit(
                _RECONCILER,
                "        self._turn: Deferred[None] | None = None\n",
                "        self._turn: Deferred[None] | None = None\n"
                "        self._keep_alive.is_held = lambda: self._availability.error is not None\n",
            ),
        ),
    ),
    Defect(
        "retry-after-without-limit",
        "Consul may ask for any pause; the keep-alives go on",
        (Edit(_AVAILABILITY, "min(requested or 0.0, _LONGEST_RETRY_AFTER)", "requested or 0.0"),),
    ),
    Defect(
        "all-rejected-for-an-hour",
        "a rejection of everything counts as the fault of each service, which is tried again after an hour",
        (
            Edit(_RECONCILER, "            self._differences.rejected.clear()\n", ""),
            Edit(_APPLICATION, "            await self._probe()\n", "            pass\n"),
            Edit("registration/differences.py", "        self.rejected.try_one(now)\n", ""),
            Edit(_REJECTIONS, "_SHORTEST_PAUSE = 30.0", "_SHORTEST_PAUSE = 3600.0"),
            Edit(
                _REJECTIONS,
                "        if not (common or self._texts[text]):\n            return []\n",
                "        return []\n",
            ),
        ),
    ),
    Defect(
        "new-token-compared-with-itself",
        "a refused request is repeated only if it is the first that reads the new token",
        (
            Edit(
                _HTTP,
                "            self._token.refresh()\n            # Other",
                "            token = self._token.value\n            self._token.refresh()\n            # Other",
            ),
            Edit(
                _RECONCILER,
                "            self._differences.release_denied(self._reactor.seconds())\n",
                "            pass\n",
            ),
        ),
    ),
    Defect(
        "token-read-once",
        "the token file is not read again",
        (
            Edit(_HTTP, "            self._token.refresh()\n            # Other", "            # Other"),
            Edit(
                _HTTP,
                "        self._token.refresh()\n        return self._token.version",
                "        return self._token.version",
            ),
        ),
    ),
    Defect(
        "incomplete-listing-believed",
        "a listing that the ACL has emptied is accepted at once",
        (
            Edit(_AGENT, "        if listing.own is None and await self._own.exists():", "        if False:"),
            Edit(_AGENT, "        if missing is None:", "        if True:"),
            _NO_GUARD,
        ),
    ),
    Defect(
        "foreign-entries",
        "every service whose ID has the daemon's prefix counts as its own",
        (
            Edit(
                _FORMAT,
                "    return bool(meta.get(META_SOURCE) == SOURCE and meta.get(META_SCOPE) == scope)",
                "    return True",
            ),
            Edit(
                _AGENT,
                '_SERVICES_FILTER = f\'Meta["{META_SOURCE}"] == "{SOURCE}"\'',
                "_SERVICES_FILTER = ''",
            ),
        ),
    ),
    Defect(
        "maintenance-mode-removed",
        "a registration replaces the checks that an operator has added",
        (
            Edit(
                _AGENT,
                '"/v1/agent/service/register", body)',
                '"/v1/agent/service/register?replace-existing-checks=true", body)',
            ),
        ),
    ),
    Defect(
        "failed-adoption-empties-consul",
        "after an exception in the adoption, the services that were to be adopted are removed",
        (
            Edit(
                _COMPARISON,
                'attempt in {seconds} s", seconds=COMPARE_INTERVAL)\n                return\n        self',
                'attempt in {seconds} s", seconds=COMPARE_INTERVAL)\n'
                "                self._differences.adopted = True\n                raise\n        self",
            ),
        ),
    ),
    Defect(
        "second-daemon-writes",
        "a second daemon with the same scope is not noticed",
        (
            Edit(
                "backends/consul_own_service.py",
                "        if not other or self._instance.has_ended(other) or not await self._is_passing():\n"
                "            return",
                "        return",
            ),
        ),
    ),
)

#: Limits and budgets.
_LIMITS = (
    Defect(
        "heap-grows",
        "the schedule of expiries keeps what was removed",
        (Edit("discovery/expiry.py", "        if self._entries <= 2 * self._current + _SLACK:", "        if True:"),),
    ),
    Defect(
        "departed-kept",
        "the reconciler keeps the reasons of services that have left",
        (
            Edit(
                "registration/differences.py",
                "        if service_id in (self.actual or {}) or service_id in self._in_progress:\n",
                "        if True:\n",
            ),
            Edit(
                "registration/differences.py", "self._reasons.items() if service_id in found}", "self._reasons.items()}"
            ),
            Edit(
                "registration/differences.py",
                "            if service_id not in (self.actual or {}):\n"
                "                self._reasons.pop(service_id, None)",
                "            pass",
            ),
        ),
    ),
    Defect("one-plan", "all changes are one plan, in the order in which they came", _ONE_PLAN),
    Defect(
        "one-plan-all-admitted",
        "the same, and a sender may create any number of services while Consul is late",
        (
            *_ONE_PLAN,
            Edit(
                "registry/service.py",
                "        return self._backlog() < _BACKLOG or self._new_services.take(sender, now)",
                "        return True",
            ),
        ),
    ),
    Defect(
        "no-move-budget",
        "a service may move at any time",
        (Edit(_TRACKED, "        return self.moved_at + self._move_pause", "        return -math.inf"),),
    ),
    Defect(
        "no-search-budget",
        "unsolicited datagrams may cause any number of searches",
        (
            Edit("registry/search_budgets.py", "_RATE = 1.0\n_BURST = 32.0", "_RATE = 1e6\n_BURST = 1e6"),
            Edit(
                _TRACKED,
                "return self.contest is None and now >= self.contested_at + _CONTEST_PAUSE",
                "return self.contest is None",
            ),
        ),
    ),
    Defect(
        "no-log-budget",
        "each rejected datagram is logged",
        (
            Edit(
                "discovery/log_limit.py",
                "        logged_at, reasons",
                "        return True\n        logged_at, reasons",
            ),
        ),
    ),
    Defect(
        "no-eviction",
        "a full table evicts nothing",
        (
            Edit(
                "discovery/capacity.py",
                "        for rank in range(_rank(standing, answers)):",
                "        for rank in ():",
            ),
        ),
    ),
)

#: Time in which the daemon could not receive.
_DEAF = (
    Defect(
        "expiry-after-suspension",
        "services expire for the time in which the process was suspended",
        (Edit(_RECEPTION, "        if late > _INTERVAL + _LATE:", "        if False:"), _NO_MASS_CHECK),
    ),
    Defect(
        "expiry-while-deaf",
        "services expire while their interface is down",
        (
            Edit(
                _RECEPTION,
                "            if interface not in receiving:\n                if interface not in self._down:",
                "            if interface not in receiving:\n                if False:",
            ),
            _NO_MASS_CHECK,
        ),
    ),
    Defect(
        "no-time-to-reply",
        "services expire as soon as their interface is up again",
        (
            Edit(_RECEPTION, "self._table.hold(now + self._grace, interface)", "self._table.hold(now, interface)"),
            _NO_MASS_CHECK,
        ),
    ),
    Defect(
        "no-repeated-search-after-hold",
        "one lost search after an interruption ends a service",
        (Edit(_DUE, "_ROUNDS_AFTER_HOLD = 3", "_ROUNDS_AFTER_HOLD = 0"),),
    ),
    Defect(
        "expiry-unsearched",
        "a silent device is not searched for before its service expires",
        (
            Edit(
                _DUE,
                "        elif service.search_is_due(now):",
                "        elif service.search_is_due(now) and service.begin_search(now) is None:",
            ),
        ),
    ),
    Defect(
        "expiry-never",
        "no service expires",
        (Edit(_CLAIMS, "        return self.received_at + self.lifetime", "        return self.received_at + 1e9"),),
    ),
)

DEFECTS = (*_TRUST, *_NETWORK, *_CONSUL, *_LIMITS, *_DEAF)
