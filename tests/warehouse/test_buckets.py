"""Buckets of whole arrays are those of one unit at a time, whichever library hashes."""

from __future__ import annotations

from importlib.util import find_spec

import pyarrow as pa
import pytest

from abplatform.assignment import bucket, unit_digest
from abplatform.assignment.hashing import salt_prefix
from abplatform.warehouse import buckets
from abplatform.warehouse.buckets import DIGEST_BYTES, draw_buckets, draw_digests
from tests.assignment.documents import read_vectors
from tests.warehouse.sql_engines import need

CASES = read_vectors("hash")["cases"]
UNITS = sorted({case["unit_id"] for case in CASES})
TYPES = (pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.string_view())


@pytest.fixture(autouse=True, params=["hashlib", "datafusion"])
def _library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "datafusion":
        need(present=find_spec("datafusion") is not None, how="DataFusion is missing; run: pip install datafusion")
    monkeypatch.setattr(buckets, "has_datafusion", lambda: request.param == "datafusion")


@pytest.mark.parametrize("type_", TYPES, ids=str)
def test_buckets_are_those_of_the_vectors(type_: pa.DataType) -> None:
    units = pa.array([unit.encode() for unit in UNITS], pa.binary()).cast(type_)
    for salt in {case["salt"] for case in CASES}:
        drawn = dict(zip(UNITS, draw_buckets(salt_prefix(salt), units).tolist(), strict=True))
        expected = {case["unit_id"]: case["bucket"] for case in CASES if case["salt"] == salt}
        assert {unit: drawn[unit] for unit in expected} == expected
        assert drawn == {unit: bucket(salt, unit) for unit in UNITS}


def test_digests_are_those_of_one_unit() -> None:
    digests = draw_digests(salt_prefix("salt"), pa.array(UNITS))
    parts = [digests[start : start + DIGEST_BYTES].hex() for start in range(0, len(digests), DIGEST_BYTES)]
    assert parts == [unit_digest("salt", unit) for unit in UNITS]


def test_a_part_of_an_array_is_drawn_alone() -> None:
    units = pa.array([f"user-{number}" for number in range(200_000)])
    whole = draw_buckets(b"1:s", units)
    assert draw_buckets(b"1:s", units.slice(70_001, 3)).tolist() == whole[70_001:70_004].tolist()
    assert whole[199_999] == bucket("s", "user-199999")


def test_no_units_have_no_buckets() -> None:
    assert draw_buckets(b"1:s", pa.array([], pa.string())).tolist() == []


def test_a_null_is_no_unit() -> None:
    with pytest.raises(ValueError, match="units: must not hold nulls"):
        draw_buckets(b"1:s", pa.array(["u-1", None]))
