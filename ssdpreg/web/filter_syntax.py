"""Parser of Consul's filter expressions, the language of ``?filter=``. Pure functions."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

#: Characters of an expression.
LONGEST = 4096
#: Comparisons in an expression.
MOST_TERMS = 64
#: Parentheses and ``not`` around one another.
DEEPEST = 32

#: Operators in the words of Consul's error messages. ``contains`` is ``in`` with the selector on its left side.
EQUAL, NOT_EQUAL = "Equal", "Not Equal"
IN, NOT_IN = "In", "Not In"
IS_EMPTY, IS_NOT_EMPTY = "Is Empty", "Is Not Empty"
MATCHES, NOT_MATCHES = "Matches", "Not Matches"
#: Operators whose result is the negation of another one's.
NEGATIONS = frozenset({NOT_EQUAL, NOT_IN, IS_NOT_EMPTY, NOT_MATCHES})

_SPACE = r"[ \t\r\n]"
_OPTIONAL_SPACE = re.compile(f"{_SPACE}*")
_NOT = re.compile(f"not{_SPACE}+")
_AND = re.compile(f"{_SPACE}+and{_SPACE}+")
_OR = re.compile(f"{_SPACE}+or{_SPACE}+")
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_AFTER_NUMBER = re.compile(rf"{_SPACE}|\)|\Z")
_STRING = re.compile(r'`([^`]*)`|"([^"]*)"')
_INDEX_START = re.compile(rf"\[{_SPACE}*")
_INDEX_END = re.compile(rf"{_SPACE}*\]")
_IN_OPERATOR = (
    (re.compile(f"{_SPACE}+in{_SPACE}+"), IN),
    (re.compile(f"{_SPACE}+not{_SPACE}+in{_SPACE}+"), NOT_IN),
)
_EMPTY_OPERATOR = (
    (re.compile(f"{_SPACE}+is{_SPACE}+empty"), IS_EMPTY),
    (re.compile(f"{_SPACE}+is{_SPACE}+not{_SPACE}+empty"), IS_NOT_EMPTY),
)
_VALUE_OPERATOR = (
    (re.compile(f"{_SPACE}*=={_SPACE}*"), EQUAL),
    (re.compile(f"{_SPACE}*!={_SPACE}*"), NOT_EQUAL),
    (re.compile(f"{_SPACE}+contains{_SPACE}+"), IN),
    (re.compile(f"{_SPACE}+not{_SPACE}+contains{_SPACE}+"), NOT_IN),
    (re.compile(f"{_SPACE}+matches{_SPACE}+"), MATCHES),
    (re.compile(f"{_SPACE}+not{_SPACE}+matches{_SPACE}+"), NOT_MATCHES),
)

#: Escape sequences of Go's string literals, ``strconv.Unquote``, and any other text without a backslash or line break.
_UNQUOTED = re.compile(
    r'\\(?:(?P<letter>[abfnrtv\\"])|x(?P<byte>[0-9a-fA-F]{2})|(?P<octal>[0-3][0-7]{2})'
    r"|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8}))|(?P<text>[^\\\n]+)"
)
_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'}


class FilterError(ValueError):
    """An expression that is not valid. The text of the exception names the place or the selector."""


class FilterLimitError(FilterError):
    """An expression beyond a limit of this daemon."""


@dataclass(frozen=True, slots=True)
class Term:
    """
    One comparison.

    :ivar selector: Parts of the selector, such as ``("Service", "Meta", "ssdp-nt")``.
    :ivar operator: One of the operators of this module.
    :ivar value: Value as it was written, without quotes; empty for :data:`IS_EMPTY` and :data:`IS_NOT_EMPTY`.
    """

    selector: Sequence[str]
    operator: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class Not:
    """Negation of an expression."""

    operand: Expression


@dataclass(frozen=True, slots=True)
class AllOf:
    """Expressions joined by ``and``."""

    operands: Sequence[Expression]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Expressions joined by ``or``."""

    operands: Sequence[Expression]


Expression: TypeAlias = Term | Not | AllOf | AnyOf


def parse_expression(text: str) -> Expression:
    """
    Parse an expression. Spaces are required and optional in the same places as in Consul.

    :param text: For example ``Service.Port == 443 and lab in Service.Tags``.
    :raise FilterLimitError: If the expression is too long, too deep, or has too many comparisons.
    :raise FilterError: If its syntax is wrong.
    """
    if len(text) > LONGEST:
        raise FilterLimitError(f"Length of the expression ({len(text)}) exceeds the limit ({LONGEST})")
    return _Parser(text).parse()


def quote(text: str) -> str:
    """Return a text in quotes, for an error message in one line."""
    return json.dumps(text, ensure_ascii=False)


