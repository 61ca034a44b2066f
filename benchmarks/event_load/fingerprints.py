"""A number for a set of event ids, whatever their order: other sets have another, but for a chance of one in 2**64."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

ID_BYTES = 36
_WORDS = ID_BYTES // 4
_WEIGHTS = np.random.default_rng(20261126).integers(1, 2**63, _WORDS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_FACTOR, _HALF = np.uint64(0x9E3779B97F4A7C15), np.uint64(32)


def fingerprint(ids: npt.NDArray[np.uint8]) -> int:
    """The sum of the hashes of ids, each of `ID_BYTES` bytes, given one behind the other."""
    words = np.frombuffer(ids.tobytes(), np.uint32).reshape(-1, _WORDS).astype(np.uint64)
    hashes = (words * _WEIGHTS).sum(axis=1, dtype=np.uint64)
    hashes = (hashes ^ (hashes >> _HALF)) * _FACTOR
    return int((hashes ^ (hashes >> _HALF)).sum(dtype=np.uint64))


def join(*parts: int) -> int:
    """The fingerprint of sets together."""
    return sum(parts) % 2**64
