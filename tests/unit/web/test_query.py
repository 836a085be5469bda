"""Tests for :mod:`ssdpreg.web.query`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.web.errors import ResponseError
from ssdpreg.web.query import Query, parse_query


class ParseQueryTests(SynchronousTestCase):
    """Tests for :func:`parse_query`. Error texts and limits are those of Consul 1.8.7."""

    def test_empty(self) -> None:
        """An empty query finds all services, and returns at once."""
        self.assertEqual(parse_query("", "dc1"), Query(0, 300.0, frozenset(), {}, "", False))

    def test_all_parameters(self) -> None:
        """Every parameter is parsed, with and without a value."""
        text = "index=7&wait=30s&tag=Blue&tag=lab&node-meta=a:b:c&node-meta=d&filter=x+%3D%3D+y"
        query = parse_query(f"{text}&pretty&stale&passing&near=_agent&dc=dc1", "dc1")
        self.assertEqual(query, Query(7, 30.0, frozenset(("blue", "lab")), {"a": "b:c", "d": ""}, "x == y", True))

    def test_waits(self) -> None:
        """Waits are durations of Go, at most ten minutes; five minutes if there is none, or if it is not positive."""
        for text, seconds in {
            "525s": 525.0,
            "120000ms": 120.0,
            "1h": 600.0,
            "1m30.5s": 90.5,
            ".5s": 0.5,
            "+2s": 2.0,
            "250us": 0.00025,
            "": 300.0,
            "0": 300.0,
            "0s": 300.0,
            "-1s": 300.0,
        }.items():
            self.assertAlmostEqual(parse_query(f"wait={text.replace('+', '%2B')}", "dc1").wait, seconds, msg=text)

    def test_errors(self) -> None:
        """Invalid values are rejected as Consul rejects them."""
        for text, problem in {
            "index=abc": "400 Invalid index",
            "index=-1": "400 Invalid index",
            "index=%D9%A3": "400 Invalid index",
            "index=123456789012345678901": "400 Invalid index",
            "wait=abc": "400 Invalid wait time",
            "wait=5": "400 Invalid wait time",
            "wait=1d": "400 Invalid wait time",
            "wait=.s": "400 Invalid wait time",
            "wait=%D9%A3s": "400 Invalid wait time",
            "passing=xx": "400 Invalid value for ?passing",
            "stale&consistent": "400 Cannot specify ?stale with ?consistent, conflicting semantics.",
            "dc=dc2": "500 No path to datacenter",
            "dc=DC1": "500 No path to datacenter",
        }.items():
            error = self.assertRaises(ResponseError, parse_query, text, "dc1")
            self.assertEqual(f"{error.status} {error}", problem)
