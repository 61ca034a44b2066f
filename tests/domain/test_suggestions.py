"""Suggestions: what they find, and how much they look at."""

from __future__ import annotations

from itertools import count

from abplatform.domain.suggestions import LONGEST_NAME, MOST_COMPARED, MOST_SUGGESTIONS, Suggestions, suggest


def test_the_key_that_is_meant_is_found_among_many_that_come_before_it() -> None:
    known = [f"a-{number}" for number in range(10 * MOST_COMPARED)] + ["zz-purchase-amount"]
    assert suggest("zz-purchase-amont", known) == "; did you mean 'zz-purchase-amount'?"


def test_names_that_are_too_long_are_neither_compared_nor_repeated() -> None:
    assert suggest("x" * (LONGEST_NAME + 1), ["x" * LONGEST_NAME]) == f"; there is '{'x' * LONGEST_NAME}'"
    assert suggest("a", ["a" * (LONGEST_NAME + 1)]) == ""


def test_one_request_gets_a_few_suggestions_and_looks_at_nothing_afterwards() -> None:
    suggestions, looked_at = Suggestions(), count()
    known = lambda: (name for name in ["control"] if next(looked_at) >= 0)  # noqa: E731
    found = [suggestions.suggest("contrl", known()) for _ in range(3 * MOST_SUGGESTIONS)]
    assert found == ["; did you mean 'control'?"] * MOST_SUGGESTIONS + [""] * 2 * MOST_SUGGESTIONS
    assert next(looked_at) == MOST_SUGGESTIONS
