"""Buckets of many units at once, the same as those of `abplatform.assignment.hashing`.

Where DataFusion is installed (the extra ``bulk``), its SHA-256 kernel hashes whole arrays; else Python's own does, one
unit after the other. The ADR "Bulk hashing" has the measurements.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from abplatform.assignment import BUCKETS

DIGEST_BYTES = 32
_MANY = 5_000

Buckets = npt.NDArray[np.int32]
Units: TypeAlias = pa.Array | list[bytes]
"""Ids of units: an array of texts or of their UTF-8 bytes, without nulls, or a list of bytes."""


def draw_buckets(prefix: bytes, units: Units) -> Buckets:
    """The bucket of each unit, as `hashing.bucket_of` gives it.

    Args:
        prefix: of a salt, see `hashing.salt_prefix`.
        units: their ids.

    >>> draw_buckets(b"12:rate-display", pa.array(["u-1", "u-2"])).tolist()
    [346557, 269630]
    """
    first = np.frombuffer(draw_digests(prefix, units), ">u8")[:: DIGEST_BYTES // 8]
    # Eight bytes are 16 hexadecimal digits, of which 13 count.
    return ((first >> np.uint64(12)) % np.uint64(BUCKETS)).astype(np.int32)


def draw_digests(prefix: bytes, units: Units) -> bytes:
    """The SHA-256 of prefix and unit for each unit, 32 bytes each; arguments as for `draw_buckets`.

    Raises:
        ValueError: a unit is null.
    """
    if isinstance(units, list):
        return digest_by_hashlib(prefix, units)
    if units.null_count:
        raise ValueError("units: must not hold nulls")
    encoded = units.cast(pa.large_binary())
    # A query takes a millisecond before it begins.
    if len(units) >= _MANY and has_datafusion():
        return digest_by_datafusion(prefix, encoded)
    return digest_by_hashlib(prefix, encoded.to_numpy(zero_copy_only=False))


@cache
def has_datafusion() -> bool:
    """Whether DataFusion is installed."""
    return find_spec("datafusion") is not None


def digest_by_hashlib(prefix: bytes, units: Iterable[bytes]) -> bytes:
    """The digests by Python's library: a hash that has read the prefix already is copied for each unit."""
    copy = sha256(prefix).copy
    digests = []
    for unit in units:
        state = copy()
        state.update(unit)
        digests.append(state.digest())
    return b"".join(digests)


def digest_by_datafusion(prefix: bytes, units: pa.Array) -> bytes:
    """The digests by DataFusion, on this thread's core alone."""
    if not len(units):
        return b""
    hashed = pc.binary_join_element_wise(pa.scalar(prefix, pa.large_binary()), units, pa.scalar(b"", pa.large_binary()))
    context = _datafusion()
    context.register_record_batches("hashed", [[pa.record_batch({"bytes": hashed})]])
    try:
        batches = context.sql("SELECT sha256(bytes) AS digest FROM hashed").collect()
    finally:
        # What is registered is kept.
        context.deregister_table("hashed")
    return b"".join(_values(batch.column(0)) for batch in batches)


@cache
def _datafusion() -> Any:
    datafusion = import_module("datafusion")
    return datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(1))


def _values(digests: pa.Array) -> memoryview:
    data = memoryview(digests.buffers()[2])
    return data[digests.offset * DIGEST_BYTES : (digests.offset + len(digests)) * DIGEST_BYTES]
