"""Tests for :mod:`ssdpreg.backends.catalog.transactions`."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.backends.catalog.transactions import (
    Answer,
    Transaction,
    TransactionLimits,
    Unit,
    answer_limit,
    encode_operation,
    is_conflict,
    is_denied,
    node_indexes,
    parse_answer,
    room,
)


def unit(key: str, count: int, length: int = 10) -> Unit:
    """Return a unit with so many pieces of the same length."""
    return Unit(key, (f'"{"x" * (length - 2)}"',) * count)


class TransactionTests(SynchronousTestCase):
    """Tests for :class:`Transaction`."""

    def test_operations(self) -> None:
        """With the fence, 21 devices of three operations are a transaction of 64 operations."""
        transaction = Transaction(TransactionLimits())
        self.assertTrue(all(transaction.add(unit(str(number), 3)) for number in range(21)))
        self.assertFalse(transaction.add(unit("one more", 1)))
        self.assertEqual(len(json.loads(transaction.body('"fence"'))), 64)
        self.assertEqual(json.loads(transaction.body('"fence"'))[0], "fence")
        self.assertTrue(Transaction(TransactionLimits(), fenced=False).add(unit("d", 64)))
        self.assertFalse(Transaction(TransactionLimits(), fenced=False).add(unit("d", 65)))

    def test_bytes(self) -> None:
        """The body is never longer than the limit."""
        limits = TransactionLimits(operations=128, bytes=20_000)
        transaction = Transaction(limits)
        while transaction.add(unit("d", 2, 700)):
            pass
        self.assertLessEqual(len(transaction.body('"' + "f" * 1000 + '"')), 20_000)
        self.assertGreater(len(transaction.body(None)), 20_000 - 2048 - 1500)
        self.assertEqual(room(limits).bytes, 20_000 - 2048)

    def test_failed(self) -> None:
        """The errors of operations become the first error of each unit; the others are sent again without them."""
        transaction = Transaction(TransactionLimits())
        for key in "abc":
            transaction.add(unit(key, 3))
        errors = {1: "first of a", 3: "third of a", 6: "third of b"}
        self.assertEqual(transaction.find_failed(errors), {"a": "first of a", "b": "third of b"})
        rest = transaction.without(["a", "b"])
        self.assertEqual([each.key for each in rest.units], ["c"])
        self.assertEqual(rest.find_failed({0: "fence", 99: "unknown"}), {})
        plain = Transaction(TransactionLimits(), fenced=False)
        plain.add(unit("a", 1))
        self.assertEqual(plain.find_failed({0: "x"}), {"a": "x"})

    def test_ascii(self) -> None:
        """The length of an operation in characters is that in bytes."""
        encoded = encode_operation({"KV": {"Key": "電源 é\ud800"}})
        self.assertTrue(encoded.isascii())

    def test_limit_becomes_lower(self) -> None:
        """No unit is lost when the rest is sent again after the limits have become lower."""
        limits = TransactionLimits()
        transaction = Transaction(limits)
        for key in "abc":
            self.assertTrue(transaction.add(Unit(key, ("{}",) * 20)))
        self.assertTrue(transaction.fits)
        limits.operations = 40
        self.assertFalse(transaction.fits)
        self.assertFalse(transaction.add(Unit("d", ("{}",))))
        rest = transaction.without(["a"])
        self.assertEqual([unit.key for unit in rest.units], ["b", "c"])
        self.assertFalse(rest.fits)
        self.assertTrue(rest.without(["b"]).fits)


class TransactionLimitsTests(SynchronousTestCase):
    """Tests for :class:`TransactionLimits`."""

    def test_learn(self) -> None:
        """The limits follow the texts of Consul. Another text, as that of a proxy, halves the length."""
        limits = TransactionLimits(operations=128)
        self.assertTrue(limits.learn("Transaction contains too many operations (128 > 64)"))
        self.assertEqual(limits.operations, 64)
        self.assertTrue(limits.learn("Request body(600000 bytes) too large, max size: 262144 bytes. See X"))
        self.assertEqual(limits.bytes, 262_144)
        self.assertTrue(limits.learn("<html>Entity too large"))
        self.assertEqual(limits.bytes, 131_072)

    def test_bounds(self) -> None:
        """A transaction always has room for a device. When no limit becomes lower, that is reported."""
        limits = TransactionLimits()
        self.assertTrue(limits.learn("too many operations (4 > 0)"))
        self.assertEqual(limits.operations, 4)
        for _ in range(20):
            learned = limits.learn("")
        self.assertFalse(learned)
        self.assertGreater(room(limits).bytes, 1024)
        self.assertFalse(limits.learn("too many operations (5 > 4)"))

    def test_answer(self) -> None:
        """The response to a write may have twice its length and 64 kB."""
        self.assertEqual(answer_limit(1000), 2000 + 65536)


class AnswerTests(SynchronousTestCase):
    """Tests for :func:`parse_answer` and :func:`node_indexes`."""

    def test_valid(self) -> None:
        """Results and errors are returned; null stands for none."""
        answer = parse_answer(b'{"Results": [{"Node": {"Node": "D1", "ModifyIndex": 7}}, {"KV": {}}], "Errors": null}')
        self.assertEqual(answer.errors, {})
        self.assertEqual(node_indexes(answer), {"d1": 7})
        answer = parse_answer(b'{"Results": null, "Errors": [{"OpIndex": 2, "What": "a"}, {"OpIndex": 2}]}')
        self.assertEqual((answer.results, answer.errors), ([], {2: "a"}))

    def test_malformed(self) -> None:
        """Any other response is an error."""
        for body in (
            b"",
            b"[]",
            b"{}",
            b'{"Results": {}}',
            b'{"Results": [1]}',
            b'{"Results": [], "Errors": {"a": 1}}',
            b'{"Results": [], "Errors": [{"What": "x"}]}',
            b'{"Results": [], "Errors": [1]}',
            b"[" * 100_000,
        ):
            with self.assertRaises(ValueError, msg=repr(body[:50])):
                parse_answer(body)
        for node in (1, {}, {"Node": "d"}, {"Node": "d", "ModifyIndex": "7"}):
            with self.assertRaises(ValueError):
                node_indexes(Answer([{"Node": node}]))

    def test_kinds_of_errors(self) -> None:
        """Consul's texts tell missing permissions and changed entries from faults of the registration."""
        self.assertTrue(is_denied("Permission denied"))
        for what in (
            'failed to set node "d1", index is stale',
            'service "x" on node "d" doesn\'t exist',
            "Missing node registration",
        ):
            self.assertTrue(is_conflict(what))
            self.assertFalse(is_denied(what))
        self.assertFalse(is_conflict("Invalid Service Meta for node d1"))
