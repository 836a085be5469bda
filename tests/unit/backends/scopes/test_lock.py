"""Tests for :mod:`ssdpreg.backends.scopes.lock` on a simulated clock."""

from __future__ import annotations

import base64
import json
from typing import Any, cast

from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface.verify import verifyObject

from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.backends.http_client import BoundedHTTPClient
from ssdpreg.backends.instance import Instance
from ssdpreg.backends.scopes.fence import Fence
from ssdpreg.backends.scopes.lock import ScopeLock, make_lock
from ssdpreg.backends.scopes.session import LockRequests
from ssdpreg.config import ConsulConfig
from ssdpreg.errors import NotHolderError
from ssdpreg.interfaces import IWriterLock
from ssdpreg.testing.fake_sessions import FakeSessions

KEY = "ssdpreg/scopes/rack-7"
NODE = "ssdpreg-rack-7"
#: Seconds of one step of the clock.
STEP = 0.1


class FakeInstance(Instance):
    """
    Identity of a daemon in a test.

    :param ended: Identities of daemons that have ended.
    """

    def __init__(self, instance_id: str, ended: set[str]) -> None:
        self.instance_id = instance_id
        self._ended = ended

    def has_ended(self, instance_id: str) -> bool:
        return instance_id in self._ended


class Link(Resource):
    """
    Connection of one daemon to Consul.

    :ivar cut: Whether no request arrives.
    """

    isLeaf = True
    cut = False

    def __init__(self, consul: FakeSessions) -> None:
        super().__init__()
        self._consul = consul

    def render(self, request: Any) -> Any:
        return NOT_DONE_YET if self.cut else self._consul.render(request)


class Daemon:
    """
    Lock of one daemon.

    :ivar link: Its connection to Consul.

    :ivar changes: States of the lock at each notification.
    :ivar suspended: Seconds that the host was suspended.
    """

    def __init__(self, consul: FakeSessions, name: str, ended: set[str], datacenter: str | None = None) -> None:
        self._clock = consul.clock
        self.link = Link(consul)
        self.treq = StubTreq(self.link)
        client = BoundedHTTPClient(self._clock, "http://consul.test", cast("Any", self.treq))
        self.suspended = 0.0
        self.lock = ScopeLock(
            self._clock,
            LockRequests(ConsulHTTP(self._clock, client), datacenter),
            "rack-7",
            FakeInstance(name, ended),
            lambda: self._clock.seconds() + self.suspended,
            lambda: 1_772_359_200.0,
            86400.0,
        )
        self.changes: list[bool] = []
        self.lock.subscribe(lambda: self.changes.append(self.lock.held))


