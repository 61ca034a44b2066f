"""Several files of a day as one, sorted, in bounded memory."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import date

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
    schema_to_pyarrow,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.typedef import Record

from abplatform.warehouse.catalog import lake_answers
from abplatform.warehouse.duck import open_spilling_duckdb
from abplatform.warehouse.layout import SORT_COLUMNS
from abplatform.warehouse.merges import Merge

# As DuckDB writes them: large enough to compress, small enough to be skipped by their statistics.
_ROW_GROUP = 122_880
_EPOCH = date(1970, 1, 1)


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
            written = _write(table, location, _sorted_batches(connection, merge, table.schema()))
    except Exception:
        with suppress(OSError):
            table.io.delete(location)
        raise
    if written.num_rows != merge.rows:
        table.io.delete(location)
        raise Miscounted(f"{len(merge.files)} files of {merge.day} hold {written.num_rows} rows, not {merge.rows}")
    return _record(table, location, merge.day, written)


def _sorted_batches(connection: duckdb.DuckDBPyConnection, merge: Merge, schema: Schema) -> Iterator[pa.RecordBatch]:
    paths = [file.path for file in merge.files]
    files = connection.read_parquet(paths, hive_partitioning=False, union_by_name=True)
    columns = [f'"{field.name}"' for field in schema.fields if field.name in files.columns]
    rows = files.order(", ".join(SORT_COLUMNS)).project(", ".join(columns))
    yield from rows.to_arrow_reader(_ROW_GROUP)


def _write(table: Table, location: str, batches: Iterator[pa.RecordBatch]) -> pq.FileMetaData:
    schema = file_schema(table.schema())
    with table.io.new_output(location).create() as stream:
        # As PyIceberg writes files, so that all of a table are of one kind.
        with pq.ParquetWriter(stream, schema, compression="zstd", store_decimal_as_integer=True) as writer:
            for batch in batches:
                writer.write_table(_shape(batch, schema), row_group_size=_ROW_GROUP)
        return writer.writer.metadata


def _shape(batch: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    columns = [
        batch.column(field.name).cast(field.type)
        if field.name in batch.schema.names
        else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _record(table: Table, location: str, day: date, written: pq.FileMetaData) -> DataFile:
    schema, properties = table.schema(), table.metadata.properties
    statistics = data_file_statistics_from_parquet_metadata(
        parquet_metadata=written,
        stats_columns=compute_statistics_plan(schema, properties),
        parquet_column_mapping=parquet_path_to_id_mapping(schema),
    )
    return DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=location,
        file_format=FileFormat.PARQUET,
        partition=Record((day - _EPOCH).days),
        file_size_in_bytes=len(table.io.new_input(location)),
        sort_order_id=table.sort_order().order_id,
        spec_id=table.metadata.default_spec_id,
        equality_ids=None,
        key_metadata=None,
        **statistics.to_serialized_dict(),
    )


def file_schema(schema: Schema) -> pa.Schema:
    """The columns of a table's files, with Iceberg's numbers, by which its readers find them."""
    return pa.schema([_plain(field) for field in schema_to_pyarrow(schema)])


def _plain(field: pa.Field) -> pa.Field:
    # PyIceberg means its large types for memory; files say the plain ones.
    if pa.types.is_large_string(field.type):
        return field.with_type(pa.string())
    if pa.types.is_map(field.type):
        return field.with_type(pa.map_(_plain(field.type.key_field), _plain(field.type.item_field)))
    return field
