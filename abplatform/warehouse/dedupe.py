"""Which events count: the first accepted of each id, decided by the ids themselves."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb
import pyarrow as pa

from abplatform.domain.events import EventKind, ExposureFact
from abplatform.warehouse.duck import open_duckdb
from abplatform.warehouse.inbox import Fact
from abplatform.warehouse.lake import LakeFile
from abplatform.warehouse.layout import arrow_to_facts

DEDUPE_HORIZON = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Sifted:
    """What is left of a row of events.

    Attributes:
        kept: the first of each id that the lake does not have yet.
        duplicates: how many said again what was known.
        conflicts: how many used a known id for something else.
    """

    kept: tuple[Fact, ...]
    duplicates: int
    conflicts: int


def sift(facts: Iterable[Fact], sealed: Mapping[str, Fact]) -> Sifted:
    """Keep the first event of each id.

    Args:
        facts: in the order in which they were accepted.
        sealed: events of the lake by id; they were accepted earlier.
    """
    known = dict(sealed)
    kept: list[Fact] = []
    duplicates = conflicts = 0
    for fact in facts:
        first = known.get(fact.event_id)
        if first is None:
            known[fact.event_id] = fact
            kept.append(fact)
        elif said(first) == said(fact):
            duplicates += 1
        else:
            conflicts += 1
    return Sifted(tuple(kept), duplicates, conflicts)


def said(fact: Fact) -> tuple[object, ...]:
    """What the client said in an event: without what the platform added (receipt, skew correction, own draw).

    Two deliveries of one event, a retry after a lost answer say, are equal in it.
    """
    if isinstance(fact, ExposureFact):
        who = (fact.unit, fact.cluster, fact.sent_timestamp)
        return (*who, fact.experiment, fact.phase, fact.variant, fact.attributes)
    return fact.unit, fact.units, fact.sent_timestamp, fact.event, fact.value, fact.properties


def find_sealed(kind: EventKind, files: Sequence[LakeFile], ids: Iterable[str], *, now: datetime) -> dict[str, Fact]:
    """Events of the lake that have one of these ids.

    Statistics of files only spare reading those that cannot matter; the ids in the files decide.

    Args:
        kind: what the files hold.
        files: all files of the table.
        ids: to look for.
        now: files that the lake got more than `DEDUPE_HORIZON` before are not read.
    """
    ordered = sorted(set(ids))
    paths = [file.path for file in files if _may_hold(file, ordered, oldest=now - DEDUPE_HORIZON)]
    if not paths:
        return {}
    with open_duckdb() as connection:
        matching = _select(connection, paths, "event_id", pa.array(ordered, pa.string()))
        # Nearly always nothing matches: only then are whole rows read.
        if not len(matching):
            return {}
        rows = _select(connection, paths, "*", matching.column("event_id").combine_chunks())
    return {fact.event_id: fact for fact in arrow_to_facts(kind, rows)}


def _select(connection: duckdb.DuckDBPyConnection, paths: list[str], columns: str, ids: pa.Array) -> pa.Table:
    connection.register("wanted", pa.table({"event_id": ids}))
    # By name: files from before a column lack it.
    files = connection.read_parquet(paths, hive_partitioning=False, union_by_name=True)  # noqa: F841  (see the query)
    query = f"SELECT {columns} FROM files SEMI JOIN wanted USING (event_id)"  # noqa: S608  (columns are ours)
    return connection.sql(query).to_arrow_table()


def _may_hold(file: LakeFile, ordered_ids: Sequence[str], *, oldest: datetime) -> bool:
    if file.committed_at is not None and file.committed_at < oldest:
        return False
    if file.first_id is None or file.last_id is None:
        return bool(ordered_ids)
    position = bisect_left(ordered_ids, file.first_id)
    return position < len(ordered_ids) and ordered_ids[position] <= file.last_id
