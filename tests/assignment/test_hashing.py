from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abplatform.assignment import BUCKETS, HASH_VERSION, bucket
from abplatform.assignment.hashing import salt_prefix

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def test_hash_version_and_number_of_buckets_are_those_of_the_contract() -> None:
    assert (HASH_VERSION, BUCKETS) == (1, 1_000_000)


@given(texts, texts)
@settings(derandomize=True)
def test_bucket_is_an_integer_below_a_million(salt: str, unit_id: str) -> None:
    assert 0 <= bucket(salt, unit_id) < BUCKETS


@given(texts, texts, texts, texts)
@settings(derandomize=True)
def test_no_two_pairs_of_salt_and_unit_share_an_encoding(salt: str, unit: str, other_salt: str, other: str) -> None:
    same_bytes = salt_prefix(salt) + unit.encode() == salt_prefix(other_salt) + other.encode()
    assert same_bytes == ((salt, unit) == (other_salt, other))


@given(texts, texts, st.integers(0, 40))
@settings(derandomize=True)
def test_moving_the_boundary_between_salt_and_unit_changes_the_encoding(salt: str, unit: str, shift: int) -> None:
    whole, moved = salt + unit, min(len(salt) + shift, len(salt + unit))
    same_bytes = salt_prefix(salt) + unit.encode() == salt_prefix(whole[:moved]) + whole[moved:].encode()
    assert same_bytes == (moved == len(salt))


@pytest.mark.parametrize(
    ("salt", "unit_id", "message"),
    [
        ("salt", "\ud800", "unit_id: holds a lone surrogate"),
        ("salt", "u-\udfff-1", "unit_id: holds a lone surrogate"),
        ("\ud800", "u-1", "salt: holds a lone surrogate"),
        ("salt", 1, "unit_id: must be a string, not int"),
        ("salt", None, "unit_id: must be a string, not NoneType"),
        ("salt", b"u-1", "unit_id: must be a string, not bytes"),
        (7, "u-1", "salt: must be a string, not int"),
    ],
)
def test_bucket_names_the_argument_that_has_no_utf8_form(salt: Any, unit_id: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        bucket(salt, unit_id)
