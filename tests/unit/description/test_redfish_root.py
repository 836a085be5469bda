"""Tests for :mod:`ssdpreg.description.redfish_root`."""

from __future__ import annotations

import contextlib
import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.description.redfish_root import RedfishFacts, parse_redfish_root
from ssdpreg.errors import DescriptionError
from tests.support.paths import ROOT

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=5,
)


class RedfishRootTests(SynchronousTestCase):
    """Tests for :func:`parse_redfish_root`."""

    def test_service_root(self) -> None:
        """The facts are properties of the service root itself."""
        content = (ROOT / "tests" / "data" / "descriptions" / "redfish-root.json").read_bytes()
        self.assertEqual(
            parse_redfish_root(content),
            RedfishFacts("Example Corp.", "Rack Server 7", "1.15.0", "92384634-2938-2342-8820-489239905423"),
        )

    def test_other_types(self) -> None:
        """Properties of another type than text are absent."""
        content = b'{"RedfishVersion": 1.6, "Vendor": null, "Product": ["x"], "UUID": {"a": 1}}'
        self.assertEqual(parse_redfish_root(content), RedfishFacts())

    def test_encodings(self) -> None:
        """UTF-16 is accepted, too."""
        for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
            content = '{"@odata.id": "/redfish/v1/", "Vendor": "ä"}'.encode(encoding)
            self.assertEqual(parse_redfish_root(content).vendor, "ä")

    def test_rejected(self) -> None:
        """Other documents are rejected, however they are nested."""
        for content in (
            b"",
            b"[",
            b"[]",
            b"{}",
            b'"RedfishVersion"',
            b"[" * 200_000,
            b'{"RedfishVersion":' * 10_000,
            b'{"RedfishVersion": "\xff"}',
            b"<root/>",
        ):
            self.assertEqual(self.assertRaises(DescriptionError, parse_redfish_root, content).kind, "invalid")

    def test_long_number(self) -> None:
        """Numbers are not converted."""
        self.assertEqual(parse_redfish_root(b'{"RedfishVersion": ' + b"1" * 250_000 + b"}"), RedfishFacts())

    @settings(max_examples=120, deadline=None)
    @given(st.dictionaries(st.sampled_from(["RedfishVersion", "Vendor", "UUID", "x"]), _JSON), st.binary(max_size=3))
    def test_any_content(self, root: dict[str, object], after: bytes) -> None:
        """Any JSON, and any bytes after it, result in texts or in a rejection."""
        with contextlib.suppress(DescriptionError):
            facts = parse_redfish_root(json.dumps(root).encode() + after)
            self.assertTrue(all(isinstance(each, str) for each in (facts.vendor, facts.version, facts.uuid)))
