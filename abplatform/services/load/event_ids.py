"""Ids of events that have none: made of what the rows say, so that the same table counts once.

An id is a UUID of version 8 (RFC 9562): the time of the event in milliseconds, as in the UUIDs of version 7 that the
SDK sends, then 74 bits of a SHA-256. Files of the lake hold one day of events each, so that only those of that day can
hold the id, and their statistics say so.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from hashlib import sha256
from types import TracebackType

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from abplatform.warehouse.buckets import DIGEST_BYTES, draw_digests

RUN = 2_000_000
Bytes = npt.NDArray[np.uint8]
Keys = npt.NDArray[np.uint64]

_PREFIX = b"abplatform import-events 1:"
_HEXADECIMAL = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)


class EventIds:
    """Makes the ids of one table's events, piece by piece in the order of the rows; use as a context manager.

    Args:
        kind: of the events.
    """

    def __init__(self, kind: str) -> None:
        self._prefix = _PREFIX + kind.encode() + b":"
        self._seen = _Seen()

    def derive(self, times: pa.Array, fields: Sequence[pa.Array]) -> pa.Array:
        """The ids of the next rows.

        Args:
            times: of the events, in microseconds.
            fields: texts that together with the time say all that the rows say; null where nothing is said.
        """
        said = pc.binary_join_element_wise(*map(_delimit, [times.cast(pa.int64()).cast(pa.string()), *fields]), "")
        digests = np.frombuffer(draw_digests(self._prefix, said), dtype=np.uint8).reshape(-1, DIGEST_BYTES).copy()
        # Rows that say the same are different events, numbered in their order.
        again = self._seen.count(digests.view(np.uint64)[:, 0].copy())
        for position in np.flatnonzero(again).tolist():
            repeated = sha256(digests[position].tobytes() + b"%d" % again[position])
            digests[position] = np.frombuffer(repeated.digest(), dtype=np.uint8)
        return _write(times.cast(pa.int64()).to_numpy() // 1_000, digests)

    def __enter__(self) -> EventIds:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._seen.close()


class _Seen:
    """How often keys came before; more than `RUN` of them lie on disk, 8 bytes each, so that memory stays bounded.

    Two texts with one key only share their numbering: their ids differ all the same.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `close`)
        self._runs: list[Keys] = []
        self._recent: list[Keys] = []

    def count(self, keys: Keys) -> npt.NDArray[np.int64]:
        """For each key how many equal ones came before it, in this call and in all before."""
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        before = np.arange(len(keys)) - np.searchsorted(ordered, ordered, "left")
        for run in (*self._runs, *self._recent):
            before += np.searchsorted(run, ordered, "right") - np.searchsorted(run, ordered, "left")
        self._remember(ordered)
        counts = np.empty(len(keys), dtype=np.int64)
        counts[order] = before
        return counts

    def close(self) -> None:
        self._runs.clear()
        self._file.close()

    def _remember(self, ordered: Keys) -> None:
        self._recent.append(ordered)
        if sum(map(len, self._recent)) < RUN:
            return
        run = np.sort(np.concatenate(self._recent))
        offset = self._file.seek(0, 2)
        self._file.write(run.tobytes())
        self._file.flush()
        self._runs.append(np.memmap(self._file, np.uint64, mode="r", offset=offset, shape=run.shape))
        self._recent.clear()


def _delimit(texts: pa.Array) -> pa.Array:
    """Texts with their lengths before them, so that no two rows of texts are joined to the same."""
    lengths = pc.binary_length(texts).cast(pa.string())
    return pc.fill_null(pc.binary_join_element_wise(lengths, texts, ":"), "-")


def _write(milliseconds: npt.NDArray[np.int64], digests: Bytes) -> pa.Array:
    """UUIDs of these times and digests, as texts."""
    octets = np.empty((len(digests), 16), dtype=np.uint8)
    octets[:, :6] = milliseconds.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 2:]
    octets[:, 6:] = digests[:, 8:18]
    octets[:, 6] = octets[:, 6] & 0x0F | 0x80
    octets[:, 8] = octets[:, 8] & 0x3F | 0x80
    digits = np.empty((len(digests), 32), dtype=np.uint8)
    digits[:, 0::2], digits[:, 1::2] = _HEXADECIMAL[octets >> 4], _HEXADECIMAL[octets & 0x0F]
    texts = np.insert(digits, [8, 12, 16, 20], ord("-"), axis=1)
    offsets = np.arange(len(texts) + 1, dtype=np.int32) * texts.shape[1]
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(offsets), pa.py_buffer(texts.tobytes()))
