"""Parquet files of a table: how they are written, and what Iceberg has to know of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date

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

# As DuckDB writes them: large enough to compress, small enough to be skipped by their statistics.
ROW_GROUP = 122_880

_EPOCH = date(1970, 1, 1)


def day_folder(table: Table, day: date) -> str:
    """Where the files of a day lie."""
    path = table.spec().partition_to_path(_partition(day), table.schema())
    return table.location_provider().new_data_location(path)


def write_file(table: Table, location: str, day: date, batches: Iterable[pa.Table | pa.RecordBatch]) -> DataFile:
    """Write a file that no state of the table names yet. One that cannot be finished is left where it is.

    All columns of the table are written; those that the rows lack are null.

    Args:
        table: as loaded.
        location: of the file.
        day: of all rows.
        batches: the rows in the order of `layout.SORT_COLUMNS`.

    Raises:
        OSError: if the storage does not answer, or is full.
    """
    schema = file_schema(table.schema())
    with table.io.new_output(location).create() as stream:
        writer = pq.ParquetWriter(
            stream, schema, compression="zstd", store_decimal_as_integer=True, use_dictionary=_repetitive(schema)
        )
        with writer:
            for batch in batches:
                writer.write_table(_shape(batch, schema), row_group_size=ROW_GROUP)
    return _record(table, location, day, writer.writer.metadata)


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


def _repetitive(schema: pa.Schema) -> list[str]:
    """Paths of the columns that get a dictionary: all but the ids, which never come twice."""
    return [path for field in schema if field.name != "event_id" for path in _leaves(field)]


def _leaves(field: pa.Field) -> Iterator[str]:
    if pa.types.is_map(field.type):
        yield from (f"{field.name}.key_value.{leaf}" for leaf in ("key", "value"))
    else:
        yield field.name


def _shape(batch: pa.Table | pa.RecordBatch, schema: pa.Schema) -> pa.Table:
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
        partition=_partition(day),
        file_size_in_bytes=len(table.io.new_input(location)),
        sort_order_id=table.sort_order().order_id,
        spec_id=table.metadata.default_spec_id,
        equality_ids=None,
        key_metadata=None,
        **statistics.to_serialized_dict(),
    )


def _partition(day: date) -> Record:
    return Record((day - _EPOCH).days)
