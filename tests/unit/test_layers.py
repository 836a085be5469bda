"""Tests for the order of the packages: each imports only from those below it, and no modules import each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from twisted.trial.unittest import SynchronousTestCase

from tests.support.paths import ROOT

#: Packages and single modules from top to bottom. ``docs/architecture.md`` has the same list with explanations.
LAYERS = (
    "twisted.plugins",
    "ssdpreg.testing",
    "ssdpreg.__main__",
    "ssdpreg.cli",
    "ssdpreg.daemon",
    "ssdpreg.announcer",
    "ssdpreg.web",
    "ssdpreg.description",
    "ssdpreg.registry",
    "ssdpreg.reconciler",
    "ssdpreg.backends",
    "ssdpreg.config",
    "ssdpreg.interfaces",
    "ssdpreg.registration",
    "ssdpreg.discovery",
    "ssdpreg.ssdp",
    "ssdpreg.timers",
    "ssdpreg.values",
    "ssdpreg.errors",
    # The package itself: it contains the version and imports nothing.
    "ssdpreg",
)


@dataclass(frozen=True)
class Source:
    """
    A module of the project.

    :ivar name: Dotted name, such as ``ssdpreg.web.page``. A package has the name of its folder.
    :ivar path: Path of the file, for messages.
    :ivar is_package: Whether the file is an ``__init__.py``.
    """

    name: str
    path: str
    text: str = field(repr=False)
    is_package: bool = False

    @property
    def layer(self) -> str:
        """Entry of :data:`LAYERS`, or the first two parts of the name if there is no such entry."""
        return ".".join(self.name.split(".")[:2])


@dataclass(frozen=True)
class Import:
    """
    One import of a module of the project by another.

    :ivar line: Line number of the statement in ``source``.
    """

    source: Source
    target: Source
    line: int

    def __str__(self) -> str:
        return (
            f"{self.source.path}:{self.line}: {self.source.layer} imports {self.target.layer}"
            f" ({self.source.name} imports {self.target.name})"
        )


def read_sources() -> dict[str, Source]:
    """Return all modules that the project installs, by name."""
    sources = {}
    for path in sorted([*(ROOT / "ssdpreg").rglob("*.py"), *(ROOT / "twisted").rglob("*.py")]):
        relative = path.relative_to(ROOT)
        is_package = path.name == "__init__.py"
        name = ".".join(relative.parent.parts if is_package else relative.with_suffix("").parts)
        sources[name] = Source(name, str(relative), path.read_text(), is_package)
    return sources


def find_imports(source: Source, sources: Mapping[str, Source]) -> Iterator[Import]:
    """
    Return the imports of modules of the project, also those in functions and those for type checkers.

    :param sources: All modules of the project, by name.
    """
    for node in ast.walk(ast.parse(source.text, source.path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = source.name.split(".")
            # One dot is the package of the module, each further dot the package above.
            kept = len(parts) - node.level + source.is_package
            base = ".".join([*(parts[:kept] if node.level else []), *([node.module] if node.module else [])])
            # "from a import b" imports the module a.b if there is one, otherwise the module a.
            names = [name if (name := f"{base}.{alias.name}") in sources else base for alias in node.names]
        else:
            continue
        for name in dict.fromkeys(names):
            if name in sources:
                yield Import(source, sources[name], node.lineno)


def find_upward_imports(sources: Mapping[str, Source]) -> list[Import]:
    """Return the imports that point to a package which stands higher in :data:`LAYERS` than the importing one."""
    return [
        found
        for source in sources.values()
        for found in find_imports(source, sources)
        if LAYERS.index(found.target.layer) < LAYERS.index(source.layer)
    ]


def find_cycle(sources: Mapping[str, Source]) -> list[Import]:
    """Return imports of which each begins in the module where the one before ends, and the last ends in the first."""
    finished: set[str] = set()
    trail: list[Import] = []

    def visit(source: Source, open_modules: tuple[str, ...]) -> list[Import]:
        for found in find_imports(source, sources):
            name = found.target.name
            if name in open_modules:
                return [*trail[open_modules.index(name) :], found]
            if name not in finished:
                trail.append(found)
                if cycle := visit(found.target, (*open_modules, name)):
                    return cycle
                trail.pop()
        finished.add(source.name)
        return []

    for source in sources.values():
        if source.name not in finished and (cycle := visit(source, (source.name,))):
            return cycle
    return []


class LayersTests(SynchronousTestCase):
    """Tests for the imports of the installed modules."""

    def setUp(self) -> None:
        self.sources = read_sources()

    def test_layers_are_complete(self) -> None:
        """Every package has a place in the order, and every place has a package."""
        layers = {source.layer for source in self.sources.values()}
        self.assertEqual(sorted(layers), sorted(LAYERS))

    def test_no_upward_import(self) -> None:
        """No package imports from a package above it."""
        self.assertEqual([str(found) for found in find_upward_imports(self.sources)], [])

    def test_no_cycle(self) -> None:
        """No module imports, directly or through other modules, a module that imports it."""
        self.assertEqual([str(found) for found in find_cycle(self.sources)], [])

    def test_imports_are_found(self) -> None:
        """The number of imports is plausible: a search that finds none would make the other tests pass."""
        imports = [found for source in self.sources.values() for found in find_imports(source, self.sources)]
        self.assertGreater(len(imports), len(self.sources))


def make_sources(**texts: str) -> dict[str, Source]:
    """
    Return sources for the tests below.

    :param texts: Source texts by the name of the module below ``ssdpreg``, with ``__`` in place of a dot.
    """
    names = {f"ssdpreg.{name.replace('__', '.')}": text for name, text in texts.items()}
    packages = {name.rpartition(".")[0] for name in names}
    return {
        name: Source(name, f"{name.replace('.', '/')}.py", names.get(name, ""), name in packages)
        for name in sorted({*names, *packages})
    }


class ImportSearchTests(SynchronousTestCase):
    """Tests for the functions of this module, with small sources."""

    def assert_upward(self, text: str, line: int = 1) -> None:
        """Assert that an import in ``ssdpreg/discovery/table.py`` is reported, with its line and both packages."""
        upward = find_upward_imports(make_sources(discovery__table=text, web__page="", registry=""))
        self.assertEqual(len(upward), 1)
        self.assertRegex(
            str(upward[0]),
            rf"^ssdpreg/discovery/table\.py:{line}: ssdpreg\.discovery imports ssdpreg\.(web|registry) ",
        )

    def test_spellings(self) -> None:
        """Every spelling of an import is found."""
        self.assert_upward("import ssdpreg.registry")
        self.assert_upward("import os, ssdpreg.web.page as page")
        self.assert_upward("from ssdpreg import registry")
        self.assert_upward("from ssdpreg.registry import Registry")
        self.assert_upward("from ssdpreg.web import page")
        self.assert_upward("from .. import registry")
        self.assert_upward("from ..web.page import Page")

    def test_depth(self) -> None:
        """Imports in functions and under ``TYPE_CHECKING`` are found."""
        self.assert_upward("def show():\n    import ssdpreg.registry", line=2)
        self.assert_upward("if TYPE_CHECKING:\n    from ssdpreg.web.page import Page", line=2)

    def test_downward(self) -> None:
        """Imports from the same package and from those below are accepted."""
        text = "from ssdpreg import errors\nfrom ssdpreg.registry import Registry\nfrom .rows import Row"
        sources = make_sources(web__page=text, web__rows="", registry="", errors="")
        self.assertEqual(len(list(find_imports(sources["ssdpreg.web.page"], sources))), 3)
        self.assertEqual(find_upward_imports(sources), [])
        self.assertEqual(find_cycle(sources), [])

    def test_cycle(self) -> None:
        """A cycle is reported by its imports, without the imports that lead to it."""
        cycle = find_cycle(
            make_sources(
                web__a="import ssdpreg.web.b",
                web__b="import ssdpreg.web.c",
                web__c="import ssdpreg.web.d",
                web__d="\nfrom ssdpreg.web import b",
            )
        )
        self.assertEqual(
            [f"{found.source.name} {found.line} {found.target.name}" for found in cycle],
            ["ssdpreg.web.b 1 ssdpreg.web.c", "ssdpreg.web.c 1 ssdpreg.web.d", "ssdpreg.web.d 2 ssdpreg.web.b"],
        )

    def test_package_and_its_module(self) -> None:
        """A package that imports its own module is part of a cycle if the module imports from the package."""
        sources = make_sources(web="from ssdpreg.web.page import Page", web__page="from ssdpreg.web import Page")
        self.assertEqual(len(find_cycle(sources)), 2)
