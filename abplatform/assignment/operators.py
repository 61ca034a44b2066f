"""Operators that test one attribute value against an operand, each checked and prepared once.

A builder takes the operand and returns the test, or raises ``BadOperand``. Tests receive JSON values only,
None standing for null and for a missing attribute alike.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from .logic import Test, negate
from .values import KINDS, equal, kind
from .versions import parse_version

Compare = Callable[[Any, Any], bool]


class BadOperand(ValueError):
    """The operand does not fit the operator; the message says what would."""


def _eq(operand: object) -> Test:
    if isinstance(operand, str):
        return lambda value: isinstance(value, str) and value == operand
    if operand is None:
        return lambda value: value is None
    return lambda value: equal(value, operand)


def _ne(operand: object) -> Test:
    return negate(_eq(operand))


def _ordering(compare: Compare) -> Callable[[object], Test]:
    """Order numbers with numbers and strings (by code point) with strings; all else compares false."""

    def build(operand: object) -> Test:
        wanted = kind(operand)
        if wanted not in {"number", "string"}:
            raise BadOperand("must be a number or a string")
        return lambda value: kind(value) == wanted and compare(value, operand)

    return build


def _membership(fold: Callable[[str], str]) -> Callable[[object], Test]:
    """Test whether the value, or any element of an array, is among the operands."""

    def build(operand: object) -> Test:
        items = _array(operand)
        texts = frozenset(fold(item) for item in items if isinstance(item, str))
        numbers = frozenset(item for item in items if kind(item) == "number")
        others = tuple(item for item in items if kind(item) not in {"string", "number"})

        def found(value: object) -> bool:
            if isinstance(value, str):
                return fold(value) in texts
            if kind(value) == "number":
                return value in numbers
            return any(equal(value, item) for item in others)

        return lambda value: any(map(found, value)) if isinstance(value, (list, tuple)) else found(value)

    return build


def _containment(fold: Callable[[str], str]) -> Callable[[object], Test]:
    """Test whether the value is an array that holds every operand."""

    def folded(item: object) -> object:
        return fold(item) if isinstance(item, str) else item

    def build(operand: object) -> Test:
        wanted = [folded(item) for item in _array(operand)]

        def test(value: object) -> bool:
            if not isinstance(value, (list, tuple)):
                return False
            present = [folded(item) for item in value]
            return all(any(equal(item, other) for other in present) for item in wanted)

        return test

    return build


def _exists(operand: object) -> Test:
    if not isinstance(operand, bool):
        raise BadOperand("must be true or false")
    return lambda value: (value is not None) is operand


def _type(operand: object) -> Test:
    if operand not in KINDS:
        raise BadOperand(f"must be one of {', '.join(KINDS)}")
    return lambda value: kind(value) == operand


def _version(compare: Compare) -> Callable[[object], Test]:
    """Order versions; a value that is not a version compares false."""

    def build(operand: object) -> Test:
        wanted = parse_version(operand)
        if wanted is None:
            raise BadOperand("must be a version such as 3.2.0")

        def test(value: object) -> bool:
            version = parse_version(value)
            return version is not None and compare(version, wanted)

        return test

    return build


def _pattern(*, ignore_case: bool) -> Callable[[object], Test]:
    """Search strings; all else does not match, and a string that is too long cannot be evaluated."""

    def build(operand: object) -> Test:
        if not isinstance(operand, str):
            raise BadOperand("must be a pattern, as a string")
        # Few conditions have a pattern, and the engine is not small: it is loaded with the first one.
        from .patterns import MAX_INPUT, Pattern

        try:
            found_in = Pattern(operand, ignore_case=ignore_case).found_in
        except ValueError as error:
            raise BadOperand(str(error)) from error

        def test(value: object) -> bool | None:
            if not isinstance(value, str):
                return False
            return found_in(value) if len(value) <= MAX_INPUT else None

        return test

    return build


def _negated(build: Callable[[object], Test]) -> Callable[[object], Test]:
    return lambda operand: negate(build(operand))


def _array(operand: object) -> list[object] | tuple[object, ...]:
    if not isinstance(operand, (list, tuple)):
        raise BadOperand("must be an array")
    return operand


BUILDERS: dict[str, Callable[[object], Test]] = {
    "$eq": _eq,
    "$ne": _ne,
    "$lt": _ordering(operator.lt),
    "$lte": _ordering(operator.le),
    "$gt": _ordering(operator.gt),
    "$gte": _ordering(operator.ge),
    # str.lower is Unicode's toLowercase, which every language has; casefold is not.
    "$in": _membership(str),
    "$ini": _membership(str.lower),
    "$nin": _negated(_membership(str)),
    "$nini": _negated(_membership(str.lower)),
    "$all": _containment(str),
    "$alli": _containment(str.lower),
    "$regex": _pattern(ignore_case=False),
    "$regexi": _pattern(ignore_case=True),
    "$notRegex": _negated(_pattern(ignore_case=False)),
    "$notRegexi": _negated(_pattern(ignore_case=True)),
    "$exists": _exists,
    "$type": _type,
    "$veq": _version(operator.eq),
    "$vne": _negated(_version(operator.eq)),
    "$vlt": _version(operator.lt),
    "$vlte": _version(operator.le),
    "$vgt": _version(operator.gt),
    "$vgte": _version(operator.ge),
}
