"""Tests for :mod:`ssdpreg.discovery.search_terms`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.search_terms import REDFISH, SearchTerm, SearchTerms, search_target

UPNP = "urn:schemas-upnp-org"


class SearchTermsTests(SynchronousTestCase):
    """Tests for :class:`SearchTerms`."""

    def assert_met(self, terms: list[str], nt: str, by: str | None) -> None:
        """Check which of some terms an announced type meets."""
        term = SearchTerms(dict.fromkeys(terms, "T")).match(nt)
        self.assertEqual(None if term is None else term.urn, by, (terms, nt))

    def test_same(self) -> None:
        """A term is met by itself, to the letter."""
        for urn in (f"{UPNP}:service:api:2.0", "urn:MalformedData", "roku:ecp", "upnp:rootdevice"):
            self.assert_met([urn], urn, urn)
        self.assert_met([f"{UPNP}:service:api:2.0"], f"{UPNP}:service:API:2.0", None)
        self.assert_met(["urn:a"], "urn:ab", None)

    def test_later_versions(self) -> None:
        """A whole-number version is met by itself and the later ones, the nearest first; never by an earlier one."""
        for kind in ("service", "device"):
            self.assert_met([f"{UPNP}:{kind}:T:1"], f"{UPNP}:{kind}:T:3", f"{UPNP}:{kind}:T:1")
            self.assert_met([f"{UPNP}:{kind}:T:2"], f"{UPNP}:{kind}:T:1", None)
            self.assert_met([f"{UPNP}:{kind}:T:1", f"{UPNP}:{kind}:T:2"], f"{UPNP}:{kind}:T:10", f"{UPNP}:{kind}:T:2")
        self.assert_met([f"{UPNP}:service:T:1"], f"{UPNP}:device:T:1", None)
        self.assert_met([f"{UPNP}:thing:T:1"], f"{UPNP}:thing:T:2", None)

    def test_dotted_versions(self) -> None:
        """A dotted version promises nothing."""
        self.assert_met([f"{UPNP}:service:api:1.1"], f"{UPNP}:service:api:2.0", None)
        self.assert_met([f"{UPNP}:service:api:2"], f"{UPNP}:service:api:2.0", None)
        self.assert_met(["urn:dmtf-org:service:redfish-rest:1.0"], REDFISH, None)

    def test_redfish(self) -> None:
        """A Redfish service announces its minor version too."""
        self.assert_met([REDFISH], f"{REDFISH}:5", REDFISH)
        self.assert_met([REDFISH], f"{REDFISH}:15", REDFISH)
        self.assert_met([REDFISH], f"{REDFISH}:x", None)

    def test_patterns(self) -> None:
        """The same URN wins over a version, a version over a pattern, a longer pattern over a shorter one."""
        terms = [f"{UPNP}:service:T:2", f"{UPNP}:service:T:1", f"{UPNP}:*", f"{UPNP}:service:*", "*"]
        self.assert_met(terms, f"{UPNP}:service:T:2", f"{UPNP}:service:T:2")
        self.assert_met(terms, f"{UPNP}:service:T:3", f"{UPNP}:service:T:2")
        self.assert_met(terms, f"{UPNP}:service:U:3", f"{UPNP}:service:*")
        self.assert_met(terms, f"{UPNP}:device:U:3", f"{UPNP}:*")
        self.assert_met(terms, "roku:ecp", "*")
        self.assert_met(["urn:ab*"], "urn:ab", "urn:ab*")
        self.assert_met(["urn:ab*"], "urn:ac", None)

    def test_patterns_take_no_rubbish(self) -> None:
        """A pattern lets no blanks, control characters or endless texts through."""
        self.assert_met(["*"], "a" * 255, "*")
        for nt in ("urn:a b", "urn:a\x00", "urn:ü", "a" * 256, ""):
            self.assert_met(["*"], nt, None)


class SearchTargetTests(SynchronousTestCase):
    """Tests for :func:`search_target`."""

    def test_asks_for_what_the_device_must_answer(self) -> None:
        """The term itself; where it is a pattern the announced type, of Redfish without its minor version."""
        self.assertEqual(
            search_target(SearchTerm(f"{UPNP}:service:T:1", "T"), f"{UPNP}:service:T:3"), f"{UPNP}:service:T:1"
        )
        self.assertEqual(search_target(SearchTerm("urn:*", "T"), "urn:a"), "urn:a")
        self.assertEqual(search_target(SearchTerm("urn:*", "T"), f"{REDFISH}:9"), REDFISH)
