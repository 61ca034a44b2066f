"""Three-valued logic: True, False, and None for what cannot be evaluated (Kleene, 1938).

A clause that cannot be evaluated counts as unknown. A condition then matches only if it would match
whichever way the unknown clause went, so that an error never becomes a match by negation, and the order of
clauses does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Test = Callable[[Any], bool | None]


def unknown(_: object) -> None:
    """The test that cannot be evaluated."""


def every(tests: tuple[Test, ...]) -> Test:
    """Combine tests with "and"; no tests at all match."""
    if len(tests) == 1:
        return tests[0]

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


def some(tests: tuple[Test, ...]) -> Test:
    """Combine tests with "or"; no tests at all do not match."""

    def run(value: object) -> bool | None:
        return any_of(test(value) for test in tests)

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
