"""Tests for :mod:`ssdpreg.registration.meta`."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.advertisement import DEFAULT_MAX_AGE, LONGEST_MAX_AGE, Advertisement
from ssdpreg.discovery.interpret import interpreter
from ssdpreg.discovery.location import LocationRules
from ssdpreg.discovery.search_terms import SearchTerms
from ssdpreg.registration.meta import (
    FACT_KEYS,
    META_DEVICE,
    META_LOCATION,
    META_MAX_AGE,
    META_NT,
    META_SCOPE,
    META_SERVER,
    META_SOURCE,
    META_USN,
    facts_by_name,
    from_meta,
    make_facts,
    max_age_of,
    to_meta,
)
from ssdpreg.ssdp.messages import Alive

API = "urn:schemas-upnp-org:service:api:2.0"

#: Characters of any script that a LOCATION and a device ID may contain.
PRINTABLE = st.characters().filter(str.isprintable)

interpret = interpreter(SearchTerms({API: "RackHD", "urn:x:*": "X"}), LocationRules([ip_network("0.0.0.0/0")]))


def advertise(
    device_id: str = "D",
    nt: str = API,
    location: str = "http://10.0.0.5:8080/",
    max_age: int = 30,
    server: str = "Linux/6 UPnP/2.0",
) -> Advertisement:
    """Return the advertisement in an acceptable ``ssdp:alive``, whose sender is the host of its LOCATION."""
    meaning = interpret(Alive(nt, f"uuid:{device_id}::{nt}", location, max_age, server), "10.0.0.5")
    assert isinstance(meaning, Advertisement)
    return meaning


ADVERTISEMENT = advertise()
META = to_meta(ADVERTISEMENT, "rack-7")


class FactsTests(SynchronousTestCase):
    """Tests for :func:`make_facts` and :func:`facts_by_name`."""

    def test_text(self) -> None:
        """Facts are printable, without line breaks and empty values, and as long as Consul accepts."""
        values = {
            "ssdp-friendly-name": " a\r\n\tb\x00\x1b[2J\u202e\ud800 ",
            "ssdp-manufacturer": " \n\x00",
            "ssdp-model": "ä" * 1000,
            "ssdp-serial": "",
            "redfish-uuid": "u",
            "other": "x",
            "ssdp-usn": "x",
        }
        facts = {"ssdp-friendly-name": "a b[2J", "ssdp-model": "ä" * 256, "redfish-uuid": "u"}
        self.assertEqual(make_facts(values), facts)
        self.assertEqual(make_facts(facts), facts)

    def test_all_keys(self) -> None:
        """All facts are kept, and have names of their own."""
        facts = dict.fromkeys(FACT_KEYS, "x")
        meta = to_meta(ADVERTISEMENT, "rack-7", facts)
        self.assertEqual(meta, {**META, **facts})
        self.assertEqual(make_facts(meta), facts)
        self.assertEqual(
            list(facts_by_name(meta)),
            [
                *("friendly_name", "manufacturer", "model", "serial", "presentation_url"),
                *("redfish_vendor", "redfish_product", "redfish_version", "redfish_uuid"),
            ],
        )
        self.assertEqual(from_meta(meta, "10.0.0.5", interpret), ADVERTISEMENT)


class ToMetaTests(SynchronousTestCase):
    """Tests for :func:`to_meta`."""

    def test_shared(self) -> None:
        """Text that needs no change is shared with the advertisement, so that it uses memory once."""
        for key, value in ((META_DEVICE, ADVERTISEMENT.device_id), (META_SERVER, ADVERTISEMENT.server)):
            self.assertIs(META[key], value)

    def test_keys(self) -> None:
        """Each fact of an advertisement has the key that is documented for it."""
        self.assertEqual(
            META,
            {
                "external-source": "ssdpreg",
                "ssdpreg-scope": "rack-7",
                "ssdp-device": "D",
                "ssdp-usn": f"uuid:D::{API}",
                "ssdp-nt": API,
                "ssdp-location": "http://10.0.0.5:8080/",
                "ssdp-server": "Linux/6 UPnP/2.0",
                "ssdp-max-age": "30",
            },
        )
        self.assertEqual(
            list(META),
            [META_SOURCE, META_SCOPE, META_DEVICE, META_USN, META_NT, META_LOCATION, META_SERVER, META_MAX_AGE],
        )

    def test_control_characters(self) -> None:
        """Control characters, invisible formatting characters and undecodable bytes are removed."""
        meta = to_meta(replace(ADVERTISEMENT, server="a\x00b\r\nc\u202ed\x7fe\udc80"), "rack-7")
        self.assertEqual(meta[META_SERVER], "abcde")

    def test_limit(self) -> None:
        """A value of 512 bytes is stored whole, and a longer one is truncated at 512 bytes."""
        for length, stored in {511: 511, 512: 512, 513: 512, 5000: 512}.items():
            meta = to_meta(replace(ADVERTISEMENT, server="a" * length), "rack-7")
            self.assertEqual(meta[META_SERVER], "a" * stored)

    def test_limit_at_a_character_boundary(self) -> None:
        """A character of which some bytes are beyond the limit is removed as a whole."""
        for character in ("é", "電", "\U0001d538"):
            width = len(character.encode())
            for offset in range(width):
                meta = to_meta(replace(ADVERTISEMENT, server="a" * offset + character * 300), "rack-7")
                self.assertEqual(meta[META_SERVER], "a" * offset + character * ((512 - offset) // width))

    @settings(derandomize=True, deadline=None)
    @given(st.text(max_size=700))
    def test_any_text(self, text: str) -> None:
        """Any text becomes a printable value of 512 bytes at most, and a short printable text is not changed."""
        value = to_meta(replace(ADVERTISEMENT, server=text), "rack-7")[META_SERVER]
        self.assertTrue(value.isprintable() and len(value.encode()) <= 512)
        if text.isprintable() and len(text.encode()) <= 512:
            self.assertEqual(value, text)


class FromMetaTests(SynchronousTestCase):
    """Tests for :func:`from_meta`."""

    def test_inverse(self) -> None:
        """The advertisement that was written to Meta is read from it, for exact terms and for patterns."""
        for advertisement in (
            ADVERTISEMENT,
            advertise(nt="urn:x:service:pump:1"),
            advertise(server="", max_age=1),
            advertise(max_age=LONGEST_MAX_AGE),
        ):
            self.assertEqual(from_meta(to_meta(advertisement, "rack-7"), "10.0.0.5", interpret), advertisement)

    @settings(derandomize=True, deadline=None)
    @given(
        st.text(PRINTABLE, min_size=1, max_size=60),
        st.text(PRINTABLE, max_size=100),
        st.text(PRINTABLE, max_size=100),
        st.integers(1, LONGEST_MAX_AGE),
    )
    def test_inverse_for_any_script(self, device_id: str, path: str, server: str, max_age: int) -> None:
        """The device ID, the path of the LOCATION and the SERVER field are read as written, in any script."""
        advertisement = advertise(f"#{device_id}", location=f"http://10.0.0.5/{path}", server=server, max_age=max_age)
        self.assertEqual(from_meta(to_meta(advertisement, "rack-7"), "10.0.0.5", interpret), advertisement)

    def test_address_is_the_sender(self) -> None:
        """The address of the service counts as the sender when its LOCATION is checked."""
        meta = {**META, META_LOCATION: "http://127.0.0.1:8080/"}
        self.assertIsNotNone(from_meta(meta, "127.0.0.1", interpret))
        self.assertIsNone(from_meta(meta, "10.0.0.5", interpret))

    def test_unacceptable(self) -> None:
        """Meta that is empty or incomplete, or whose type no term matches, gives no advertisement."""
        for meta in ({}, {**META, META_NT: "urn:y"}, {**META, META_USN: ""}, {**META, META_LOCATION: ""}):
            self.assertIsNone(from_meta(meta, "10.0.0.5", interpret))

    def test_unreadable_max_age(self) -> None:
        """An unreadable max-age is replaced by the default. A max-age of 0 does not end the service."""
        for max_age in ("", "0", "-1", "1.5", "abc", "\uff13\uff10", "123456"):
            advertisement = from_meta({**META, META_MAX_AGE: max_age}, "10.0.0.5", interpret)
            assert advertisement is not None
            self.assertEqual(advertisement.max_age, DEFAULT_MAX_AGE)


class MaxAgeOfTests(SynchronousTestCase):
    """Tests for :func:`max_age_of`."""

    def test_readable(self) -> None:
        """The max-age is the number in the Meta."""
        self.assertEqual((max_age_of(META, 7), max_age_of({META_MAX_AGE: "86400"}, 7)), (30, 86400))

    def test_default(self) -> None:
        """A missing or unreadable max-age is replaced by the default of the caller."""
        for meta in ({}, *({META_MAX_AGE: text} for text in ("", "0", "-1", "030", "3 0", "\uff13\uff10", "123456"))):
            self.assertEqual(max_age_of(meta, 7), 7)
