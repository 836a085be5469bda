"""Tests for :mod:`ssdpreg.web.status_query`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.registration import RegistrationRules
from ssdpreg.web.status_query import COLUMNS, MOST_OPEN, Filter, PageQuery, number_pages, parse_page_query
from tests.unit.web.test_status import make_live


class PageQueryTests(SynchronousTestCase):
    """Tests for :class:`PageQuery`, and :func:`parse_page_query`."""

    def test_round_trip(self) -> None:
        """The link of a query is parsed as the same query."""
        for query in (
            PageQuery(),
            PageQuery("a & b=c", "age", descending=True, number=7, opened=("x", "y")),
            *(PageQuery(column=column) for column in COLUMNS),
        ):
            self.assertEqual(parse_page_query(query.link().removeprefix("?")), query)

    def test_defaults_are_omitted(self) -> None:
        """Parameters with their default value are not in the link."""
        self.assertEqual(PageQuery().link(), "?")
        self.assertEqual(PageQuery("x", number=2).link(), "?q=x&page=2")

    def test_nonsense(self) -> None:
        """Values that cannot be read have no effect."""
        for text in (
            "sort=owner",
            "sort=-",
            "sort=--age",
            "page=-1",
            "page=x",
            "page=9999999",
            "page=%C2%B2",
            "open=",
            "x=y",
        ):
            self.assertEqual(parse_page_query(text), PageQuery(), text)

    def test_sort(self) -> None:
        """The order of a column is ascending first, then descending, and begins on the first page."""
        query = PageQuery("x", number=3, opened=("a",))
        ascending = query.sorted_by("age")
        self.assertEqual(ascending, PageQuery("x", "age", opened=("a",)))
        self.assertEqual(ascending.sorted_by("age"), PageQuery("x", "age", descending=True, opened=("a",)))
        self.assertEqual(ascending.sorted_by("age").sorted_by("age"), ascending)
        self.assertEqual(ascending.sorted_by("age").sorted_by("name"), PageQuery("x", "name", opened=("a",)))

    def test_toggle(self) -> None:
        """A service is opened and closed beside others, on the same page and in the same order."""
        query = PageQuery("x", "age", number=3).toggled("a").toggled("b")
        self.assertEqual(query, PageQuery("x", "age", number=3, opened=("a", "b")))
        self.assertEqual(query.toggled("a").opened, ("b",))
        self.assertEqual(query.with_number(4), PageQuery("x", "age", number=4))

    def test_long_text(self) -> None:
        """A filter is cut to 500 characters, and a word that is repeated counts once."""
        self.assertEqual(parse_page_query("q=" + "x" * 501), PageQuery("x" * 500))
        self.assertEqual(Filter("b a B b", ())._words, ["b", "a"])

    def test_limit(self) -> None:
        """The number of opened services is limited: those opened last stay."""
        names = tuple(f"s-{number}" for number in range(MOST_OPEN))
        self.assertEqual(PageQuery(opened=names).toggled("x").opened, (*names[1:], "x"))
        text = "&".join(f"open={name}" for name in ("x", *names, *names))
        self.assertEqual(parse_page_query(text).opened, names)


class FilterTests(SynchronousTestCase):
    """Tests for :class:`Filter`."""

    def test_words(self) -> None:
        """Each word must be in the name, device, address, tags, state or tag of the search term, in any case."""
        rules = RegistrationRules("rack-7", dns_names=True, tags=("Blue",))
        registration = rules.registration(make_live("dev-1", host="2001:db8::5").advertisement)
        for text, matches in {
            "": True,
            "DEV": True,
            "dev [2001:DB8::5]:80": True,
            "api-2-0": True,
            "refused": True,
            "fuse MY": True,
            "blue my_rack dev-1": True,
            "dev-2": False,
            "dev registered": False,
            "dev waiting blue": False,
            "lldp": False,
        }.items():
            found = Filter(text, ["My_Rack"]).matches(registration, lambda _: "refused", lambda _: "My_Rack")
            self.assertEqual(found, matches, text)

    def test_empty(self) -> None:
        """A text without words is no filter."""
        self.assertFalse(Filter("  ", []))
        self.assertTrue(Filter("a", []))


class NumberPagesTests(SynchronousTestCase):
    """Tests for :func:`number_pages`."""

    def test_pages(self) -> None:
        """A page has a hundred rows; for a number beyond the pages, the nearest page is shown."""
        for number, shown in ((1, 1), (3, 3), (9, 3), (0, 1)):
            self.assertEqual(number_pages(250, number), (shown, 3))
        self.assertEqual(number_pages(0, 1), (1, 1))
