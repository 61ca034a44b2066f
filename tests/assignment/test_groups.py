"""Saved groups: their two forms, how they are read, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abplatform.assignment.fields import Fields
from abplatform.assignment.groups import Group, decode_group
from abplatform.assignment.hashing import unit_digest
from abplatform.assignment.targeting import compile_condition

HEX = "0123456789abcdef" * 4
scalars = st.one_of(st.booleans(), st.integers(-2, 2), st.floats(-2, 2), st.sampled_from(["", "a", "1", "true"]))
values = st.one_of(st.none(), scalars, st.lists(scalars, max_size=3), st.dictionaries(st.sampled_from("ab"), scalars))


def a_group(document: object) -> Group:
    return decode_group(Fields(document, "groups.vip"))


@given(st.lists(scalars, max_size=4), values)
@settings(derandomize=True, max_examples=500)
def test_values_are_members_as_in_the_operator_in(members: list[object], value: object) -> None:
    in_group = compile_condition({"a": {"$inGroup": "vip"}}, {"vip": {"values": members}})
    assert in_group({"a": value}) == compile_condition({"a": {"$in": members}})({"a": value})


@given(st.lists(st.text(max_size=5), max_size=4), st.text(max_size=5), st.text(min_size=1, max_size=5))
@settings(derandomize=True, max_examples=500)
def test_units_are_members_by_their_digests(members: list[str], unit: str, salt: str) -> None:
    group = a_group({"salt": salt, "sha256": [unit_digest(salt, member) for member in members]})
    assert group.contains(unit) is (unit in members)
    assert all(group.contains(member) for member in members)
    assert group.contains([0, unit]) is (unit in members)


@pytest.mark.parametrize("value", [None, 1, True, 1.0, "\ud800", [], ["\ud800", 1], {"1": 1}, [["1"]]], ids=repr)
def test_what_is_no_id_is_no_member(value: object) -> None:
    assert a_group({"salt": "s", "sha256": [unit_digest("s", "1")]}).contains(value) is False


def test_fields_of_later_versions_are_left_alone() -> None:
    assert a_group({"values": ["x"], "sha256": None, "name": "VIP"}).contains("x") is True


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (None, "groups.vip: must be an object"),
        (["x"], "groups.vip: must be an object"),
        ({}, "groups.vip.values: either values or sha256 must be given"),
        ({"values": ["x"], "sha256": [HEX], "salt": "s"}, "groups.vip.values: either values or sha256 must be given"),
        ({"values": "x"}, "groups.vip.values: must be an array"),
        ({"values": ["x", None]}, "groups.vip.values.1: must be a string, a finite number or a boolean"),
        ({"values": [["x"]]}, "groups.vip.values.0: must be a string, a finite number or a boolean"),
        ({"values": [float("nan")]}, "groups.vip.values.0: must be a string, a finite number or a boolean"),
        ({"sha256": [HEX]}, "groups.vip.salt: is missing"),
        ({"sha256": [HEX], "salt": ""}, "groups.vip.salt: must not be empty"),
        ({"sha256": [HEX], "salt": 1}, "groups.vip.salt: must be a string, not int"),
        ({"sha256": HEX, "salt": "s"}, "groups.vip.sha256: must be an array"),
        *(
            ({"sha256": [HEX, wrong], "salt": "s"}, "groups.vip.sha256.1: must be 64 hexadecimal digits in lower case")
            for wrong in ("", HEX.upper(), HEX[1:], HEX + "0", "g" * 64, " " * 64, "é" * 64, "٣" * 64, 7, None, [HEX])
        ),
    ],
    ids=repr,
)
def test_malformed_groups_are_refused_by_path(document: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        a_group(document)
    with pytest.raises(ValueError, match=f"^{message}$"):
        compile_condition({}, {"vip": document})


def test_decoded_groups_and_documents_may_be_mixed() -> None:
    groups = {"vip": a_group({"values": ["x"]}), "staff": {"values": ["y"]}}
    condition = compile_condition({"a": {"$inGroup": "vip"}, "b": {"$inGroup": "staff"}}, groups)
    assert condition({"a": "x", "b": "y"})
    assert not condition({"a": "y", "b": "y"})
