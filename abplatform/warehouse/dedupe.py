"""Which events count: the first accepted of each id, decided by the ids themselves."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from abplatform.domain.events import EventKind
from abplatform.warehouse.catalog import lake_answers
from abplatform.warehouse.duck import open_duckdb
from abplatform.warehouse.lake import LakeFile
from abplatform.warehouse.layout import arrow_schema

DEDUPE_HORIZON = timedelta(days=30)

# What the client said: without what the platform added (receipt, skew correction, own draw). Two deliveries of one
# event, a retry after a lost answer say, are equal in it.
_SAID = {
    "exposure": ("unit", "cluster", "sent_timestamp", "experiment", "phase", "variant", "attributes"),
    "conversion": ("unit", "units", "sent_timestamp", "event", "value", "properties"),
}
_FEW_FILES = 8

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sifted:
    """What is left of some events.

    Attributes:
        kept: the first of each id that the lake does not have yet, in their order.
        duplicates: how many said again what was known.
        conflicts: how many used a known id for something else.
    """

    kept: pa.Table
    duplicates: int
    conflicts: int


def sift(kind: EventKind, facts: pa.Table, sealed: pa.Table) -> Sifted:
    """Keep the first event of each id.

    Args:
        kind: what the events are.
        facts: in the order in which they were accepted.
        sealed: events of the lake, see `find_sealed`; they were accepted earlier.
    """
    ids = pa.chunked_array([*sealed["event_id"].chunks, *facts["event_id"].chunks], pa.string()).combine_chunks()
    numbered = ids.dictionary_encode()
    if len(numbered.dictionary) == facts.num_rows and not sealed.num_rows:
        return Sifted(facts, 0, 0)
    codes = numbered.indices.to_numpy()
    rows = np.arange(len(codes))
    # Of several rows the last that is written stays, which is the first here.
    firsts = np.empty(len(numbered.dictionary), dtype=np.int64)
    firsts[codes[::-1]] = rows[::-1]
    ours = rows >= sealed.num_rows
    is_first = firsts[codes] == rows
    repeats = rows[ours & ~is_first]
    same = _count_same(kind, sealed, facts, firsts[codes[repeats]], repeats)
    return Sifted(facts.filter(pa.array(is_first[ours])), same, len(repeats) - same)


def find_sealed(
    kind: EventKind, files: Sequence[LakeFile], ids: pa.ChunkedArray, *, oldest: datetime | None
) -> pa.Table:
    """Events of the lake that have one of these ids, with the columns of `arrow_schema`.

    Statistics of files only spare reading those that cannot matter; the ids in the files decide.

    Args:
        kind: what the files hold.
        files: all files of the table.
        ids: to look for.
        oldest: files that the lake got before are not read; None reads all.
    """
    nothing = arrow_schema(kind).empty_table()
    near, wanted = _that_may_meet(files, ids, oldest)
    if not near:
        return nothing
    paths = [file.path for file in near]
    with lake_answers(), open_duckdb() as connection:
        connection.register("wanted", pa.table({"event_id": wanted}))
        matching = _select(connection, paths, "event_id")
        # Nearly always nothing matches: only then are whole rows read.
        if not len(matching):
            return nothing
        connection.register("wanted", pa.table({"event_id": matching["event_id"]}))
        return _in_layout(kind, _select(connection, paths, "*"))


def _select(connection: Any, paths: list[str], columns: str) -> pa.Table:
    # By name: files from before a column lack it.
    files = connection.read_parquet(paths, hive_partitioning=False, union_by_name=len(paths) > 1)  # noqa: F841  (see the query)
    query = f"SELECT {columns} FROM files SEMI JOIN wanted USING (event_id)"  # noqa: S608  (columns are ours)
    return connection.sql(query).to_arrow_table()


def _in_layout(kind: EventKind, rows: pa.Table) -> pa.Table:
    schema = arrow_schema(kind)
    columns = [
        rows[field.name].cast(field.type) if field.name in rows.column_names else pa.nulls(len(rows), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _that_may_meet(
    files: Sequence[LakeFile], ids: pa.ChunkedArray, oldest: datetime | None
) -> tuple[list[LakeFile], pa.ChunkedArray]:
    """The files that may hold some of the ids, and the ids that may be in one of them."""
    bounds = pc.min_max(ids)
    lowest, highest = bounds["min"].as_py(), bounds["max"].as_py()
    if lowest is None:
        return [], ids
    recent = [file for file in files if oldest is None or file.committed_at is None or file.committed_at >= oldest]
    near = [file for file in recent if _meets(file, lowest, highest)]
    if len(near) > _FEW_FILES:
        # A few ids of long ago lie far from all others: look at what lies between.
        ordered = sorted(ids.to_pylist())
        return [file for file in near if _holds_one_of(file, ordered)], ids
    within = {file: _within(file, ids) for file in near}
    meeting = {file: mask for file, mask in within.items() if pc.any(mask).as_py()}
    return list(meeting), ids.filter(reduce(pc.or_, meeting.values())) if meeting else ids


def _within(file: LakeFile, ids: pa.ChunkedArray) -> pa.ChunkedArray:
    if file.first_id is None or file.last_id is None:
        return pc.is_valid(ids)
    return pc.and_(pc.greater_equal(ids, file.first_id), pc.less_equal(ids, file.last_id))


def _meets(file: LakeFile, lowest: str, highest: str) -> bool:
    return file.first_id is None or file.last_id is None or (file.first_id <= highest and lowest <= file.last_id)


def _holds_one_of(file: LakeFile, ordered: Sequence[str]) -> bool:
    if file.first_id is None or file.last_id is None:
        return True
    position = bisect_left(ordered, file.first_id)
    return position < len(ordered) and ordered[position] <= file.last_id


def _count_same(kind: EventKind, sealed: pa.Table, facts: pa.Table, firsts: Rows, repeats: Rows) -> int:
    """How many of some rows say the same as the first ones of their ids; rows of ``sealed`` are numbered first."""
    start = sealed.num_rows
    earlier = firsts < start
    pairs = (
        (sealed.take(firsts[earlier]), facts.take(repeats[earlier] - start)),
        (facts.take(firsts[~earlier] - start), facts.take(repeats[~earlier] - start)),
    )
    return sum(int(np.count_nonzero(_say_the_same(kind, *pair))) for pair in pairs)


def _say_the_same(kind: EventKind, first: pa.Table, again: pa.Table) -> Mask:
    same = np.ones(len(first), dtype=bool)
    for name in _SAID[kind]:
        same &= _equal(first[name].combine_chunks(), again[name].combine_chunks())
    return same


def _equal(left: pa.Array, right: pa.Array) -> Mask:
    if pa.types.is_map(left.type):
        # Entries have no order, and absent equals empty.
        return np.array(
            [dict(a or ()) == dict(b or ()) for a, b in zip(left.to_pylist(), right.to_pylist(), strict=True)], bool
        )
    equal = pc.fill_null(pc.equal(left, right), False)
    return pc.or_(equal, pc.and_(left.is_null(), right.is_null())).to_numpy(zero_copy_only=False)
