"""Tests for :mod:`ssdpreg.web.filter_syntax`. ``tests/system/test_consul_api.py`` compares with a real Consul."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.web.filter_syntax import (
    DEEPEST,
    EQUAL,
    IN,
    IS_EMPTY,
    IS_NOT_EMPTY,
    LONGEST,
    MATCHES,
    MOST_TERMS,
    NOT_EQUAL,
    NOT_IN,
    NOT_MATCHES,
    AllOf,
    AnyOf,
    FilterError,
    FilterLimitError,
    Not,
    Term,
    parse_expression,
)


class ParseExpressionTests(SynchronousTestCase):
    """Tests for :func:`parse_expression`."""

    def test_terms(self) -> None:
        """Each operator has its spelling, and ``in`` has the selector on its right side."""
        for text, term in {
            "a == 1": Term(["a"], EQUAL, "1"),
            "a!=1": Term(["a"], NOT_EQUAL, "1"),
            "a.b contains x": Term(["a", "b"], IN, "x"),
            "a not contains x": Term(["a"], NOT_IN, "x"),
            "x in a": Term(["a"], IN, "x"),
            '"x y"\tnot\nin a': Term(["a"], NOT_IN, "x y"),
            "-1.50 in a": Term(["a"], IN, "-1.50"),
            "a is empty": Term(["a"], IS_EMPTY),
            "a is not empty": Term(["a"], IS_NOT_EMPTY),
            "a matches `^x$`": Term(["a"], MATCHES, "^x$"),
            "a not matches x": Term(["a"], NOT_MATCHES, "x"),
        }.items():
            self.assertEqual(parse_expression(text), term, text)

    def test_selectors(self) -> None:
        """A key of a mapping is a name after a dot, or a string in brackets."""
        for text in ("a.b.c", 'a["b"].c', 'a[ `b` ]["c"]'):
            self.assertEqual(parse_expression(f"{text} == x"), Term(["a", "b", "c"], EQUAL, "x"), text)

    def test_values(self) -> None:
        """A value is a string, a number or a name, with the escape sequences of Go in double quotes only."""
        for text, value in {
            "x.y": "x.y",
            'x["y z"]': "x.y z",
            '""': "",
            '`a\\n"b"`': 'a\\n"b"',
            "`a\r\nb`": "a\nb",
            r'"\a\b\f\n\r\t\v\\"': "\a\b\f\n\r\t\v\\",
            r'"\x41\101\u00e9\U0001F600\xc3\xa9"': "AAé\U0001f600é",
            '"é"': "é",
        }.items():
            self.assertEqual(parse_expression(f"a == {text}"), Term(["a"], EQUAL, value), text)

    def test_precedence(self) -> None:
        """``not`` binds most and ``or`` least, and parentheses change that."""
        a, b, c = (Term([name], EQUAL, "1") for name in "abc")
        for text, expression in {
            "a==1 or b==1 and c==1": AnyOf([a, AllOf([b, c])]),
            "a==1 and b==1 or c==1": AnyOf([AllOf([a, b]), c]),
            "( a==1 or b==1 ) and c==1": AllOf([AnyOf([a, b]), c]),
            "not a==1 and b==1": AllOf([Not(a), b]),
            "not (a==1 and (b==1))": Not(AllOf([a, b])),
            " a==1 ": a,
        }.items():
            self.assertEqual(parse_expression(text), expression, text)

    def test_name_of_a_word(self) -> None:
        """A word of the language is a name where no such word can be."""
        for text, expression in {
            "not in a": Term(["a"], IN, "not"),
            "not not in a": Not(Term(["a"], IN, "not")),
            "not == 1": Term(["not"], EQUAL, "1"),
            "(not == 1 and in is empty)": AllOf([Term(["not"], EQUAL, "1"), Term(["in"], IS_EMPTY)]),
            "not in == 1": Not(Term(["in"], EQUAL, "1")),
            "or == and": Term(["or"], EQUAL, "and"),
        }.items():
            self.assertEqual(parse_expression(text), expression, text)
        parse_expression(" and ".join(["not in a"] * MOST_TERMS))

    def test_errors(self) -> None:
        """The error has the line, the column and the offset in bytes of the character that does not fit."""
        for text, problem in {
            "": "1:1 (0): expected a selector, a number or a string",
            "a": "1:2 (1): expected an operator",
            "a > 1": "1:3 (2): expected an operator",
            "1 == a": "1:3 (2): expected in or not in",
            "1 in 2": "1:6 (5): Invalid selector",
            "a == 1 b": "1:8 (7): expected and, or, or the end of the expression",
            "a == 1 and": "1:8 (7): expected and, or, or the end of the expression",
            "a == 1 and ": "1:12 (11): expected a selector, a number or a string",
            "a == 1\nand (b == 1": "2:12 (18): Unmatched parentheses",
            "a == 1)": "1:7 (6): expected and, or, or the end of the expression",
            "not a": "1:6 (5): expected an operator",
            "not not (a == 1 or b)": "1:21 (20): expected an operator",
            "not(a == 1)": "1:4 (3): expected an operator",
            "a == 01": "1:7 (6): Invalid number literal",
            "a == 1x": "1:7 (6): Invalid number literal",
            "a == -": "1:6 (5): expected a selector, a number or a string",
            "a == 'x'": "1:6 (5): expected a selector, a number or a string",
            'a == "é" == `': "1:10 (10): expected and, or, or the end of the expression",
            'a == "x': "1:6 (5): Unterminated string literal",
            "a == `x": "1:6 (5): Unterminated string literal",
            'a == "\\q"': "1:6 (5): invalid syntax",
            'a == "\\"': "1:6 (5): invalid syntax",
            'a == "\\ud800"': "1:6 (5): invalid syntax",
            'a == "\\U00110000"': "1:6 (5): invalid syntax",
            'a == "\\477"': "1:6 (5): invalid syntax",
            'a == "x\ny"': "1:6 (5): invalid syntax",
            "a[b] == 1": "1:3 (2): Invalid index",
            'a["b" == 1': "1:7 (6): Unclosed index expression",
            "a. == 1": "1:4 (3): expected a name",
            "a.1 == 1": "1:3 (2): expected a name",
        }.items():
            error = self.assertRaises(FilterError, parse_expression, text)
            self.assertEqual(str(error), problem, text)
            self.assertNotIsInstance(error, FilterLimitError)

    def test_limits(self) -> None:
        """Length, depth and number of comparisons have limits."""
        for longest, longer, problem in (
            (f"a == {'x' * (LONGEST - 5)}", f"a == {'x' * (LONGEST - 4)}", "Length of the expression (4097)"),
            (" or ".join(["a==1"] * MOST_TERMS), " or ".join(["a==1"] * (MOST_TERMS + 1)), "Number of match"),
            ("not " * (DEEPEST - 1) + "a==1", "not " * DEEPEST + "a==1", "Depth"),
            ("(" * (DEEPEST - 1) + "a==1" + ")" * (DEEPEST - 1), "(" * 2000, "Depth"),
        ):
            parse_expression(longest)
            error = self.assertRaises(FilterLimitError, parse_expression, longer)
            self.assertIn(problem, str(error))

    def test_any_text(self) -> None:
        """Any text is an expression, or has an error of the parser."""
        random = Random(1)
        tokens = (
            *("a", "b.c", "and", "or", "not", "in", "is", "empty", "contains", "matches", "==", "!=", "(", ")", "["),
            *("]", '"', "`", "\\", "x", "u", "-", "0", "1", ".", " ", " ", " ", "\n", "é", "\ufffd", "\x00"),
        )
        texts = ("".join(random.choices(tokens, k=random.randrange(12))) for _ in range(20_000))
        self.assertGreater(sum(_is_valid(text) for text in texts), 0)


def _is_valid(text: str) -> bool:
    """Return whether a text is an expression. Any error but that of the parser fails the test."""
    try:
        parse_expression(text)
    except FilterError:
        return False
    return True
