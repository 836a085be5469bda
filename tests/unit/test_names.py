"""Tests for the names of classes: one name has one meaning in the whole project."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping

from twisted.trial.unittest import SynchronousTestCase

from tests.unit.test_layers import Source, make_sources, read_sources

#: Names that may be defined in several packages. ``Options`` is the name that Twisted gives to the options of a plugin.
_ALLOWED = frozenset({"Options"})


def defined_types(source: Source) -> Iterator[str]:
    """Yield the public classes and aliases of types that a module defines."""
    for node in ast.parse(source.text, source.path).body:
        match node:
            case ast.ClassDef(name=name):
                names = [name]
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                names = [name]
            case _:
                names = []
        # Constants are in capitals, private names begin with an underscore.
        yield from (name for name in names if re.fullmatch(r"[A-Z]\w*[a-z]\w*", name))


def find_duplicates(sources: Mapping[str, Source]) -> dict[str, list[str]]:
    """Return the modules in different packages that define a class or an alias of the same name, by name."""
    modules: dict[str, list[Source]] = {}
    for source in sources.values():
        for name in defined_types(source):
            modules.setdefault(name, []).append(source)
    return {
        name: [source.name for source in defining]
        for name, defining in modules.items()
        if len({source.layer for source in defining}) > 1
    }


class NamesTests(SynchronousTestCase):
    """Tests for the names in the installed modules."""

    def test_one_meaning(self) -> None:
        """No two packages define a public class or an alias of a type with the same name."""
        duplicates = find_duplicates(read_sources())
        expected = _ALLOWED
        self.assertEqual({name: modules for name, modules in duplicates.items() if name not in expected}, {})
        self.assertEqual(expected - duplicates.keys(), set())


class DuplicateSearchTests(SynchronousTestCase):
    """Tests for the functions of this module, with small sources."""

    def test_duplicates(self) -> None:
        """Classes and aliases of the same name are found in different packages."""
        sources = make_sources(web__page="class Event: ...", discovery__table="Event = int | str")
        self.assertEqual(find_duplicates(sources), {"Event": ["ssdpreg.discovery.table", "ssdpreg.web.page"]})

    def test_other_names(self) -> None:
        """Private names, constants, names in functions, and names within one package may be equal."""
        text = "class _Event: ...\nLIMIT = 1\ndef make():\n    class Event: ..."
        self.assertEqual(find_duplicates(make_sources(web__page=text, discovery__table=text)), {})
        self.assertEqual(find_duplicates(make_sources(web__page="class A1b: ...", web__root="class A1b: ...")), {})