class LockTestCase(SynchronousTestCase):
    """Base of tests with Consul in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.consul = FakeSessions(self.clock)
        self.ended: set[str] = set()
        self.daemons: list[Daemon] = []

    def start(self, name: str = "a", **options: Any) -> Daemon:
        """Start a daemon, and let it send its first requests."""
        daemon = Daemon(self.consul, name, self.ended, **options)
        self.daemons.append(daemon)
        daemon.lock.start()
        self.advance(0.5)
        return daemon

    def kill(self, daemon: Daemon) -> None:
        """End a daemon without any further request."""
        self.daemons.remove(daemon)
        assert daemon.lock._running is not None
        daemon.lock._running.cancel()

    def advance(self, seconds: float) -> None:
        """Advance the clock in small steps."""
        for _ in range(round(seconds / STEP)):
            self.clock.advance(STEP)
            self.consul.end_expired()
            for daemon in self.daemons:
                daemon.treq.flush()

    def advance_until(self, condition: Any, seconds: float) -> float:
        """Advance the clock until a condition is true, and return the seconds."""
        started_at = self.clock.seconds()
        while not condition():
            self.assertLess(self.clock.seconds() - started_at, seconds)
            self.advance(STEP)
        return self.clock.seconds() - started_at

    def count(self, method: str, path: str) -> int:
        """Return the number of requests so far."""
        return sum(each[0] == method and each[1].startswith(path) for each in self.consul.requests)


class HolderTests(LockTestCase):
    """The daemon that holds the lock."""

    def test_interfaces(self) -> None:
        """The lock provides ``IWriterLock`` and ``Fence``."""
        lock = self.start().lock
        verifyObject(IWriterLock, lock)
        fence: Fence = lock
        self.assertEqual(
            fence.operation(), {"KV": {"Verb": "check-session", "Key": KEY, "Session": self.consul.holder(KEY)}}
        )

    def test_acquire(self) -> None:
        """A daemon creates its node, a session that belongs to it, and acquires the lock."""
        with capturedLogs() as logs:
            daemon = self.start()
        self.assertTrue(daemon.lock.held)
        self.assertEqual(daemon.changes, [True])
        (session,) = self.consul.sessions.values()
        self.assertEqual((session.node, session.ttl, session.lock_delay), (NODE, 10.0, 1.0))
        self.assertEqual(self.consul.nodes[NODE]["Meta"], {"external-source": "ssdpreg", "ssdpreg-lock": "rack-7"})
        value = json.loads(self.consul.keys[KEY].value)
        self.assertEqual(sorted(value), ["host", "instance", "pid", "reap_after", "since", "version"])
        self.assertEqual(value["reap_after"], 86400.0)
        self.assertEqual((value["instance"], value["since"]), ("a", "2026-03-01T10:00:00Z"))
        self.assertEqual([formatEvent(event) for event in logs], [f"Acquired the lock {KEY}: this daemon writes"])
        self.assertEqual(daemon.lock.description, f"this daemon holds the lock {KEY} since 2026-03-01T10:00:00Z")

    def test_longer_ttl(self) -> None:
        """If Consul rejects the TTL as too short, the session gets the shortest one that Consul accepts."""
        self.consul.shortest_ttl = 30.0
        daemon = self.start()
        self.assertTrue(daemon.lock.held)
        (session,) = self.consul.sessions.values()
        self.assertEqual(session.ttl, 30.0)
        self.assertEqual(self.count("PUT", "/v1/session/create"), 2)

    def test_datacenter(self) -> None:
        """Every request names the datacenter, and so does the node."""
        daemon = self.start(datacenter="dc2")
        self.advance(10)
        for _, path in self.consul.requests:
            self.assertIn("dc=dc2", path)
        self.assertEqual(self.consul.nodes[NODE]["Datacenter"], "dc2")
        self.assertTrue(daemon.lock.held)

    def test_renew(self) -> None:
        """The session is renewed every third of its TTL, and nothing else is sent."""
        daemon = self.start()
        before = len(self.consul.requests)
        self.advance(100)
        self.assertTrue(daemon.lock.held)
        self.assertEqual(self.count("PUT", "/v1/session/renew/"), len(self.consul.requests) - before)
        self.assertIn(len(self.consul.requests) - before, (29, 30, 31))

    def test_lost_answers(self) -> None:
        """Two renewals in succession may get no answer."""
        daemon = self.start()
        self.consul.losing.add("/v1/session/renew")
        self.advance(8)
        self.consul.losing.clear()
        self.advance(8)
        self.assertTrue(daemon.lock.held)
        self.assertEqual(daemon.changes, [True])

    def test_no_answers(self) -> None:
        """After 10 s without an answer to a renewal the daemon does not count as the holder."""
        daemon = self.start()
        self.consul.silent.add("/v1/")
        lost_after = self.advance_until(lambda: not daemon.lock.held, 20)
        self.assertLessEqual(lost_after, 10)
        self.assertRaises(NotHolderError, daemon.lock.operation)

    def test_slow_answers(self) -> None:
        """The 10 s begin when the last renewal that is answered was sent, and not when the answer is received."""
        daemon = self.start()
        self.consul.delays["/v1/session/renew"] = 2.5
        self.advance(60)
        self.assertEqual((daemon.lock.held, daemon.changes), (True, [True]))
        sent = self.count("PUT", "/v1/session/renew")
        self.advance_until(lambda: self.count("PUT", "/v1/session/renew") > sent, 4)
        sent_at = self.clock.seconds()
        self.advance(2.6)
        self.consul.silent.add("/v1/")
        self.advance_until(lambda: not daemon.lock.held, 20)
        self.assertLess(abs(self.clock.seconds() - sent_at - 10.0), 0.3)

    def test_cut_off_alone(self) -> None:
        """A daemon whose session ended while it was cut off acquires the lock with another session."""
        daemon = self.start()
        session = self.consul.holder(KEY)
        daemon.link.cut = True
        self.advance(40)
        self.assertEqual((daemon.changes, self.consul.sessions), ([True, False], {}))
        daemon.link.cut = False
        self.assertLessEqual(self.advance_until(lambda: daemon.lock.held, 10), 5)
        self.assertNotIn(self.consul.holder(KEY), ("", session))
        self.assertFalse(daemon.lock.others_wrote)

    def test_taken_away(self) -> None:
        """A daemon whose lock another session holds destroys its own session, and waits."""
        daemon = self.start()
        mine = self.consul.holder(KEY)
        self.consul.keys[KEY].session, self.consul.keys[KEY].value = "theirs", b"{}"
        daemon.lock.lost()
        self.advance(2)
        self.assertTrue(daemon.lock.waiting)
        self.assertNotIn(mine, self.consul.sessions)

    def test_answers_again(self) -> None:
        """A daemon whose session survived an outage holds the lock again with the same session."""
        daemon = self.start()
        session = self.consul.holder(KEY)
        self.consul.faults["/v1/"] = (500, "No cluster leader")
        self.advance(15)
        self.assertEqual(daemon.changes, [True, False])
        self.assertIn("No cluster leader", daemon.lock.description)
        del self.consul.faults["/v1/"]
        self.assertLessEqual(self.advance_until(lambda: daemon.lock.held, 5), 2)
        self.assertEqual(self.consul.holder(KEY), session)
        self.assertFalse(daemon.lock.others_wrote)

    def test_rate_limit(self) -> None:
        """A renewal that is answered with 429 is repeated at the next interval, without a longer pause."""
        daemon = self.start()
        self.consul.faults["/v1/session"] = (429, "rate limit exceeded")
        before = self.count("PUT", "/v1/session/renew")
        self.advance(7)
        self.assertEqual(self.count("PUT", "/v1/session/renew") - before, 2)
        del self.consul.faults["/v1/session"]
        self.advance(10)
        self.assertEqual((daemon.lock.held, daemon.changes), (True, [True]))

    def test_session_not_found(self) -> None:
        """After a renewal that is answered with 404 the daemon does not hold the lock, and acquires it again."""
        daemon = self.start()
        with capturedLogs() as logs:
            self.consul.end_session(self.consul.holder(KEY))
            self.advance(3)
            self.assertTrue(daemon.lock.held)
            self.advance(3)
        self.assertEqual(daemon.changes, [True, False, True])
        self.assertFalse(daemon.lock.others_wrote)
        self.assertEqual(
            [formatEvent(event) for event in logs],
            [f"Lost the lock {KEY}: Consul ended its session", f"Acquired the lock {KEY}: this daemon writes"],
        )

    def test_wipe(self) -> None:
        """After Consul lost its data, the daemon holds the lock again within 10 s."""
        daemon = self.start()
        self.advance(2)
        self.consul.wipe()
        self.advance(5)
        self.assertEqual(daemon.changes, [True, False, True])
        self.assertIn(NODE, self.consul.nodes)

    def test_suspended(self) -> None:
        """A daemon whose host was suspended does not hold the lock, although the reactor's clock did not advance."""
        daemon = self.start()
        daemon.suspended = 11.0
        self.assertFalse(daemon.lock.held)
        self.assertRaises(NotHolderError, daemon.lock.operation)

    def test_fence_refused(self) -> None:
        """After a rejected fence the daemon is not the holder, until it acquired the lock again."""
        daemon = self.start()
        daemon.lock.lost()
        self.assertFalse(daemon.lock.held)
        self.assertEqual((daemon.lock.refusals, daemon.lock.losses), (1, 1))
        self.advance(0.5)
        self.assertFalse(daemon.lock.held)
        self.advance(2)
        self.assertTrue(daemon.lock.held)

    def test_key_deleted(self) -> None:
        """After an operator deleted the key, the daemon acquires it again."""
        daemon = self.start()
        del self.consul.keys[KEY]
        daemon.lock.lost()
        self.advance(2)
        self.assertEqual(self.consul.holder(KEY), daemon.lock.operation()["KV"]["Session"])

    def test_foreign_node(self) -> None:
        """The daemon creates no session for a node of another program, and says so."""
        self.consul.nodes[NODE] = {"Node": NODE, "Address": "10.0.0.1", "Meta": None}
        daemon = self.start()
        self.assertFalse(daemon.lock.held)
        self.assertIn(f"another program registered the node {NODE}", daemon.lock.description)
        self.assertEqual(self.consul.sessions, {})
        del self.consul.nodes[NODE]
        self.advance(2)
        self.assertTrue(daemon.lock.held)

    def test_lost_creation(self) -> None:
        """A lost answer to the creation of a session, or to the acquisition, delays the lock by a few seconds."""
        for path in ("/v1/session/create", "/v1/kv/"):
            self.consul.losing.add(path)
            daemon = self.start(path)
            self.advance(3)
            self.consul.losing.clear()
            self.assertLessEqual(self.advance_until(lambda d=daemon: d.lock.held, 10), 5)
            self.successResultOf(Deferred.fromCoroutine(daemon.lock.stop()))

    def test_malformed(self) -> None:
        """Malformed responses do not end the loop."""
        daemon = self.start()
        self.consul.end_session(self.consul.holder(KEY))
        for answer in ("<html>", "[]", "[1]", '[{"Session": 5}]', "null", '{"ID": 5}', "true"):
            self.consul.faults["/v1/"] = (200, answer)
            self.advance(4)
        self.consul.faults.clear()
        self.advance(25)
        self.assertTrue(daemon.lock.held)

    def test_listener_fails(self) -> None:
        """An exception of a listener is logged, and the lock stays."""
        daemon = self.start()

        def fail() -> None:
            raise ZeroDivisionError

        daemon.lock.subscribe(fail)
        daemon.lock.lost()
        self.advance(2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertTrue(daemon.lock.held)


class StopTests(LockTestCase):
    """The end of a daemon."""

    def test_release(self) -> None:
        """A daemon that stops releases the lock, and then destroys its session."""
        daemon = self.start()
        with capturedLogs() as logs:
            self.successResultOf(Deferred.fromCoroutine(daemon.lock.stop()))
        self.assertEqual((self.consul.holder(KEY), self.consul.sessions), ("", {}))
        self.assertEqual(self.consul.keys[KEY].free_at, 0.0)
        self.assertEqual([formatEvent(event) for event in logs], [f"Released the lock {KEY}"])
        before = len(self.consul.requests)
        self.advance(20)
        self.assertEqual(len(self.consul.requests), before)

    def test_reap_after_stays(self) -> None:
        """The key of a daemon that ended keeps its ``reap_after``, also after a release."""
        daemon = self.start()
        self.successResultOf(Deferred.fromCoroutine(daemon.lock.stop()))
        self.assertEqual(self.consul.holder(KEY), "")
        self.assertEqual(json.loads(self.consul.keys[KEY].value)["reap_after"], 86400.0)

    def test_reap_after_of_the_configuration(self) -> None:
        """The lock writes the value of the configuration."""
        config = ConsulConfig(mode="catalog", reap_after=5400.0)
        self.assertEqual(make_lock(self.clock, config, "rack-7")._describe().reap_after, 5400.0)

    def test_release_rejected(self) -> None:
        """If Consul rejects the release, the session is destroyed all the same."""
        daemon = self.start()
        self.consul.faults["/v1/kv/"] = (500, "No cluster leader")
        with capturedLogs() as logs:
            self.successResultOf(Deferred.fromCoroutine(daemon.lock.stop()))
        self.assertEqual((self.consul.sessions, len(logs)), ({}, 1))

    def test_no_answer(self) -> None:
        """Without an answer of Consul, a daemon stops after 2 s."""
        daemon = self.start()
        self.consul.silent.add("/v1/")
        stopping = Deferred.fromCoroutine(daemon.lock.stop())
        self.advance(1.5)
        self.assertNoResult(stopping)
        with capturedLogs() as logs:
            self.advance(1)
        self.successResultOf(stopping)
        self.assertEqual([event["log_level"] for event in logs], [LogLevel.warn])

    def test_stopped_by_a_listener(self) -> None:
        """A listener may stop the lock, which ends its loop."""
        daemon = Daemon(self.consul, "a", set())

        def stop() -> None:
            Deferred.fromCoroutine(daemon.lock.stop())

        daemon.lock.subscribe(stop)
        daemon.lock.start()
        self.advance(1)
        self.assertEqual((self.consul.holder(KEY), self.clock.getDelayedCalls()), ("", []))

    def test_not_started(self) -> None:
        """A lock that was never started can be stopped, and is not started afterwards."""
        daemon = Daemon(self.consul, "a", set())
        self.successResultOf(Deferred.fromCoroutine(daemon.lock.stop()))
        daemon.lock.start()
        self.assertEqual(self.consul.requests, [])


class TwoDaemonsTests(LockTestCase):
    """Two daemons with one lock."""

    def test_waits(self) -> None:
        """The second daemon waits without a session, sends few requests, and describes the holder."""
        first = self.start("a")
        with capturedLogs() as logs:
            second = self.start("b")
        self.assertEqual((first.lock.held, second.lock.held), (True, False))
        self.assertRegex(second.lock.description, rf"^the lock {KEY} is held by .+ \(process \d+, since 2026-03-01T")
        self.assertRaises(NotHolderError, second.lock.operation)
        (line,) = [formatEvent(event) for event in logs]
        self.assertTrue(line.startswith(f"Waiting: the lock {KEY} is held by "), line)
        before, renewals = len(self.consul.requests), self.count("PUT", "/v1/session/renew")
        with capturedLogs() as logs:
            self.advance(60)
        sent = len(self.consul.requests) - before - (self.count("PUT", "/v1/session/renew") - renewals)
        self.assertLess(sent, 10)
        self.assertEqual((logs, len(self.consul.sessions)), ([], 1))

    def test_released(self) -> None:
        """After a release the other daemon holds the lock within a second."""
        first, second = self.start("a"), self.start("b")
        self.successResultOf(Deferred.fromCoroutine(first.lock.stop()))
        self.assertLessEqual(self.advance_until(lambda: second.lock.held, 3), 1)
        self.assertTrue(second.lock.others_wrote)

    def test_killed(self) -> None:
        """After the end of a daemon without a release, the other daemon holds the lock within 22 s."""
        first, second = self.start("a"), self.start("b")
        self.advance(15)
        self.kill(first)
        self.assertLessEqual(self.advance_until(lambda: second.lock.held, 30), 22)

    def test_killed_on_this_host(self) -> None:
        """A daemon that is started again after SIGKILL releases the lock of its earlier run, and acquires it."""
        first = self.start("a")
        self.kill(first)
        self.ended.add("a")
        second = self.start("b")
        self.assertLessEqual(self.advance_until(lambda: second.lock.held, 5), 1)
        self.assertEqual(len(self.consul.sessions), 1)

    def test_never_two(self) -> None:
        """A daemon that is cut off from Consul gives up the lock before the other one acquires it."""
        first, second = self.start("a"), self.start("b")
        first.link.cut = True
        for _ in range(300):
            self.advance(STEP)
            self.assertFalse(first.lock.held and second.lock.held)
        self.assertTrue(second.lock.held)

    def test_writer_changed_between(self) -> None:
        """A daemon that lost the lock knows afterwards that another one had it."""
        first = self.start("a")
        self.assertTrue(first.lock.others_wrote)
        self.consul.end_session(self.consul.holder(KEY))
        self.consul.keys[KEY].lock_index += 1
        self.advance(8)
        self.assertEqual(first.changes, [True, False, True])
        self.assertTrue(first.lock.others_wrote)

    def test_key_deleted(self) -> None:
        """A daemon that waited knows that the other one wrote, also if the key was deleted, with its count."""
        first, second = self.start("a"), self.start("b")
        del self.consul.keys[KEY]
        self.consul._change()
        self.advance_until(lambda: second.lock.held, 3)
        first.lock.lost()
        self.advance_until(lambda: first.lock.waiting, 3)
        self.successResultOf(Deferred.fromCoroutine(second.lock.stop()))
        self.advance_until(lambda: first.lock.held, 3)
        self.assertEqual(self.consul.keys[KEY].lock_index, 2)
        self.assertTrue(first.lock.others_wrote)

    def test_strange_value(self) -> None:
        """Another program may hold the lock, with any value."""
        self.start("x")
        self.kill(self.daemons[0])
        for value in (
            b"",
            b"[]",
            b"\xff",
            b'{"host": 5, "pid": "x"}',
            b'{"host": "a\\u001b[2J", "pid": 1}',
            b"x" * 9999,
        ):
            self.consul.sessions["s"] = next(iter(self.consul.sessions.values()))
            self.consul.keys[KEY].session, self.consul.keys[KEY].value = "s", value
            daemon = self.start("b")
            self.assertFalse(daemon.lock.held)
            self.assertNotIn("\x1b", daemon.lock.description)
            self.assertLess(len(daemon.lock.description), 300)
            self.kill(daemon)

    def test_decided(self) -> None:
        """``decided`` returns when the first attempt is over: lock held, held by another daemon, or error."""
        self.start("a")
        second = self.start("b")
        self.successResultOf(Deferred.fromCoroutine(second.lock.decided()))
        self.consul.silent.add("/v1/")
        third = self.start("c")
        deciding = Deferred.fromCoroutine(third.lock.decided())
        self.assertNoResult(deciding)
        self.advance(3)
        self.successResultOf(deciding)
        self.assertEqual((second.lock.unreachable, third.lock.unreachable), (False, True))
        self.consul.silent.clear()
        self.advance(5)
        self.assertFalse(third.lock.unreachable)


class FurtherKeyTests(LockTestCase):
    """Further locks that the same session holds."""

    def acquire(self, daemon: Daemon) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(daemon.lock.acquire_key("ssdpreg/reaper")))

    def test_acquire(self) -> None:
        """One of two sessions acquires a further lock, and releases it when it stops."""
        first = self.start("a")
        self.assertTrue(self.acquire(first))
        operation = first.lock.operation_for("ssdpreg/reaper")["KV"]
        self.assertEqual((operation["Key"], operation["Session"]), ("ssdpreg/reaper", self.consul.holder(KEY)))
        self.successResultOf(Deferred.fromCoroutine(first.lock.stop()))
        self.assertEqual((self.consul.holder("ssdpreg/reaper"), self.consul.keys["ssdpreg/reaper"].free_at), ("", 0.0))

    def test_not_held(self) -> None:
        """A daemon that does not hold the lock of its scope cannot acquire a further one."""
        self.start("a")
        second = self.start("b")
        self.failureResultOf(Deferred.fromCoroutine(second.lock.acquire_key("ssdpreg/reaper")), NotHolderError)

    def test_value(self) -> None:
        """The value of the key names the daemon."""
        self.acquire(self.start("a"))
        value = json.loads(base64.b64decode(base64.b64encode(self.consul.keys["ssdpreg/reaper"].value)))
        self.assertEqual(value["instance"], "a")
