"""Several files of a day as one, sorted, in bounded memory."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import suppress

import duckdb
import pyarrow as pa
from pyiceberg.manifest import DataFile
from pyiceberg.schema import Schema
from pyiceberg.table import Table

from abplatform.warehouse.catalog import lake_answers
from abplatform.warehouse.data_files import ROW_GROUP, write_file
from abplatform.warehouse.duck import open_spilling_duckdb
from abplatform.warehouse.layout import SORT_COLUMNS
from abplatform.warehouse.merges import Merge


class Miscounted(Exception):
    """Files hold another number of rows than the lake says: `abplatform lake verify` names them."""


def write_merged(table: Table, merge: Merge, *, memory_limit: str) -> DataFile:
    """Write the rows of a merge into one new file, which no state of the table names yet.

    All columns of the table are written; in rows of files from before a column it is null.

    Args:
        table: as loaded.
        merge: its files.
        memory_limit: what the sort may use before it spills to disk, such as ``512MB``.

    Raises:
        Miscounted: if the files do not hold as many rows as their manifests say.
        Unavailable: if the storage does not answer, or is full.
    """
    folder = merge.files[0].location.rpartition("/")[0]
    location = f"{folder}/merged-{uuid.uuid4()}.parquet"
    try:
        with lake_answers(), open_spilling_duckdb(memory_limit) as connection:
            # One thread: this is work for the background, beside the server.
            connection.execute("SET threads = 1")
            written = write_file(table, location, merge.day, _sorted_batches(connection, merge, table.schema()))
    except Exception:
        with suppress(OSError):
            table.io.delete(location)
        raise
    if written.record_count != merge.rows:
        table.io.delete(location)
        raise Miscounted(f"{len(merge.files)} files of {merge.day} hold {written.record_count} rows, not {merge.rows}")
    return written


def _sorted_batches(connection: duckdb.DuckDBPyConnection, merge: Merge, schema: Schema) -> Iterator[pa.RecordBatch]:
    paths = [file.path for file in merge.files]
    files = connection.read_parquet(paths, hive_partitioning=False, union_by_name=True)
    columns = [f'"{field.name}"' for field in schema.fields if field.name in files.columns]
    rows = files.order(", ".join(SORT_COLUMNS)).project(", ".join(columns))
    yield from rows.to_arrow_reader(ROW_GROUP)
