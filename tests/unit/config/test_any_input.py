"""Tests for :mod:`ssdpreg.config` with generated input."""

from __future__ import annotations

# Trial interprets a "suppress" of the module as its own setting, so the name is not imported.
import contextlib
import copy
import json
from collections.abc import Iterator, Mapping
from functools import reduce
from operator import getitem
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ssdpreg.config import Config, normalised, parse
from ssdpreg.config.environment import VARIABLES
from ssdpreg.errors import ConfigError
from tests.unit.config.support import FULL, TAGS, ConfigTestCase

#: Texts of characters that have a meaning in some value, and of any other characters.
texts = st.text(st.sampled_from('10.5smh:/*[]-"\\ a') | st.characters(), max_size=12)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def paths_inside(raw: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value inside a JSON value."""
    for step in raw if isinstance(raw, dict) else range(len(raw)) if isinstance(raw, list) else ():
        yield (*path, step)
        yield from paths_inside(raw[step], (*path, step))


PATHS = list(paths_inside(FULL))


class AnyInputTests(ConfigTestCase):
    """:func:`parse` returns a configuration or raises :class:`ConfigError`, and no other exception."""

    def check(self, text: str, environ: Mapping[str, str] | None = None) -> None:
        """Parse a text. If it is valid, assert that the normalised form is valid, too."""
        try:
            config = parse(text, environ)
        except ConfigError as error:
            self.assertTrue(error.faults)
            # The message can be printed: it contains no surrogates.
            str(error).encode()
        else:
            self.assertIsInstance(parse(json.dumps(normalised(config))), Config)

    @given(st.text())
    @settings(derandomize=True, deadline=None, max_examples=100)
    def test_any_text(self, text: str) -> None:
        """The input is any text."""
        self.check(text)

    @given(json_values)
    @settings(derandomize=True, deadline=None, max_examples=100)
    def test_any_json(self, raw: object) -> None:
        """The input is any JSON."""
        self.check(json.dumps(raw))

    @given(st.lists(st.tuples(st.sampled_from(PATHS), json_values), min_size=1, max_size=3))
    @settings(derandomize=True, deadline=None, max_examples=300)
    def test_replaced_values(self, changes: list[tuple[tuple[Any, ...], object]]) -> None:
        """The input is a valid file in which some values are replaced by any JSON."""
        raw = copy.deepcopy(FULL)
        for (*above, last), value in changes:
            # An earlier change may have removed the path.
            with contextlib.suppress(LookupError, TypeError):
                reduce(getitem, above, raw)[last] = value
        self.check(json.dumps(raw))

    @given(st.dictionaries(st.sampled_from([*VARIABLES.values(), "CONSUL_HTTP_SSL"]), texts))
    @settings(derandomize=True, deadline=None, max_examples=100)
    def test_any_environment(self, environ: dict[str, str]) -> None:
        """The input is a valid file with any environment."""
        self.check(json.dumps({"ssdp": TAGS}), environ)
