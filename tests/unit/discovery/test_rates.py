"""Tests for :mod:`ssdpreg.discovery.rates`."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.rates import SenderBuckets, TokenBucket


class TokenBucketTests(SynchronousTestCase):
    """Tests for :class:`TokenBucket`."""

    def test_burst(self) -> None:
        """A new budget permits its burst at once, and not more."""
        bucket = TokenBucket(1.0, 5.0)
        self.assertEqual([bucket.take(1000.0) for _ in range(8)], [True] * 5 + [False] * 3)

    def test_rate(self) -> None:
        """After the burst, tokens are added at the rate. An attempt in vain costs none."""
        bucket = TokenBucket(0.5, 2.0)
        taken = [now for now in (step / 4 for step in range(1, 81)) if bucket.take(now)]
        self.assertEqual(taken, [0.25, 0.5, 2.25, *(4.25 + 2 * step for step in range(8))])

    def test_saved_tokens_are_limited(self) -> None:
        """However long a budget is not used, it saves no more than the burst."""
        bucket = TokenBucket(10.0, 3.0)
        for now in (0.0, 1e6, 2e6):
            self.assertEqual([bucket.take(now) for _ in range(5)], [True] * 3 + [False] * 2)

    def test_wait(self) -> None:
        """The time until the next token is 0 while there is one."""
        bucket = TokenBucket(0.5, 2.0)
        self.assertEqual(bucket.wait(100.0), 0)
        bucket.take(100.0)
        self.assertEqual(bucket.wait(100.0), 0)
        bucket.take(100.0)
        self.assertEqual(bucket.wait(100.0), 2)
        self.assertEqual(bucket.wait(101.5), 0.5)
        self.assertEqual(bucket.wait(5000.0), 0)
        self.assertFalse(bucket.take(101.5))
        self.assertTrue(bucket.take(102.0))

    def test_has_a_token(self) -> None:
        """Whether there is a token can be read without taking it."""
        bucket = TokenBucket(0.5, 1.0)
        self.assertEqual([bucket.has(100.0) for _ in range(2)], [True, True])
        bucket.take(100.0)
        self.assertEqual([bucket.has(now) for now in (100.0, 101.9, 102.0)], [False, False, True])

    def test_token_after_the_wait(self) -> None:
        """There is a token after each wait, also with the errors of rounding: otherwise a timer would not end."""
        random = Random(1)
        bucket, now = TokenBucket(1.0, 16.0), 0.0
        for _ in range(10_000):
            now += random.expovariate(1.0)
            reserve = random.choice((0.0, 14.0))
            if not bucket.take(now, reserve):
                now += bucket.wait(now, reserve)
                self.assertTrue(bucket.take(now, reserve), now)

    def test_reserve(self) -> None:
        """A token is taken only if the reserve is left."""
        bucket = TokenBucket(1.0, 5.0)
        self.assertEqual([bucket.take(1000.0, 3.0) for _ in range(4)], [True, True, False, False])
        self.assertEqual(bucket.wait(1000.0, 3.0), 1)
        self.assertEqual([bucket.take(1000.0) for _ in range(4)], [True, True, True, False])

    @settings(derandomize=True, deadline=None, max_examples=200)
    @given(st.lists(st.floats(0, 3), max_size=200), st.sampled_from([0.5, 1.0, 4.0]), st.sampled_from([1.0, 5.0]))
    def test_rate_is_never_exceeded(self, pauses: list[float], rate: float, burst: float) -> None:
        """In any interval no more tokens are taken than the burst and those added in it."""
        bucket, now, taken = TokenBucket(rate, burst), 0.0, list[float]()
        for pause in pauses:
            now += pause
            if bucket.take(now):
                taken.append(now)
        for first in range(len(taken)):
            for last in range(first, len(taken)):
                self.assertLessEqual(last - first + 1, burst + (taken[last] - taken[first]) * rate + 1e-6)


class SenderBucketsTests(SynchronousTestCase):
    """Tests for :class:`SenderBuckets`."""

    def test_each_sender_has_a_budget(self) -> None:
        """One sender that uses up its budget does not affect the others."""
        buckets = SenderBuckets(1.0, 2.0)
        self.assertEqual([buckets.take("a", 10.0) for _ in range(3)], [True, True, False])
        self.assertTrue(buckets.take("b", 10.0))
        self.assertEqual([buckets.take("a", 11.0) for _ in range(2)], [True, False])

    def test_memory_is_bounded(self) -> None:
        """The sender that was used least recently is forgotten when there are too many."""
        buckets = SenderBuckets(0.001, 1.0, max_senders=3)
        for sender in ("a", "b", "c", "a", "d"):
            buckets.take(sender, 10.0)
        self.assertFalse(buckets.take("a", 10.0))
        self.assertFalse(buckets.take("c", 10.0))
        self.assertFalse(buckets.take("d", 10.0))
        self.assertTrue(buckets.take("b", 10.0))
        self.assertLessEqual(len(buckets._buckets), 3)

    def test_default_limit(self) -> None:
        """By default 4096 senders are remembered."""
        buckets = SenderBuckets(0.001, 1.0)
        for number in range(4097):
            buckets.take(str(number), 10.0)
        self.assertFalse(buckets.take("1", 10.0))
        self.assertTrue(buckets.take("0", 10.0))