class _Parser:
    """
    Recursive descent parser.

    :param text: The expression.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._depth = 0
        self._terms = 0

    def parse(self) -> Expression:
        self._accept(_OPTIONAL_SPACE)
        expression = self._any()
        self._accept(_OPTIONAL_SPACE)
        if self._position < len(self._text):
            raise self._error("expected and, or, or the end of the expression")
        return expression

    # Expressions, those that bind least first.

    def _any(self) -> Expression:
        operands = [self._all()]
        while self._accept(_OR):
            operands.append(self._all())
        return operands[0] if len(operands) == 1 else AnyOf(operands)

    def _all(self) -> Expression:
        operands = [self._not()]
        while self._accept(_AND):
            operands.append(self._not())
        return operands[0] if len(operands) == 1 else AllOf(operands)

    def _not(self) -> Expression:
        self._depth += 1
        if self._depth > DEEPEST:
            raise FilterLimitError(f"Depth of the expression exceeds the limit ({DEEPEST})")
        expression: Expression
        start = self._position
        if self._accept(_NOT):
            expression = self._negation(start)
        elif self._text.startswith("(", self._position):
            self._position += 1
            self._accept(_OPTIONAL_SPACE)
            expression = self._any()
            self._accept(_OPTIONAL_SPACE)
            if not self._text.startswith(")", self._position):
                raise self._error("Unmatched parentheses")
            self._position += 1
        else:
            expression = self._term()
        self._depth -= 1
        return expression

    def _negation(self, start: int) -> Expression:
        """Parse the operand of ``not``. If there is none, ``not`` is a name: ``not in Service.Tags``."""
        depth, terms = self._depth, self._terms
        try:
            return Not(self._not())
        except FilterLimitError:
            raise
        except FilterError as error:
            self._position, self._depth, self._terms = start, depth, terms
            try:
                return self._term()
            except FilterError:
                raise error from None

    def _term(self) -> Term:
        self._terms += 1
        if self._terms > MOST_TERMS:
            raise FilterLimitError(f"Number of match expressions exceeds the limit ({MOST_TERMS})")
        selector = self._selector()
        if selector:
            operator = self._operator(_VALUE_OPERATOR)
            if operator is not None:
                return Term(selector, operator, self._value())
            operator = self._operator(_EMPTY_OPERATOR)
            if operator is not None:
                return Term(selector, operator)
            value = ".".join(selector)
        else:
            value = self._value()
        operator = self._operator(_IN_OPERATOR)
        if operator is None:
            raise self._error("expected an operator" if selector else "expected in or not in")
        selector = self._selector()
        if not selector:
            raise self._error("Invalid selector")
        return Term(selector, operator, value)

    # Parts of a comparison.

    def _operator(self, choices: Sequence[tuple[re.Pattern[str], str]]) -> str | None:
        return next((operator for pattern, operator in choices if self._accept(pattern)), None)

    def _selector(self) -> list[str]:
        """Return the parts of a selector, or an empty list if there is none."""
        name = self._accept(_NAME)
        if name is None:
            return []
        parts = [name[0]]
        while True:
            if self._text.startswith(".", self._position):
                self._position += 1
                name = self._accept(_NAME)
                if name is None:
                    raise self._error("expected a name")
                parts.append(name[0])
            elif self._accept(_INDEX_START):
                part = self._string()
                if part is None:
                    raise self._error("Invalid index")
                if self._accept(_INDEX_END) is None:
                    raise self._error("Unclosed index expression")
                parts.append(part)
            else:
                return parts

    def _value(self) -> str:
        selector = self._selector()
        if selector:
            return ".".join(selector)
        number = self._accept(_NUMBER)
        if number is not None:
            if _AFTER_NUMBER.match(self._text, self._position) is None:
                raise self._error("Invalid number literal")
            return number[0]
        text = self._string()
        if text is None:
            raise self._error("expected a selector, a number or a string")
        return text

    def _string(self) -> str | None:
        """Return the contents of a string, or None if there is none."""
        match = self._accept(_STRING)
        if match is None:
            if self._text.startswith(('"', "`"), self._position):
                raise self._error("Unterminated string literal")
            return None
        if match[1] is not None:
            return match[1].replace("\r", "")
        try:
            return _unquote(match[2])
        except ValueError:
            self._position = match.start()
            raise self._error("invalid syntax") from None

    def _accept(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self._text, self._position)
        if match is not None:
            self._position = match.end()
        return match

    def _error(self, text: str) -> FilterError:
        """Return an error at the next character, in the form ``line:column (offset)``, as Consul has it."""
        self._accept(_OPTIONAL_SPACE)
        before = self._text[: self._position]
        line = before.count("\n") + 1
        column = self._position - (before.rfind("\n") + 1) + 1
        return FilterError(f"{line}:{column} ({len(before.encode())}): {text}")


def _unquote(text: str) -> str:
    """Replace the escape sequences of a Go string literal. Raise ValueError if one is wrong."""
    contents = bytearray()
    position = 0
    while position < len(text):
        match = _UNQUOTED.match(text, position)
        if match is None:
            raise ValueError(text)
        position = match.end()
        if match["byte"] is not None:
            contents.append(int(match["byte"], 16))
        elif match["octal"] is not None:
            contents.append(int(match["octal"], 8))
        else:
            contents += _characters(match).encode()
    return contents.decode(errors="replace")


def _characters(match: re.Match[str]) -> str:
    if match["letter"] is not None:
        return _LETTERS[match["letter"]]
    code = match["short"] or match["long"]
    # chr() raises ValueError above U+10FFFF, and encode() raises one for surrogates.
    return match["text"] if code is None else chr(int(code, 16))
