"""Rows into a table of the lake in one commit, of which nothing stays behind when it fails.

A commit that failed for certain takes its files with it: on a full disk they would take the room that somebody has just
made. Where nobody can tell whether it happened (the answer of the catalog got lost), they stay: the table may name
them. Their names tell which addition they belong to, so that whoever repeats it finds them (`removal`).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table, Transaction

from abplatform.warehouse.data_files import day_folder, write_file
from abplatform.warehouse.durable_io import DurableFileIO
from abplatform.warehouse.strict_catalog import NotCommitted

_WRITERS = 4
_EPOCH = date(1970, 1, 1)
_DAY_MICROSECONDS = 86_400_000_000


def add_rows(table: Table, rows: pa.Table, seal_id: str, properties: Mapping[str, str]) -> None:
    """Add rows in one commit, on top of exactly the state that was loaded.

    Args:
        table: as loaded.
        rows: in the order of `layout.SORT_COLUMNS`, with columns of the table.
        seal_id: names the addition.
        properties: of the commit.

    Raises:
        CommitFailedException: if the table changed since it was loaded; nothing was added, and nothing is left.
        NotCommitted: if the catalog does not answer, or the storage does not, or is full; the same.
        DBAPIError: if the commit may or may not have happened. Its files stay.
    """

    def stage(table: Table, transaction: Transaction) -> None:
        files = _write(table, rows, file_mark(seal_id))
        with transaction.update_snapshot(snapshot_properties=dict(properties)).merge_append() as change:
            for file in files:
                change.append_data_file(file)

    commit_on_top(table, stage)


def replace_files(
    table: Table, gone: Iterable[DataFile], new: Iterable[DataFile], properties: Mapping[str, str]
) -> None:
    """Put new files in the place of some others in one commit, on top of exactly the state that was loaded.

    Args:
        table: as loaded.
        gone: Iceberg's records of files of that state.
        new: of files that are written already; they stay whatever happens.
        properties: of the commit.

    Raises:
        CommitFailedException, NotCommitted, DBAPIError: see `add_rows`.
    """

    def stage(_table: Table, transaction: Transaction) -> None:
        change = transaction.update_snapshot(snapshot_properties=dict(properties)).overwrite()
        for file in gone:
            change.delete_data_file(file)
        for file in new:
            change.append_data_file(file)
        change.commit()

    commit_on_top(table, stage)


def commit_on_top(table: Table, stage: Callable[[Table, Transaction], None]) -> None:
    """Commit on top of exactly the state that was loaded; what was written for a commit that failed is removed.

    Args:
        table: as loaded.
        stage: writes files, through the table that it is given, and says what changes.

    Raises:
        CommitFailedException, NotCommitted, DBAPIError: see `add_rows`.
    """
    io = DurableFileIO(table.io.properties)
    table = Table(table.name(), table.metadata, table.metadata_location, io, table.catalog)
    transaction = table.transaction()
    try:
        stage(table, transaction)
    except Exception as error:
        io.take_back()  # No commit has been tried.
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            raise NotCommitted("the storage of the lake does not answer, or is full; try again shortly") from error
        raise
    try:
        transaction.commit_transaction()
    except (CommitFailedException, NotCommitted):
        io.take_back()
        raise


def file_mark(seal_id: str) -> str:
    """How the names of an addition's data files begin, whatever its name is made of."""
    return f"{uuid.uuid5(uuid.NAMESPACE_OID, seal_id)}-"


def _write(table: Table, rows: pa.Table, mark: str) -> list[DataFile]:
    def write(day: date, rows_of_day: pa.Table) -> DataFile:
        return write_file(table, f"{day_folder(table, day)}/{mark}{uuid.uuid4()}.parquet", day, [rows_of_day])

    # All have ended, well or not, when the block ends: what they wrote can be taken back.
    with ThreadPoolExecutor(_WRITERS) as pool:
        return list(pool.map(write, *zip(*_split_by_day(rows), strict=True)))


def _split_by_day(rows: pa.Table) -> Iterator[tuple[date, pa.Table]]:
    """The rows of each day of their own time, in UTC, in the order in which they are."""
    days = rows["timestamp"].cast(pa.int64()).to_numpy() // _DAY_MICROSECONDS
    if days.min() == days.max():
        yield _EPOCH + timedelta(days=int(days[0])), rows
        return
    order = np.argsort(days, kind="stable")
    rows, days = rows.take(pa.array(order)), days[order]
    bounds = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist(), len(days)]
    for start, end in pairwise(bounds):
        yield _EPOCH + timedelta(days=int(days[start])), rows.slice(start, end - start)
