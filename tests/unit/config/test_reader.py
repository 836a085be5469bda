"""Tests for :mod:`ssdpreg.config.reader`, and for the kinds of values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.config import parse
from ssdpreg.config.reader import NOT_EMPTY, changed_paths, json_schema, read
from ssdpreg.config.values import Text
from ssdpreg.errors import ConfigError
from tests.unit.config.support import FULL, TAGS


@attrs.frozen
class Small:
    """
    Summary of the class,
    in two lines.

    More text.

    :ivar names: Some ``names``,
        by number.
    """

    names: Annotated[Mapping[Text, Text], NOT_EMPTY] | None = None


@attrs.frozen
class UnknownAnnotation:
    """A class with an annotation that the reader does not know."""

    value: complex


@attrs.frozen
class UnknownMark:
    """A class with a mark that the reader does not know."""

    value: Annotated[Text | None, NOT_EMPTY]


class ReadTests(SynchronousTestCase):
    """Tests for :func:`read`."""

    def test_first_fault_of_a_path(self) -> None:
        """Only the first fault of each path is reported."""
        error = self.assertRaises(ConfigError, read, {"names": {"": 5, "a": 5}}, Small)
        self.assertEqual(str(error), 'names[""]: is empty\nnames.a: 5 is not a string')

    def test_optional(self) -> None:
        """Null is the value of an optional key, also of one that must not be empty."""
        self.assertEqual(read({"names": None}, Small), Small())
        self.assertEqual(str(self.assertRaises(ConfigError, read, {"names": {}}, Small)), "names: is empty")

    def test_unknown_annotation(self) -> None:
        """An annotation that the reader does not know raises TypeError."""
        self.assertRaises(TypeError, read, {}, UnknownAnnotation)
        self.assertRaises(TypeError, read, {}, UnknownMark)


class JSONSchemaTests(SynchronousTestCase):
    """Tests for :func:`json_schema`."""

    def test_schema(self) -> None:
        """The schema has the descriptions of the docstring in one line, without markup."""
        text = {"type": "string", "minLength": 1}
        names = {"type": "object", "propertyNames": text, "additionalProperties": text, "minProperties": 1}
        self.assertEqual(
            json_schema(Small),
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "object",
                "description": "Summary of the class, in two lines.",
                "properties": {
                    "names": {
                        "anyOf": [names, {"type": "null"}],
                        "description": 'Some "names", by number.',
                        "default": None,
                    }
                },
                "required": [],
                "additionalProperties": False,
            },
        )


class ChangedPathsTests(SynchronousTestCase):
    """Tests for :func:`changed_paths`."""

    def changed(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
        """Return the changed paths between two files."""
        return changed_paths(parse(json.dumps(before)), parse(json.dumps(after)))

    def test_equal(self) -> None:
        """Equal configurations have no changed paths, however they are written."""
        self.assertEqual(self.changed(FULL, FULL), [])
        self.assertEqual(self.changed({"ssdp": TAGS}, {"ssdp": {**TAGS, "search": {"interval": "5m"}}}), [])

    def test_keys(self) -> None:
        """A changed key is reported with its own path; lists and mappings are reported as a whole."""
        ssdp = {"tags": {"A": ["urn:a"]}, "search": {"mx": 1}, "names": "dns"}
        self.assertEqual(
            self.changed({"ssdp": TAGS, "backend": {"token": "a"}}, {"ssdp": ssdp, "backend": {"token": "b"}}),
            ["ssdp.tags", "ssdp.search.mx", "ssdp.names", "backend.token"],
        )

    def test_backend_type(self) -> None:
        """A change of the backend's type, or of a plugin's options, is a change of the section."""
        plugin = {"ssdp": TAGS, "backend": {"type": "other", "key": 1}}
        self.assertEqual(self.changed({"ssdp": TAGS}, {"ssdp": TAGS, "backend": {"type": "embedded"}}), ["backend"])
        self.assertEqual(self.changed(plugin, {"ssdp": TAGS, "backend": {"type": "other", "key": 2}}), ["backend"])
        self.assertEqual(self.changed(plugin, {"ssdp": TAGS, "backend": {"type": "x", "key": 1}}), ["backend.type"])
