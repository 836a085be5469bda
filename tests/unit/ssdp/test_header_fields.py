"""Tests for :mod:`ssdpreg.ssdp.header_fields`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.ssdp.header_fields import parse_fields


class ParseFieldsTests(SynchronousTestCase):
    """Tests for :func:`parse_fields`."""

    def test_spellings(self) -> None:
        """A field has one name in all spellings, with and without blanks around it."""
        for spelling in ("CACHE-CONTROL", "Cache-Control", "cache-control", "cAcHe-CoNtRoL", "CACHE-CONTROL\t "):
            self.assertEqual(parse_fields(f"{spelling}:\tmax-age=5 \r\n"), {"CACHE-CONTROL": "max-age=5"}, spelling)

    def test_other_names(self) -> None:
        """A field of any other name is kept, unless its name has characters outside ASCII."""
        self.assertEqual(parse_fields("02-nls: a\nX: b\r\n\u017fT: c\n\xa0N\xa0: d\n"), {"02-NLS": "a", "X": "b"})

    def test_ignored_fields(self) -> None:
        """HOST, DATE and EXT are left out, together with the lines that continue them."""
        self.assertEqual(parse_fields("HOST: a\n b\nDate: c\r\n\td\r\nEXT:\r\n e\r\nST: f\r\n"), {"ST": "f"})

    def test_first_value(self) -> None:
        """Of two fields with the same name, the first one with a value counts. Their spellings may differ."""
        self.assertEqual(parse_fields("NT:\r\nnt: a\r\nNt: b\r\nnT: c\r\n d\r\n"), {"NT": "a"})

    def test_no_colon(self) -> None:
        """A line that consists of a known name has no value, and is not continued."""
        self.assertEqual(parse_fields("USN\r\n a\r\nNT: b\r\n"), {"NT": "b"})

    def test_end(self) -> None:
        """An empty line ends the header, and a blank line, too."""
        for line in ("", "\r", " \t\r", "\x0b"):
            self.assertEqual(parse_fields(f"NT: a\n{line}\nST: b\n"), {"NT": "a"})
