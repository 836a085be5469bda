"""Tests for :mod:`ssdpreg.backends.scopes.holder`."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.backends.scopes.holder import Holder, format_holder, lock_node, parse_holder, scope_key
from ssdpreg.config import parse
from ssdpreg.errors import ConfigError

HOLDER = Holder("r7a", 12, "0a-1b", "0.1.0", "2026-03-01T10:00:00Z")


def encode(value: object) -> str:
    """Return a value as Consul returns it."""
    return base64.b64encode(json.dumps(value).encode()).decode()


class HolderTests(SynchronousTestCase):
    """The value of the key."""

    def test_round_trip(self) -> None:
        """A holder that is formatted and parsed is the same."""
        self.assertEqual(parse_holder(encode(format_holder(HOLDER))), HOLDER)

    def test_text(self) -> None:
        """The text names host, process and time."""
        self.assertEqual(str(HOLDER), "r7a (process 12, since 2026-03-01T10:00:00Z)")
        self.assertEqual(str(Holder()), "an unknown daemon")

    def test_bounds(self) -> None:
        """Long texts are cut, and a long value is ignored."""
        self.assertEqual(len(format_holder(Holder(host="x" * 500))["host"]), 64)
        self.assertEqual(len(parse_holder(encode({"host": "x" * 500})).host), 64)
        self.assertEqual(parse_holder(encode({"host": "x" * 5000})), Holder())

    def test_malformed(self) -> None:
        """Malformed values and fields are empty."""
        for value in (None, 5, "", "!", encode([]), encode("x"), encode(None)):
            self.assertEqual(parse_holder(value), Holder(), value)
        fields = {"host": ["x"], "pid": -1, "instance": 5, "version": None, "since": "a\u001bb"}
        self.assertEqual(parse_holder(encode(fields)), Holder(since="ab"))

    def test_reap_after(self) -> None:
        """The value of ``reap_after`` is written if it is known, and is None unless the configuration accepts it."""
        holder = replace(HOLDER, reap_after=86400.0)
        self.assertEqual(parse_holder(encode(format_holder(holder))), holder)
        self.assertNotIn("reap_after", format_holder(HOLDER))
        for value in (60, 60.0, 90.5, 31_536_000):
            self.assertEqual(parse_holder(encode({"reap_after": value})).reap_after, value)
        invalid = (59.9, 31_536_001, 0, -600, True, "600", None, [600], float("nan"), float("inf"), 10**400)
        for each in invalid:
            self.assertIsNone(parse_holder(encode({"reap_after": each})).reap_after, each)

    def test_reap_after_of_the_configuration(self) -> None:
        """The shortest and the longest value that the configuration accepts are valid, and no others."""
        for value, valid in ((59, False), (60, True), (31_536_000, True), (31_536_001, False)):
            content = {"ssdp": {"tags": {"A": ["urn:a"]}}, "backend": {"mode": "catalog", "reap_after": value}}
            try:
                parse(json.dumps(content))
            except ConfigError:
                self.assertFalse(valid, value)
            else:
                self.assertTrue(valid, value)
            self.assertEqual(parse_holder(encode({"reap_after": value})).reap_after is not None, valid, value)


class NamesTests(SynchronousTestCase):
    """Names of the key and of the node."""

    def test_key(self) -> None:
        """The key of a scope contains the scope as it is."""
        for scope in ("Rack 7", "a/b", "...", ".a", "ä"):
            self.assertEqual(scope_key(scope), f"ssdpreg/scopes/{scope}")

    def test_invalid_key(self) -> None:
        """A scope that Consul cannot have as a key is a fault of the configuration."""
        for scope in ("", ".", "..", "/a", "a/", "a//b", "a/../b"):
            self.assertRaises(ConfigError, scope_key, scope)

    def test_node(self) -> None:
        """A scope that is no valid node name in lower case is replaced by its digest."""
        self.assertEqual(lock_node("rack-7.example"), "ssdpreg-rack-7.example")
        digest = lock_node("0" * 32)
        for scope in ("Rack-7", "a b", "ä", "..", "a..b", "x" * 200, "", digest.removeprefix("ssdpreg-")):
            self.assertRegex(lock_node(scope), r"^ssdpreg-[0-9a-f]{32}$")
        names = {lock_node(scope) for scope in ("Rack-7", "rack-7", "RACK-7")}
        self.assertEqual(len(names), 3)
