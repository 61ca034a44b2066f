"""Clauses and their three-valued logic: True, False, and None for what cannot be evaluated (Kleene, 1938).

A clause that cannot be evaluated counts as unknown. A condition then matches only if it would match
whichever way the unknown clause went, so that an error never becomes a match by negation, and the order of
clauses does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .values import is_json

Test = Callable[[Any], bool | None]

# Values of one exact type, which needs no check, and a test of them: in C where that can be.
_ShortWay = tuple[type, Callable[[Any], bool | None]]

_ALWAYS_JSON = frozenset({str, int, bool, type(None)})

# What an operator asks of the value, as what the operand says about it: value < operand is operand > value.
_MIRRORED = {"$eq": "__eq__", "$ne": "__ne__", "$lt": "__gt__", "$lte": "__ge__", "$gt": "__lt__", "$gte": "__le__"}


def unknown(_: object) -> None:
    """The test that cannot be evaluated."""


def every(tests: tuple[Test, ...]) -> Test:
    """Combine tests with "and"; no tests at all match."""
    if len(tests) == 1:
        return tests[0]
    if len(tests) == 2:
        return _both(*tests)

    def run(value: object) -> bool | None:
        answer: bool | None = True
        for test in tests:
            result = test(value)
            if result is False:
                return False
            if result is None:
                answer = None
        return answer

    return run


def demand(tests: tuple[Test, ...]) -> Callable[[Any], bool]:
    """Combine tests with "and" where only a match counts: what is unknown does not match.

    One call fewer than ``every`` for each evaluation; loops take half as long again as two tests written out.
    """
    if len(tests) == 1:
        (only,) = tests
        return lambda value: only(value) is True
    if len(tests) == 2:
        first, second = tests
        return lambda value: first(value) is True and second(value) is True

    def run(value: object) -> bool:
        for test in tests:  # noqa: SIM110 - all() over a generator takes twice as long here
            if test(value) is not True:
                return False
        return True

    return run


def _both(first: Test, second: Test) -> Test:
    def run(value: object) -> bool | None:
        one = first(value)
        if one is False:
            return False
        other = second(value)
        return other if one or other is False else None

    return run


def some(tests: tuple[Test, ...]) -> Test:
    """Combine tests with "or"; no tests at all do not match."""

    def run(value: object) -> bool | None:
        answer: bool | None = False
        for test in tests:
            result = test(value)
            if result:
                return True
            if result is None:
                answer = None
        return answer

    return run


def negate(test: Test) -> Test:
    """Turn a match into none and the other way round; unknown stays unknown."""

    def run(value: object) -> bool | None:
        result = test(value)
        return None if result is None else not result

    return run


def any_of(results: Iterable[bool | None]) -> bool | None:
    """Return True if any result is, else None if any is unknown, else False."""
    answer: bool | None = False
    for result in results:
        if result:
            return True
        if result is None:
            answer = None
    return answer


def attribute_clause(path: str, name: str, operand: object, test: Test) -> Test:
    """Apply the test of an operator to the attribute at a dotted path; what goes wrong there is unknown."""
    if "." in path:
        return _nested_clause(path, test)
    exact, accepts = _short_way(name, operand, test)

    def run(attributes: Mapping[str, object]) -> bool | None:
        try:
            value = attributes.get(path)
            if type(value) is exact:
                return accepts(value)
            return test(value) if type(value) in _ALWAYS_JSON or is_json(value) else None
        except Exception:  # noqa: BLE001 - attributes are the product's own objects and may do anything
            return None

    return run


def _nested_clause(path: str, test: Test) -> Test:
    first, *rest = path.split(".")

    def run(attributes: Mapping[str, object]) -> bool | None:
        try:
            value = attributes.get(first)
            for part in rest:
                value = value.get(part) if isinstance(value, Mapping) else None
            return test(value) if type(value) in _ALWAYS_JSON or is_json(value) else None
        except Exception:  # noqa: BLE001 - attributes are the product's own objects and may do anything
            return None

    return run


def _short_way(name: str, operand: object, test: Test) -> _ShortWay:
    """Return a type and what answers as the test does for values of exactly that type."""
    exact = type(operand)
    if test is unknown:
        return str, unknown
    if name in _MIRRORED and exact in {str, int, bool}:
        return exact, getattr(operand, _MIRRORED[name])
    if name in {"$in", "$nin"} and isinstance(operand, (list, tuple)):
        return _membership(operand, wanted=name == "$in")
    return str, test


def _membership(items: list[object] | tuple[object, ...], *, wanted: bool) -> _ShortWay:
    exact = str if any(isinstance(item, str) for item in items) else int
    # Sets compare as targeting does, booleans apart: 1 is 1.0.
    members = frozenset(item for item in items if isinstance(item, (str, int, float)) and type(item) is not bool)
    return exact, members.__contains__ if wanted else lambda value: value not in members
