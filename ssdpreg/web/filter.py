"""Filter expressions of Consul as functions of a catalogue entry. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from ssdpreg.config.go_syntax import parse_bool
from ssdpreg.web.catalogue import Entry
from ssdpreg.web.filter_fields import Candidate, Field, Fields, find_field
from ssdpreg.web.filter_syntax import (
    EQUAL,
    IN,
    MATCHES,
    NEGATIONS,
    NOT_EQUAL,
    NOT_IN,
    NOT_MATCHES,
    AllOf,
    AnyOf,
    Expression,
    FilterError,
    Not,
    Term,
    parse_expression,
    quote,
)

#: Returns whether an entry matches an expression.
Predicate: TypeAlias = Callable[[Entry], bool]
_Evaluate: TypeAlias = Callable[[Candidate], bool]

#: Entries that are compared with a short expression at a time.
_PORTION = 100
#: Characters of a short expression. Searching for long texts in long texts takes the longest: some 0.7 ms for each
#: entry, if the device and the client of the API have chosen them for that.
_SHORT = 512

#: Integers that ``strconv.ParseInt`` accepts with base 0.
_INTEGER = re.compile(
    r"([+-]?)(?:0[xX]((?:_?[0-9a-fA-F])+)|0[bB]((?:_?[01])+)|0[oO]?((?:_?[0-7])+)|(0|[1-9](?:_?[0-9])*))"
)
_BASES = (16, 2, 8, 10)
#: Digits of the longest integer of 64 bits, in base 2.
_MOST_DIGITS = 64


def compile_filter(text: str, fields: Fields) -> Predicate:
    """
    Parse an expression and return its predicate, which takes a few microseconds for each comparison.

    :param text: The expression.
    :param fields: Fields that its selectors can name.
    :raise FilterLimitError: If the expression exceeds a limit of this daemon.
    :raise FilterError: If the expression is not valid, in the words of Consul.
    """
    evaluate = _compile(parse_expression(text), fields)
    return lambda entry: evaluate(Candidate(entry))


def portion(text: str) -> int:
    """Return the number of entries that can be compared with an expression in some milliseconds."""
    return max(1, _PORTION * _SHORT // max(_SHORT, len(text)))


def _compile(expression: Expression, fields: Fields) -> _Evaluate:
    if isinstance(expression, Term):
        return _compile_term(expression, fields)
    if isinstance(expression, Not):
        operand = _compile(expression.operand, fields)
        return lambda each: not operand(each)
    operands = [_compile(operand, fields) for operand in expression.operands]
    if isinstance(expression, AllOf):
        return lambda each: all(operand(each) for operand in operands)
    assert isinstance(expression, AnyOf)
    return lambda each: any(operand(each) for operand in operands)


def _compile_term(term: Term, fields: Fields) -> _Evaluate:
    field = find_field(fields, term.selector)
    name = quote(".".join(term.selector))
    if term.operator not in field.operators:
        raise FilterError(f"Invalid match operator {quote(term.operator)} for selector {name}")
    if term.operator in (MATCHES, NOT_MATCHES):
        # The time of a regular expression of Python has no limit.
        raise FilterError("The operator matches is not supported by ssdpreg: use ==, contains or in")
    try:
        value = _convert(term.value, field)
    except ValueError as error:
        raise FilterError(f"Failed to coerce value {quote(term.value)} for selector {name}: {error}") from None
    if field.repeated:
        return lambda each: False
    get, key, negated = field.get, term.selector[-1], term.operator in NEGATIONS
    if term.operator in (EQUAL, NOT_EQUAL):
        return lambda each: bool(get(each, key) == value) != negated
    if term.operator in (IN, NOT_IN):

        def contains(each: Candidate) -> bool:
            container = get(each, key)
            return (container is not None and value in container) != negated

        return contains
    return lambda each: (not get(each, key)) != negated


def _convert(text: str, field: Field) -> str | int | bool:
    if field.type is bool:
        try:
            return parse_bool(text)
        except ValueError:
            raise ValueError(f"strconv.ParseBool: parsing {quote(text)}: invalid syntax") from None
    return _parse_integer(text) if field.type is int else text


def _parse_integer(text: str) -> int:
    match = _INTEGER.fullmatch(text)
    if match is None:
        raise ValueError(f"strconv.ParseInt: parsing {quote(text)}: invalid syntax")
    digits, base = next((digits, base) for digits, base in zip(match.groups()[1:], _BASES, strict=True) if digits)
    digits = digits.replace("_", "").lstrip("0") or "0"
    value = int(match[1] + digits, base) if len(digits) <= _MOST_DIGITS else 2**63
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"strconv.ParseInt: parsing {quote(text)}: value out of range")
    return value
