"""Filters in the engines answer as the targeting language does; `compile_condition` is the oracle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abplatform.assignment import compile_condition
from abplatform.assignment.characters import lower
from abplatform.domain.property_filter import MOST_ORDERED, check_filter, normalise_filter
from abplatform.warehouse.duckdb_engine import DuckDBEngine
from abplatform.warehouse.workspace import Workspace
from tests.warehouse.filtering import ask, ask_engine, write_properties
from tests.warehouse.spark_engines import SparkProcess

# As a decimal literal of DuckDB it would become the next double below.
ROUNDED_TWICE = 0.9522444552911937
NUMBERS = [0, 1, -1, 1.0, -0.0, 1.5, 0.1, ROUNDED_TWICE, 1e-5, 5e-324, 123456.789, MOST_ORDERED, -MOST_ORDERED,
           2**53, 2**53 + 1, -(2**53), 10**22, 1e22, 10**23, 1e23, 10**63, 10**63 + 1, 1e300]  # fmt: skip
TEXTS = ["", "a", "A", "ab", "a ", "B", "1", "true", "null", "2026-01-31", "2026-02", "it's", 'say "a"', "a\\b", "a\\!",
         "\\", "!", "\\n", "\n", "a\nb", "\x01", "\\u0001", "\x1f", "\x7f", '\\\\"', "\b\f\r\t", "ß", "SS", "straße",
         "STRASSE", "ä", "Ä", "\u212a", "k", "K", "İ", "i\u0307", "i", "I", "Σ", "σ", "ς", "微信", "WeChat微信",
         "wechat微信", "𐐀", "𐐨", "\uffff", "😀", "é", "e\u0301", "\u2028", "${spark.app.name}", "$1", ":a"]  # fmt: skip
SCALARS: list[Any] = [None, True, False, *NUMBERS, *TEXTS]


def _draw_properties() -> list[dict[str, Any]]:
    random = Random(20261126)
    every_value = [{"a": value, "b": random.choice(SCALARS)} for value in SCALARS]
    return [{}, *every_value, *({name: random.choice(SCALARS) for name in "ab"} for _ in range(120))]


PROPERTIES = _draw_properties()

ONE_CASE = [text for text in TEXTS if not any(each in text.lower() for each in ("σ", "ς", "i\u0307"))]
few = st.sampled_from(SCALARS)
several = st.lists(few, min_size=1, max_size=4)
folded = st.lists(st.sampled_from([*ONE_CASE, None, True, 1]), min_size=1, max_size=4)
ordered = st.sampled_from([*TEXTS, *(number for number in NUMBERS if abs(number) <= MOST_ORDERED)])
operators = st.recursive(
    st.one_of(
        st.builds(lambda name, operand: {name: operand}, st.sampled_from(["$eq", "$ne"]), few),
        st.builds(lambda name, operand: {name: operand}, st.sampled_from(["$lt", "$lte", "$gt", "$gte"]), ordered),
        st.builds(lambda name, operand: {name: operand}, st.sampled_from(["$in", "$nin"]), several),
        st.builds(lambda name, operand: {name: operand}, st.sampled_from(["$ini", "$nini"]), folded),
        st.builds(lambda operand: {"$exists": operand}, st.booleans()),
        st.builds(lambda operand: {"$type": operand}, st.sampled_from(["string", "number", "boolean", "null"])),
        # What cannot be evaluated: neither the clause nor its negation matches.
        st.sampled_from([{"$new": 1}, {"$gt": True}, {"$in": "a"}]),
    ),
    lambda inner: st.builds(lambda one, other: {"$not": one, **other}, inner, inner),
    max_leaves=3,
)
clauses = st.dictionaries(st.sampled_from(["a", "b", "absent"]), st.one_of(few, several, operators), max_size=2)
conditions = st.recursive(
    clauses,
    lambda inner: st.one_of(
        st.builds(lambda name, items: {name: items}, st.sampled_from(["$and", "$or", "$nor"]), st.lists(inner)),
        st.builds(lambda one, other: {"$not": one, **other}, inner, clauses),
    ),
    max_leaves=4,
)

HARD: list[dict[str, Any]] = [
    {},
    {"a": 1},
    {"a": 1.0},
    {"a": True},
    {"a": "1"},
    {"a": None},
    {"a": [1, "true", None]},
    {"a": {"$ne": 1}},
    {"a": {"$ne": None}},
    {"a": {"$in": TEXTS}},
    {"a": {"$nin": ["a", None]}},
    {"a": {"$in": [2**53 + 1, 10**22, 1e23, 10**63]}},
    {"a": {"$eq": 'say "a"'}},
    {"a": "${spark.app.name}"},
    {"a": {"$in": ["\\u0001", "\n", "\x1f", "it's"]}},
    *({"a": {"$gt": number}} for number in (0, ROUNDED_TWICE, 5e-324, MOST_ORDERED)),
    *({"a": {"$lt": number}} for number in (0.1, ROUNDED_TWICE, -MOST_ORDERED, MOST_ORDERED)),
    *({"a": {"$gt": text}} for text in ("", "a\\", "\x01", '"', "\uffff", "${spark.app.name}")),
    *({"a": {"$lte": text}} for text in ("\\", "\\n", "\n", "e", "😀", "2026-02")),
    {"a": {"$ini": ONE_CASE}},
    {"a": {"$ini": ["K", "𐐨", "WECHAT微信", 1, None]}},
    {"a": {"$nini": ["Straße", "\\N", "i"]}},
    *({"a": {"$type": name}} for name in ("string", "number", "boolean", "null")),
    {"a": {"$exists": False}, "b": {"$exists": True}},
    {"a": {"$gt": 0, "$not": {"$gte": 1.5}}},
    {"a": {"$not": ["a", "A"]}},
    {"$or": [{"a": {"$new": 1}}, {"b": {"$type": "string"}}]},
    {"$not": {"a": {"$new": 1}, "b": {"$gt": "a"}}},
    {"$nor": [{"a": 1}, {"b": {"$lt": "b"}}]},
    {"$and": [], "$or": [], "$nor": []},
    {"$not": {"$or": [{"a": {"$exists": True}}, {"b": None}]}},
]


def expected(condition: Mapping[str, Any], rows: Sequence[Mapping[str, Any]] = PROPERTIES) -> list[bool]:
    return list(map(compile_condition(normalise_filter(condition)), rows))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_properties(tmp_path_factory.mktemp("filters") / "properties.parquet", PROPERTIES)


@pytest.fixture(scope="module")
def workspace(engine: DuckDBEngine) -> Iterator[Workspace]:
    with engine._open() as workspace:
        yield workspace


@given(asked=st.lists(conditions, min_size=8, max_size=8))
@settings(derandomize=True, max_examples=30, deadline=None)
def test_filters_answer_as_targeting_does(workspace: Workspace, path: str, asked: list[dict[str, Any]]) -> None:
    for condition, met in zip(asked, ask(workspace, path, asked), strict=True):
        assert met == expected(condition), condition


def test_hard_filters_answer_as_targeting_does_in_duckdb(workspace: Workspace, path: str) -> None:
    assert wrong(ask(workspace, path, HARD)) == []


def test_hard_filters_answer_as_targeting_does_in_spark(spark_on_threads: SparkProcess, path: str) -> None:
    assert wrong(spark_on_threads.ask(ask_engine, path, HARD)) == []


def wrong(answers: list[list[bool]]) -> list[tuple[object, object, bool]]:
    """Which filter is wrong about which properties, and how."""
    return [
        (condition, row, met)
        for condition, column in zip(HARD, answers, strict=True)
        for row, met, wanted in zip(PROPERTIES, column, expected(condition), strict=True)
        if met is not wanted
    ]


def test_hard_filters_are_what_can_be_saved_but_for_what_cannot_be_evaluated() -> None:
    assert [condition for condition in HARD if check_filter(condition)] == [
        condition for condition in HARD if "$new" in str(condition)
    ]


def test_each_hard_filter_tells_some_properties_from_others() -> None:
    assert [condition for condition in HARD if len(set(expected(condition))) == 1] == [
        {},
        {"$and": [], "$or": [], "$nor": []},
    ]


def test_names_are_taken_whole_and_missing_properties_are_none(workspace: Workspace, tmp_path: Path) -> None:
    rows: list[dict[str, Any] | None] = [{"home.city": "上海"}, {"home": "上海"}, {'it\'s "odd"': 1}, None]
    path = write_properties(tmp_path / "names.parquet", rows)

    asked: list[dict[str, Any]] = [{"home.city": "上海"}, {'it\'s "odd"': {"$gte": 1}}, {"home": {"$exists": False}}]

    assert ask(workspace, path, asked) == [
        [True, False, False, False],
        [False, False, True, False],
        [True, False, True, True],
    ]


@pytest.mark.parametrize(
    "condition",
    [
        {"$os": "ios"},
        {"a": {}},
        {"a": "x" * 1025},
        {"a": {"$regex": "^a"}},
        {"a": {"$not": {"$size": 1}}},
        {"a": {"$lt": 2**53}},
        {"a": ["a", "x" * 1025]},
        {"$not": {"a": {"$nini": ["Σ"]}}},
        {str(number): None for number in range(21)},
        [],
    ],
    ids=str,
)
def test_what_cannot_be_saved_never_matches(workspace: Workspace, path: str, condition: Any) -> None:
    assert check_filter(condition) != {}
    negation = {"$not": condition}
    assert ask(workspace, path, [condition, negation]) == [[False] * len(PROPERTIES)] * 2


def test_lower_case_is_of_one_character_and_settled_but_for_those_refused() -> None:
    # The table of letters rests on it. All characters of Unicode, as this Python knows them.
    characters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    assert [each for each in characters if len(each.lower()) != 1] == ["İ"]
    assert [each for each in characters if lower(lower(each)) != lower(each)] == []
    assert [each for each in characters if f"a{each}".lower() != f"a{lower(each)}"] == ["İ", "Σ"]
    assert max(each for each in characters if lower(each) != each) < chr(0x20000)
