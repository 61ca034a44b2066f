"""All flags at once: which ones there are, and that each says what it says alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abplatform.assignment import decode_snapshot
from abplatform.services.resolve_flags import resolve_flag, resolve_flags
from tests.assignment.documents import a_rule, a_snapshot

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(".ab", max_size=2), inner, max_size=3),
    max_leaves=8,
)


def a_flag(control: Any, treatment: Any, **changes: Any) -> dict[str, Any]:
    """An experiment with these payloads that gives everybody its second variant."""
    variants = [
        {"key": "control", "range": [0, 0], "payload": control},
        {"key": "treatment", "range": [0, 1_000_000], "payload": treatment},
    ]
    return a_rule(variants=variants, **changes)


def test_all_flags_are_experiments_and_the_fields_at_the_top_of_their_payloads() -> None:
    document = a_snapshot(
        {
            "a": a_flag({"x": 1, "y": {"deep": 2}}, {"z": 3, "x": 4, "dotted.name": 5}),
            "b": a_flag(None, None),
            "c": a_flag([{"x": 1}], "text"),
            "d": a_flag({"x": 1}, {}, hash_version=9),
        }
    )
    keys = [flag.flag_key for flag in resolve_flags(decode_snapshot(document), "u-1")]
    assert keys == ["a", "a.x", "a.y", "a.z", "b", "c", "d"]


@given(JSON, JSON, st.sampled_from(["u-1", None]), st.sampled_from(["running", "paused"]))
@settings(derandomize=True, max_examples=300)
def test_all_at_once_is_each_alone(control: Any, treatment: Any, unit_id: str | None, status: str) -> None:
    snapshot = decode_snapshot(a_snapshot({"e": a_flag(control, treatment, status=status), "f": a_rule()}))
    together = resolve_flags(snapshot, unit_id)
    assert together == [resolve_flag(snapshot, flag.flag_key, unit_id) for flag in together]
    assert "FLAG_NOT_FOUND" not in {flag.error_code for flag in together}, "every key that is named can be resolved"
    assert all(flag.has_value is (flag.value is not None) for flag in together)


@pytest.mark.parametrize("bad", [7, "text", ["x"]])
def test_arguments_that_cannot_be_read_are_an_error_of_each_flag(bad: Any) -> None:
    snapshot = decode_snapshot(a_snapshot())
    flags = [resolve_flag(snapshot, "rate-display.copy", "u-1", bad), *resolve_flags(snapshot, "u-1", bad)]
    assert {flag.error_code for flag in flags} == {"GENERAL"}
