"""Tests for :mod:`ssdpreg.web.json_stream`."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.web.json_stream import JSONWriter

_VALUES: list[Any] = [{"a": [1, {"b": "\n"}]}, "é", None, [], {}]


def batches(values: list[Any], size: int) -> list[list[Any]]:
    """Divide values into batches, with an empty one at each end."""
    return [[], *(values[first : first + size] for first in range(0, len(values), size)), []]


class JSONWriterTests(SynchronousTestCase):
    """Tests for :class:`JSONWriter`, in comparison with :func:`json.dumps`."""

    def check(self, method: str, given: list[Any], value: Any) -> None:
        """Check the text of a document, with and without indentation, in batches of any size."""
        for size in (1, 2, 9):
            compact, pretty = JSONWriter(), JSONWriter(pretty=True)
            pieces = list(compact.document(getattr(compact, method)(batches(given, size))))
            self.assertEqual(b"".join(pieces).decode(), json.dumps(value, ensure_ascii=False, separators=(",", ":")))
            self.assertEqual(pieces[0], b"")
            text = b"".join(pretty.document(getattr(pretty, method)(batches(given, size)))).decode()
            self.assertEqual(text, json.dumps(value, ensure_ascii=False, indent=4) + "\n")

    def test_array(self) -> None:
        """An array in pieces is the array in one piece."""
        self.check("array", _VALUES, _VALUES)
        self.check("array", [], [])

    def test_object(self) -> None:
        """An object in pieces is the object in one piece."""
        pairs = [(f"name {number}", value) for number, value in enumerate(_VALUES)]
        self.check("object", pairs, dict(pairs))
        self.check("object", [], {})

    def test_object_around(self) -> None:
        """An object that contains an object in pieces is the object in one piece."""
        expected = {"Node": {"ID": ""}, "Services": {"a": {"b": 1}, "c": 2}}
        pairs = [("a", {"b": 1}), ("c", 2)]
        for writer, text in (
            (JSONWriter(), json.dumps(expected, separators=(",", ":"))),
            (JSONWriter(pretty=True), json.dumps(expected, indent=4) + "\n"),
        ):
            pieces = writer.object_around("Node", {"ID": ""}, "Services", batches(pairs, 1))
            self.assertEqual(b"".join(writer.document(pieces)).decode(), text)
