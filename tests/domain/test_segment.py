"""Segments: what may be a member, and how ids of units become digests."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from abplatform.domain.segment import MOST_MEMBERS, seal_segment
from abplatform.errors import InvalidInput
from tests.builders import a_segment, a_segment_of_units, a_segment_request

UNITS: dict[str, Any] = {"kind": "units", "values": None}


def test_values_are_kept_in_order_and_once() -> None:
    sent = ("b", "a", 1, True, "b", 1.0, False, 0, "1", -0.0, 2.5, "")
    segment = a_segment(values=sent)
    assert [(type(value), value) for value in segment.values] == [
        (str, "b"),
        (str, "a"),
        (int, 1),
        (bool, True),
        (bool, False),
        (int, 0),
        (str, "1"),
        (float, 2.5),
        (str, ""),
    ]
    assert (segment.count, segment.digests) == (9, ())


def test_ids_become_salted_digests_in_ascending_order() -> None:
    """The encoding is that of docs/assignment.md, written out here with hashlib alone."""
    segment = a_segment_of_units("staff", "u-1", "利率", "u-2", "u-1", salt="salt")
    expected = {sha256(f"4:salt{unit}".encode()).hexdigest() for unit in ("u-1", "u-2", "利率")}
    assert segment.digests == tuple(sorted(expected))
    assert (segment.count, segment.values) == (3, ())
    assert a_segment_of_units("staff", "u-1", salt="other").digests != a_segment_of_units("staff", "u-1").digests


@pytest.mark.parametrize("value", ["x" * 256, "", " ", 10**60, -1, 1e308, 5e-324, True, "保本"])
def test_a_good_value_is_taken(value: object) -> None:
    assert a_segment(values=(value,)).values == (value,)


@pytest.mark.parametrize(
    "value", ["x" * 257, "nul\0", "\ud800", None, [], {}, (), float("nan"), float("inf"), 10**400, b"x"]
)
def test_a_bad_value_is_named_by_its_place(value: object) -> None:
    with pytest.raises(InvalidInput) as refusal:
        a_segment(values=("good", value))
    assert list(refusal.value.errors) == ["values.1"]


@pytest.mark.parametrize("unit", ["", "x" * 257, "secret\0", "secret\ud800", None, 7, True, ["secret"]])
def test_a_bad_id_is_named_by_its_place_and_not_repeated(unit: object) -> None:
    with pytest.raises(InvalidInput) as refusal:
        seal_segment(a_segment_request(**UNITS, unit_ids=("u-1", unit)), salt="salt")
    assert list(refusal.value.errors) == ["unit_ids.1"]
    assert "secret" not in str(refusal.value)


def test_of_many_bad_members_the_first_twenty_are_named() -> None:
    with pytest.raises(InvalidInput) as refusal:
        a_segment(values=("good", *[None] * 100))
    assert list(refusal.value.errors) == [f"values.{number}" for number in range(1, 21)]


@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        ({"key": "VIP"}, {"key"}),
        ({"name": ""}, {"name"}),
        ({"kind": "people", "values": None}, {"kind"}),
        ({"values": None}, {"values"}),
        ({"unit_ids": ("u-1",)}, {"unit_ids"}),
        ({"values": None, "unit_ids": ("u-1",)}, {"values", "unit_ids"}),
        ({"kind": "units", "unit_ids": ("u-1",)}, {"values"}),
        ({"kind": "units", "values": None}, {"unit_ids"}),
        ({"values": ("x",) * (MOST_MEMBERS + 1)}, {"values"}),
        ({**UNITS, "unit_ids": ("x",) * (MOST_MEMBERS + 1)}, {"unit_ids"}),
    ],
)
def test_a_bad_segment_is_refused_by_field(changes: dict[str, Any], paths: set[str]) -> None:
    with pytest.raises(InvalidInput) as refusal:
        a_segment(**changes)
    assert set(refusal.value.errors) == paths


def test_a_segment_may_be_empty_and_may_be_full() -> None:
    assert a_segment(values=()).count == 0
    assert a_segment(values=tuple(range(MOST_MEMBERS))).count == MOST_MEMBERS


def test_a_request_does_not_show_its_ids() -> None:
    assert "u-secret" not in repr(a_segment_request(**UNITS, unit_ids=("u-secret",)))
