"""Properties of the targeting language; single cases stand in tests/vectors/targeting.json."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abplatform.assignment.operators import BUILDERS
from abplatform.assignment.targeting import (
    GROUPS,
    LISTS,
    NESTING,
    check_condition,
    compile_condition,
    named_groups,
    named_paths,
)
from abplatform.assignment.values import MAX_LEVELS, MAX_NODES
from tests.assignment.documents import read_vectors

NAMES = ["a", "b", "a.b"]
OPERATORS = sorted({*BUILDERS, *NESTING, *LISTS, *GROUPS, "$foo"})
SAVED = {
    "a": {"values": ["a", 1, True]},
    # SHA-256 of "1:sa", by sha256sum.
    "B": {"salt": "s", "sha256": ["d0c4ad8a229bb3d9ea8dc27eeae6d126d2dc45ee5a1c2f48f79747b986624183"]},
}

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2), st.floats(-2, 2), st.sampled_from(["", "a", "B", "1.0", "v1"])
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("ab"), inner)),
    max_leaves=5,
)
attributes = st.dictionaries(st.sampled_from("ab"), values)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from([*NAMES, *OPERATORS]), inner, max_size=3)
    ),
    max_leaves=12,
)
conditions = st.dictionaries(st.sampled_from([*NAMES, *OPERATORS]), anything, max_size=3)

# A hole stands for a clause that cannot be evaluated; filled, for one that is true or false.
HOLE = {"a": {"$foo": 1}}
sound_clauses = st.builds(lambda name, value: {name: value}, st.sampled_from(NAMES), values)
formulas = st.recursive(
    st.one_of(sound_clauses, st.just(HOLE)),
    lambda inner: st.one_of(
        st.builds(lambda name, items: {name: items}, st.sampled_from(sorted(LISTS)), st.lists(inner, max_size=3)),
        st.builds(lambda item: {"$not": item}, inner),
    ),
    max_leaves=8,
)


def matches(condition: object, given_attributes: Mapping[str, object]) -> bool:
    return compile_condition(condition, SAVED)(given_attributes)


def fill(node: object, filling: object) -> object:
    if node == HOLE:
        return filling
    if isinstance(node, dict):
        return {key: fill(item, filling) for key, item in node.items()}
    return [fill(item, filling) for item in node] if isinstance(node, list) else node


@given(anything, st.one_of(attributes, anything))
@settings(derandomize=True, max_examples=1000)
def test_any_json_is_evaluated_without_raising(condition: object, given_attributes: Any) -> None:
    assert matches(condition, given_attributes) in {True, False}
    assert isinstance(check_condition(condition, SAVED), dict)
    assert named_groups(condition) <= named_everywhere(condition)
    assert named_paths(condition) <= named_everywhere(condition)


@given(conditions, attributes)
@settings(derandomize=True, max_examples=1000)
def test_a_condition_and_its_negation_never_both_match(
    condition: dict[str, Any], given_attributes: dict[str, Any]
) -> None:
    both = (matches(condition, given_attributes), matches({"$not": condition}, given_attributes))
    assert both != (True, True)
    if not check_condition(condition, SAVED):
        assert sorted(both) == [False, True]


@given(st.one_of(conditions, formulas), attributes)
@settings(derandomize=True, max_examples=500)
def test_a_condition_matches_as_its_double_negation_does(condition: object, given_attributes: dict[str, Any]) -> None:
    assert matches(condition, given_attributes) == matches({"$not": {"$not": condition}}, given_attributes)


@given(formulas, attributes)
@settings(derandomize=True, max_examples=1000)
def test_a_match_beside_an_error_holds_whichever_way_the_error_went(
    formula: object, given_attributes: dict[str, Any]
) -> None:
    if matches(formula, given_attributes):
        assert matches(fill(formula, {}), given_attributes)
        assert matches(fill(formula, {"$not": {}}), given_attributes)


@given(conditions, attributes)
@settings(derandomize=True, max_examples=500)
def test_the_order_of_clauses_does_not_matter(condition: dict[str, Any], given_attributes: dict[str, Any]) -> None:
    backwards = dict(reversed(condition.items()))
    assert matches(condition, given_attributes) == matches(backwards, given_attributes)


class Hostile(Mapping[str, object]):
    """A mapping that fails whatever it is asked."""

    def __getitem__(self, key: str) -> object:
        raise RuntimeError("no")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no")

    def __len__(self) -> int:
        raise RuntimeError("no")


class Channel(StrEnum):
    DOUYIN = "douyin"


def endless() -> list[object]:
    """An array that holds itself."""
    array: list[object] = []
    array.append(array)
    return array


@pytest.mark.parametrize(
    "value",
    [Decimal(1), datetime(2026, 1, 1, tzinfo=UTC), {1, 2}, b"x", object(), float("nan"), float("inf"), [Decimal(1)],
     {"b": {1}}, {1: "x"}, Hostile(), endless()],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
@pytest.mark.parametrize("test", [{"$eq": 1}, {"$ne": 1}, {"$exists": True}, {"$nin": [1]}, {"$not": {"$gt": 0}}, 1])
def test_a_value_that_is_not_json_never_matches_nor_its_negation(test: object, value: object) -> None:
    assert not matches({"a": test}, {"a": value})
    assert not matches({"$not": {"a": test}}, {"a": value})


def test_attributes_that_fail_never_match_and_leave_other_branches_alone() -> None:
    assert not matches({"$not": {"a": 1}}, Hostile())
    assert matches({"$or": [{"a.b": 1}, {"c": 2}]}, {"a": Hostile(), "c": 2})


def test_read_only_mappings_tuples_and_string_enums_count_as_json() -> None:
    given_attributes = MappingProxyType(
        {"home": MappingProxyType({"city": "X"}), "tags": ("a", "b"), "c": Channel.DOUYIN}
    )
    assert matches({"home.city": "X", "tags": ["a", "b"], "c": {"$in": ["douyin"]}}, given_attributes)


class Level(IntEnum):
    ONE = 1


# Values of plain types take a short way where an attribute is named without dots, and the long way below an object.
odd_values = st.sampled_from([Channel.DOUYIN, Level.ONE, float("nan"), float("inf"), 10**400, Decimal(1), b"a", {1}])
few = st.sampled_from([None, False, True, 0, 1, 2, 1.0, 1.5, "", "a", "B", "1.0", "v1"])
short_tests = st.one_of(
    values,
    st.builds(lambda name, operand: {name: operand}, st.sampled_from(sorted({*BUILDERS, *GROUPS})), values),
    st.builds(
        lambda name, operand: {name: operand}, st.sampled_from(["$eq", "$ne", "$lt", "$lte", "$gt", "$gte"]), few
    ),
    st.builds(lambda name, items: {name: items}, st.sampled_from(["$in", "$nin"]), st.lists(few)),
)


@given(short_tests, st.one_of(few, few, values, odd_values), st.booleans())
@settings(derandomize=True, max_examples=1500)
def test_the_short_way_answers_as_the_long_way(test: object, value: object, negated: bool) -> None:
    short: dict[str, object] = {"a": test}
    long: dict[str, object] = {"b.a": test}
    if negated:
        short, long = {"$not": short}, {"$not": long}
    assert matches(short, {"a": value}) == matches(long, {"b": {"a": value}})


@pytest.mark.parametrize(
    ("condition", "groups"),
    [
        ({}, ""),
        ({"a": {"$inGroup": "x"}, "b": {"$notInGroup": "y", "$ne": 1}}, "x y"),
        ({"$nor": [{"a": {"$not": {"$inGroup": "x"}}}], "$not": {"b": {"$elemMatch": {"$inGroup": "y"}}}}, "x y"),
        ({"a": {"$elemMatch": {"b": {"$inGroup": "x"}}}}, "x"),
        ({"a": {"$eq": {"$inGroup": "plain data"}}, "b": {"$in": [{"$inGroup": "plain data"}]}}, ""),
        ({"a": {"$inGroup": ["x"]}}, ""),
        ([{"a": {"$inGroup": "x"}}], ""),
    ],
    ids=repr,
)
def test_named_groups_are_those_that_operators_name(condition: object, groups: str) -> None:
    assert named_groups(condition) == set(groups.split())


@pytest.mark.parametrize(
    ("condition", "paths"),
    [
        ({}, ""),
        ({"a": 1, "b.c": {"$gt": 1}}, "a b"),
        ({"$or": [{"a": 1}, {"$not": {"$nor": [{"b.c.d": None}]}}]}, "a b"),
        ({"a": {"$elemMatch": {"of the element": 1}}, "b": {"$size": {"$gt": 1}}}, "a b"),
        ({"a": {"$eq": {"plain data": 1}}, "b": {"plain data": {"$gt": 1}}}, "a b"),
        ({"a": {"$foo": 1}}, "a"),
        (None, ""),
    ],
    ids=repr,
)
def test_named_paths_are_the_attributes_that_are_read(condition: object, paths: str) -> None:
    assert named_paths(condition) == set(paths.split())


def named_everywhere(node: object) -> set[object]:
    if isinstance(node, dict):
        return {part for key in node for part in (key, key.partition(".")[0])}.union(
            *map(named_everywhere, node.values())
        )
    return set().union(*map(named_everywhere, node)) if isinstance(node, list) else {node}


def test_every_operator_on_groups_has_three_vectors() -> None:
    documents = [repr(case["condition"]) for case in read_vectors("targeting")["cases"]]
    assert all(sum(f"'{name}'" in document for document in documents) >= 3 for name in GROUPS)


@pytest.mark.parametrize(
    ("condition", "problems"),
    [
        ({}, {}),
        ({"country": {"$in": ["CN"]}, "$or": [{"a": 1}, {"b.c": {"$not": {"$gt": 1}}}]}, {}),
        ({"a": {"$elemMatch": {"k": 1, "$or": []}}, "b": {"$size": {"$gt": 1}}, "c": {"$veq": "v1.2-rc+7"}}, {}),
        ([], {"": ["must be an object"]}),
        (None, {"": ["must be an object"]}),
        ({"country": {"$inn": ["CN"]}}, {"country.$inn": ["unknown operator"]}),
        ({"a": {"$regex": "^x"}, "b": {"$notRegexi": "x{3}"}, "c": {"$inGroup": "staff", "$notInGroup": "vip"}}, {}),
        ({"a": {"$regex": "ab(?=c)"}}, {"a.$regex": ["character 3: look-ahead is not supported"]}),
        ({"a": {"$notRegexi": "a" * 257}}, {"a.$notRegexi": ["must not have more than 256 characters"]}),
        ({"a": {"$regexi": 1}}, {"a.$regexi": ["must be a pattern, as a string"]}),
        ({"$or": [{"a": {"$not": {"$inGroup": "stuff"}}}]}, {"$or.0.a.$not.$inGroup": ["there is no segment 'stuff'"]}),
        ({"a": {"$notInGroup": ["staff"]}}, {"a.$notInGroup": ["must be the name of a segment"]}),
        ({"$inGroup": "staff"}, {"$inGroup": ["must stand under an attribute"]}),
        ({"$xor": []}, {"$xor": ["unknown operator"]}),
        ({"$gt": 1}, {"$gt": ["must stand under an attribute"]}),
        ({"a": {"$gt": 1, "b": 2}}, {"a.b": ["must not stand beside operators"]}),
        ({"a": {"$and": []}}, {"a.$and": ["unknown operator"]}),
        ({"$or": {"a": 1}}, {"$or": ["must be an array of conditions"]}),
        ({"$or": [{"a": 1}, 2]}, {"$or.1": ["must be an object"]}),
        ({"$not": []}, {"$not": ["must be an object"]}),
        ({"$nor": [{"a": {"$in": "x"}}]}, {"$nor.0.a.$in": ["must be an array"]}),
        ({"a": {"$all": 1}}, {"a.$all": ["must be an array"]}),
        ({"a": {"$lt": True}}, {"a.$lt": ["must be a number or a string"]}),
        ({"a": {"$exists": 1}}, {"a.$exists": ["must be true or false"]}),
        ({"a": {"$type": "integer"}}, {"a.$type": ["must be one of string, number, boolean, array, object, null"]}),
        ({"a": {"$vgt": 3}}, {"a.$vgt": ["must be a version such as 3.2.0"]}),
        ({"a": {"$elemMatch": 1}}, {"a.$elemMatch": ["must be an object"]}),
        ({"a": {"$elemMatch": {"b": {"$foo": 1}}}}, {"a.$elemMatch.b.$foo": ["unknown operator"]}),
        ({"a": {"$size": {}}}, {"a.$size": ["must be a number or an object of operators"]}),
        ({"a": {"$size": "2"}}, {"a.$size": ["must be a number or an object of operators"]}),
        ({"a": {"$not": {"$foo": 1}}}, {"a.$not.$foo": ["unknown operator"]}),
        ({"a": {"$foo": 1}, "b": {"$bar": 1}}, {"a.$foo": ["unknown operator"], "b.$bar": ["unknown operator"]}),
        ({"a": {1: 2}}, {"a": ["keys must be strings"]}),
        ({"a": float("nan")}, {"a": ["must be a JSON value"]}),
        ({"a": [1, {2}]}, {"a.1": ["must be a JSON value"]}),
        ({"a": "\ud800"}, {"a": ["must not hold a lone surrogate"]}),
        ({"a": {"\ud800": 1}}, {"a": ["must not hold a lone surrogate"]}),
    ],
    ids=repr,
)  # fmt: skip
def test_check_names_what_cannot_be_evaluated(condition: object, problems: dict[str, list[str]]) -> None:
    assert check_condition(condition, {"staff", "vip"}) == problems


def nested(levels: int) -> dict[str, Any]:
    """A condition of that many levels that matches everything or, for an even number of them, nothing."""
    condition: dict[str, Any] = {}
    for _ in range(levels - 1):
        condition = {"$not": condition}
    return condition


def test_nesting_is_bounded() -> None:
    assert check_condition(nested(MAX_LEVELS)) == {}
    assert check_condition(nested(MAX_LEVELS + 1)) == {"": ["must not be nested deeper than 20 levels"]}
    assert matches(nested(MAX_LEVELS - 1), {})
    assert not matches(nested(MAX_LEVELS + 1), {})
    assert not matches(nested(100_000), {})


def test_size_is_bounded() -> None:
    # The condition, the operator object and the array count beside their elements.
    fits = {"a": {"$nin": [0] * (MAX_NODES - 3)}}
    too_large = {"a": {"$nin": [0] * (MAX_NODES - 2)}}
    assert check_condition(fits) == {}
    assert matches(fits, {})
    assert check_condition(too_large) == {"": ["must not have more than 1000 values"]}
    assert not matches(too_large, {})
