"""Check of the test suite itself: every test method of a mixin or base class runs."""

from __future__ import annotations

import importlib
import pkgutil
import unittest
from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

import tests

#: Packages without tests, which need libraries of their own.
_TOOLS = ("tests.fuzz.", "tests.mutation.")


def test_cases() -> Iterator[type[unittest.TestCase]]:
    """Return every test case class that is defined in a module of this package."""
    for module in pkgutil.walk_packages(tests.__path__, f"{tests.__name__}."):
        if module.name.startswith(_TOOLS):
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, unittest.TestCase) and value.__module__ == module.name:
                yield value


def shadowed_tests(case: type) -> list[str]:
    """Return the names of test methods that a class or one of its bases redefines."""
    defined: set[str] = set()
    shadowed: set[str] = set()
    for base in case.__mro__:
        names = {name for name in vars(base) if name.startswith("test_")}
        shadowed |= defined & names
        defined |= names
    return sorted(shadowed)


class ShadowingTests(SynchronousTestCase):
    """Tests for test classes that redefine an inherited test, so that the inherited one never runs."""

    def test_no_shadowed_tests(self) -> None:
        """No test case class redefines a test method of a base class."""
        cases = list(test_cases())
        self.assertGreater(len(cases), 50)
        found = {f"{case.__module__}.{case.__qualname__}": shadowed_tests(case) for case in cases}
        self.assertEqual({name: names for name, names in found.items() if names}, {})

    def test_detection(self) -> None:
        """A redefined test is found also if it comes from two bases, and a new one is not."""

        class First:
            def test_a(self) -> None: ...

        class Second:
            def test_a(self) -> None: ...
            def test_b(self) -> None: ...

        class Redefined(First):
            def test_a(self) -> None: ...

        class Both(First, Second): ...

        class New(First):
            def test_c(self) -> None: ...

        self.assertEqual([shadowed_tests(case) for case in (Redefined, Both, New)], [["test_a"], ["test_a"], []])
