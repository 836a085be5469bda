"""Tests for :mod:`ssdpreg.discovery.search_terms`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.search_terms import REDFISH, SearchTerm, SearchTerms, search_target

UPNP = "urn:schemas-upnp-org"


class SearchTermsTests(SynchronousTestCase):
    """Tests for :class:`SearchTerms`."""

    def assert_match(self, terms: list[str], nt: str, by: str | None) -> None:
        """Check which of the terms matches an announced type."""
        term = SearchTerms(dict.fromkeys(terms, "T")).match(nt)
        self.assertEqual(None if term is None else term.urn, by, (terms, nt))

    def test_equal_urn(self) -> None:
        """A term matches an equal URN. The comparison is case-sensitive."""
        for urn in (f"{UPNP}:service:api:2.0", "urn:MalformedData", "roku:ecp", "upnp:rootdevice"):
            self.assert_match([urn], urn, urn)
        self.assert_match([f"{UPNP}:service:api:2.0"], f"{UPNP}:service:API:2.0", None)
        self.assert_match(["urn:a"], "urn:ab", None)

    def test_later_versions(self) -> None:
        """A whole-number version matches later versions, but no earlier one. The nearest term is preferred."""
        for kind in ("service", "device"):
            self.assert_match([f"{UPNP}:{kind}:T:1"], f"{UPNP}:{kind}:T:3", f"{UPNP}:{kind}:T:1")
            self.assert_match([f"{UPNP}:{kind}:T:2"], f"{UPNP}:{kind}:T:1", None)
            self.assert_match([f"{UPNP}:{kind}:T:1", f"{UPNP}:{kind}:T:2"], f"{UPNP}:{kind}:T:10", f"{UPNP}:{kind}:T:2")
        self.assert_match([f"{UPNP}:service:T:1"], f"{UPNP}:device:T:1", None)
        self.assert_match([f"{UPNP}:thing:T:1"], f"{UPNP}:thing:T:2", None)

    def test_dotted_versions(self) -> None:
        """A dotted version is matched by an equal URN only."""
        self.assert_match([f"{UPNP}:service:api:1.1"], f"{UPNP}:service:api:2.0", None)
        self.assert_match([f"{UPNP}:service:api:2"], f"{UPNP}:service:api:2.0", None)
        self.assert_match(["urn:dmtf-org:service:redfish-rest:1.0"], REDFISH, None)

    def test_redfish(self) -> None:
        """The term for Redfish matches announcements with a minor version."""
        self.assert_match([REDFISH], f"{REDFISH}:5", REDFISH)
        self.assert_match([REDFISH], f"{REDFISH}:15", REDFISH)
        self.assert_match([REDFISH], f"{REDFISH}:x", None)

    def test_patterns(self) -> None:
        """An equal URN precedes an earlier version, a version a pattern, and a longer pattern a shorter one."""
        terms = [f"{UPNP}:service:T:2", f"{UPNP}:service:T:1", f"{UPNP}:*", f"{UPNP}:service:*", "*"]
        self.assert_match(terms, f"{UPNP}:service:T:2", f"{UPNP}:service:T:2")
        self.assert_match(terms, f"{UPNP}:service:T:3", f"{UPNP}:service:T:2")
        self.assert_match(terms, f"{UPNP}:service:U:3", f"{UPNP}:service:*")
        self.assert_match(terms, f"{UPNP}:device:U:3", f"{UPNP}:*")
        self.assert_match(terms, "roku:ecp", "*")
        self.assert_match(["urn:ab*"], "urn:ab", "urn:ab*")
        self.assert_match(["urn:ab*"], "urn:ac", None)

    def test_longest_type(self) -> None:
        """A type of more than 255 characters matches no term, not even an equal one."""
        for length, matches in ((255, True), (256, False)):
            self.assert_match(["a" * length], "a" * length, "a" * length if matches else None)

    def test_characters_that_patterns_match(self) -> None:
        """A pattern matches blanks and asterisks, neither control characters nor texts of more than 255 characters."""
        self.assert_match(["*"], "a" * 255, "*")
        self.assert_match(["urn:schemas-mbs*"], "urn:schemas-mbs upnp device:service:URLService:1", "urn:schemas-mbs*")
        for term in ("urn:Belkin:*", "urn:Belkin:device:*", "urn:Belkin:device:**"):
            self.assert_match([term], "urn:Belkin:device:**", term)
        for nt in ("urn:a\tb", "urn:a\x00", "urn:ü", "a" * 256, ""):
            self.assert_match(["*"], nt, None)


class SearchTargetTests(SynchronousTestCase):
    """Tests for :func:`search_target`."""

    def test_targets(self) -> None:
        """The target is the term, or for a pattern the announced type, for Redfish without its minor version."""
        self.assertEqual(
            search_target(SearchTerm(f"{UPNP}:service:T:1", "T"), f"{UPNP}:service:T:3"), f"{UPNP}:service:T:1"
        )
        self.assertEqual(search_target(SearchTerm("urn:*", "T"), "urn:a"), "urn:a")
        self.assertEqual(search_target(SearchTerm("urn:*", "T"), f"{REDFISH}:9"), REDFISH)
