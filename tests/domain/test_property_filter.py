"""What filters on properties may ask for; what they answer is tested in tests/warehouse/test_filters.py."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abplatform.assignment import compile_condition
from abplatform.assignment.operators import BUILDERS
from abplatform.assignment.targeting import GROUPS, LISTS, NESTING
from abplatform.domain.property_filter import check_filter, normalise_filter

MOST = 2**53 - 1
RANGE = f"must be from -{MOST} to {MOST} to be ordered exactly"
TOO_LONG = "must be at most 1024 characters without NUL, as every property is"
NAME = "the name of a property must have 1 to 64 characters without NUL"
CASE = "the lower case of Σ and İ is not that of one character; use $in with each spelling"
SCALAR = "must be a string, number, boolean or null"
OBJECT = "a property is one value, never an object: write operators such as $eq"
ARRAY = "a property is one value, never an array"
TYPES = "a property is a string, number or boolean, or null where it is missing"
MANY = "must have 1 to 100 values"


@pytest.mark.parametrize(
    "condition",
    [
        {},
        {"product": "fund", "n": 3, "rate": 3.5, "new": True, "channel": None},
        {"product": ["fund", "loan", 7, None], "channel": ("web", "app")},
        {"home.city": "上海", 'it\'s "odd"': 1, "名" * 64: 1},
        {"amount": {"$gte": 1000, "$lt": 5000.5, "$ne": 2000}, "day": {"$gt": "2026-01-01", "$lte": ""}},
        {"a": {"$eq": None}, "b": {"$in": [1, "x", None]}, "c": {"$nin": [True]}, "d": {"$ini": ["Web", "微信", 1]}},
        {"a": {"$exists": False}, "b": {"$type": "number"}, "c": {"$type": "null"}, "d": {"$nini": ["straße"]}},
        {"$or": [{"a": 1}, {"$and": [{"b": 2}, {"$nor": [{"c": [3]}]}]}], "$not": {"d": {"$not": {"$gt": 1}}}},
        {"a": {"$not": ["x", "y"]}, "b": {"$lt": MOST, "$gt": -MOST}, "c": 10**299, "d": -1e300},
        {"a": list(range(100)), "b": "x" * 1024},
        {f"p{number}": 1 for number in range(20)},
    ],
    ids=lambda condition: str(condition)[:60],
)
def test_sound_filters_are_taken(condition: dict[str, Any]) -> None:
    assert check_filter(condition) == {}


@pytest.mark.parametrize(
    ("condition", "problems"),
    [
        ([], {"": ["must be an object"]}),
        ({"a": float("nan")}, {"a": ["must be a JSON value"]}),
        ({"a": {"$inn": ["x"]}}, {"a.$inn": ["unknown operator"]}),
        ({"$os": "ios"}, {"$os": ["unknown operator"]}),
        ({"a": {"$gt": 1, "b": 2}}, {"a.b": ["must not stand beside operators"]}),
        ({"a": {"$gt": True}}, {"a.$gt": ["must be a number or a string"]}),
        ({"a": {"$lt": ["x"]}}, {"a.$lt": ["must be a number or a string"]}),
        ({"a": {"$in": "x"}}, {"a.$in": ["must be an array"]}),
        ({"$or": {"a": 1}}, {"$or": ["must be an array of conditions"]}),
        ({"$not": {"$or": [1]}}, {"$not.$or.0": ["must be an object"]}),
        ({"a": {}}, {"a": [OBJECT]}),
        ({"a": {"$not": {"b": 1}}}, {"a.$not": [OBJECT]}),
        ({"a": {"$eq": ["x"]}}, {"a.$eq": ["must be one value; for several use $in"]}),
        ({"a": {"$ne": {"x": 1}}}, {"a.$ne": ["must be one value; for several use $nin"]}),
        ({"a": {"$size": "2"}}, {"a.$size": [f"{ARRAY}: compare it with $eq, $in or $gt"]}),
        (
            {"$or": [{"a": {"$elemMatch": {"$foo": 1}}}]},
            {"$or.0.a.$elemMatch": [f"{ARRAY}: write its operators under the property itself"]},
        ),
        ({"a": {"$all": [1]}}, {"a.$all": [f"{ARRAY}: use $in for any of several"]}),
        ({"a": {"$inGroup": "vip"}}, {"a.$inGroup": ["segments are for targeting; list the values with $in"]}),
        ({"a": {"$notInGroup": 1}}, {"a.$notInGroup": ["segments are for targeting; list the values with $nin"]}),
        ({"a": {"$regex": "("}}, {"a.$regex": ["patterns are for targeting; list the values with $in"]}),
        ({"a": {"$notRegexi": "x"}}, {"a.$notRegexi": ["patterns are for targeting; list the values with $nini"]}),
        (
            {"a": {"$not": {"$vgte": "3.2"}}},
            {"a.$not.$vgte": ["properties are not compared as versions; list the versions with $in"]},
        ),
        ({"a": {"$type": "array"}}, {"a.$type": [TYPES]}),
        ({"a": {"$type": "integer"}}, {"a.$type": ["must be one of string, number, boolean, array, object, null"]}),
        ({"a": {"$gt": 2**53}, "b": {"$lte": -1e16}}, {"a.$gt": [RANGE], "b.$lte": [RANGE]}),
        ({"a": {"$ini": ["ok", "ΟΔΟΣ"]}, "b": {"$nini": ["İ"]}}, {"a.$ini.1": [CASE], "b.$nini.0": [CASE]}),
        ({"a": []}, {"a": [MANY]}),
        ({"a": {"$nin": list(range(101))}}, {"a.$nin": [MANY]}),
        ({"a": [1, ["x"]], "b": {"$in": [{}]}}, {"a.1": [SCALAR], "b.$in.0": [SCALAR]}),
        ({"": 1}, {"": [NAME]}),
        ({"x" * 65: 1}, {"x" * 65: [NAME]}),
        ({"$nor": [{"a\0": 1}]}, {"$nor.0.a\0": [NAME]}),
        ({"a": "x" * 1025, "b": {"$lt": "\0"}}, {"a": [TOO_LONG], "b.$lt": [TOO_LONG]}),
        ({"a": ["ok", "\0"]}, {"a.1": [TOO_LONG]}),
        ({"a": 10**300}, {"a": ["must be a number below 10^300"]}),
        ({"$or": [{"a": 1}] * 21}, {"": ["must have at most 20 conditions on properties"]}),
        ({"a": [1] * 1000}, {"": ["must not have more than 1000 values"]}),
    ],
    ids=lambda part: str(part)[:60],
)  # fmt: skip
def test_what_properties_cannot_answer_is_refused_by_place(condition: Any, problems: dict[str, list[str]]) -> None:
    assert check_filter(condition) == problems


def test_every_operator_of_targeting_is_either_taken_or_refused_with_what_to_use_instead() -> None:
    operands = {"$in": [1], "$nin": [1], "$ini": ["x"], "$nini": ["x"], "$exists": True, "$type": "string", "$not": 1}
    asked = {name: {"a": {name: operands.get(name, 1)}} for name in {*BUILDERS, *NESTING, *GROUPS}}
    refused = {name for name, condition in asked.items() if check_filter(condition)}

    assert asked.keys() - refused == {"$eq", "$ne", "$lt", "$lte", "$gt", "$gte", *operands}
    for name in refused:
        (message,) = check_filter(asked[name])[f"a.{name}"]
        assert any(word in message for word in ("$in", "$nin", "$ini", "$nini", "under the property itself"))
        assert "attribute" not in message


def nested(levels: int, innermost: object) -> dict[str, Any]:
    """A filter of that many objects, one in the other."""
    condition: dict[str, Any] = {"a": innermost}
    for _ in range(levels - 1):
        condition = {"$not": condition}
    return condition


def test_nesting_counts_a_bare_list_as_what_it_stands_for() -> None:
    too_deep = {"": ["must not be nested deeper than 20 levels"]}
    assert (check_filter(nested(20, 1)), check_filter(nested(21, 1))) == ({}, too_deep)
    assert (check_filter(nested(18, [1])), check_filter(nested(19, [1]))) == ({}, too_deep)


def test_a_bare_list_means_any_of() -> None:
    condition = {"a": ("x", 1), "$or": [{"b": [2]}, {"c": {"$not": [3], "$gt": 1}}], "$not": {"d": [4], "e": "y"}}
    assert normalise_filter(condition) == {
        "a": {"$in": ["x", 1]},
        "$or": [{"b": {"$in": [2]}}, {"c": {"$not": {"$in": [3]}, "$gt": 1}}],
        "$not": {"d": {"$in": [4]}, "e": "y"},
    }


scalars = st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.floats(), st.sampled_from(["", "a", "Σ", "\0"]))
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["a", "b", "", "$foo", *sorted({*BUILDERS, *NESTING, *LISTS, *GROUPS})]), inner, max_size=3
        ),
    ),
    max_leaves=12,
)


@given(anything, st.dictionaries(st.sampled_from("ab"), st.one_of(st.booleans(), st.integers(-2, 2), st.just("a"))))
@settings(derandomize=True, max_examples=300)
def test_any_json_is_checked_and_what_is_well_can_be_evaluated(condition: Any, properties: dict[str, Any]) -> None:
    if check_filter(condition) == {}:
        normal = normalise_filter(condition)
        assert check_filter(normal) == {}
        both = compile_condition(normal)(properties), compile_condition({"$not": normal})(properties)
        assert sorted(both) == [False, True]
