"""How facts lie in the lake: columns, partitions, order, and the way from facts to Arrow and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.sorting import SortField, SortOrder
from pyiceberg.transforms import DayTransform, IdentityTransform
from pyiceberg.types import (
    DecimalType,
    IcebergType,
    IntegerType,
    LongType,
    MapType,
    NestedField,
    StringType,
    TimestamptzType,
)

from abplatform.domain.events import ConversionFact, EventKind, ExposureFact

Fact = ExposureFact | ConversionFact

KINDS: tuple[EventKind, ...] = ("exposure", "conversion")
TABLE_NAMES: dict[str, str] = {"exposure": "exposures", "conversion": "conversions"}
SORT_COLUMNS = ("unit", "timestamp", "event_id")

# No retry by PyIceberg: it would append rows again to a table that another sealer has just given them.
TABLE_PROPERTIES = {
    "format-version": "2",
    "commit.retry.num-retries": "0",
    "commit.manifest-merge.enabled": "true",
    "write.parquet.compression-codec": "zstd",
    "write.delete.mode": "copy-on-write",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "100",
    "write.metadata.metrics.column.event_id": "full",
}

MONEY = pa.decimal128(20, 6)
PLAIN_MONEY = r"^-?[0-9]{1,14}(?:\.[0-9]{1,6})?$"
"""Texts that Arrow casts to `MONEY` exactly."""
TIME = pa.timestamp("us", tz="UTC")
TEXT_MAP = pa.map_(pa.string(), pa.string())

_MAP_IDS = {"attributes": 100, "properties": 100, "units": 102}
_ARROW_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int": pa.int32(),
    "money": MONEY,
    "time": TIME,
    "map": TEXT_MAP,
}

# name, type, required. Columns are never moved, and new ones stand at the end and are optional: tables that exist get
# them when they are opened. The position of a column (from 1) is its Iceberg field id in all tables, up to those that
# came later: Iceberg numbers them where it adds them.
_COLUMNS: dict[str, tuple[tuple[str, str, bool], ...]] = {
    "exposure": (
        ("event_id", "string", True),
        ("experiment", "string", True),
        ("phase", "int", True),
        ("variant", "string", True),
        ("expected_variant", "string", False),
        ("unit", "string", True),
        ("cluster", "string", False),
        ("timestamp", "time", True),
        ("sent_timestamp", "time", True),
        ("received_at", "time", True),
        ("attributes", "map", True),
    ),
    "conversion": (
        ("event_id", "string", True),
        ("event", "string", True),
        ("unit", "string", True),
        ("value", "money", False),
        ("timestamp", "time", True),
        ("sent_timestamp", "time", True),
        ("received_at", "time", True),
        ("properties", "map", True),
        ("units", "map", False),
    ),
}
SEQUENCE_NUMBER = "sequence_number"
"""The column of every table, beside those of the facts, with Iceberg's number of the commit that brought the row.

Compaction keeps it, so that readers who know a state of the table find the rows that have come since.
"""


def arrow_schema(kind: EventKind) -> pa.Schema:
    """Columns of facts, for Arrow: those of a table of the lake without `SEQUENCE_NUMBER`."""
    return pa.schema(
        [pa.field(name, _ARROW_TYPES[type_], nullable=not required) for name, type_, required in _COLUMNS[kind]]
    )


def iceberg_schema(kind: EventKind) -> Schema:
    """Columns of a table of the lake, for Iceberg."""
    columns = (*_COLUMNS[kind], (SEQUENCE_NUMBER, "long", False))
    return Schema(
        *(
            NestedField(field_id=position, name=name, field_type=_iceberg_type(name, type_), required=required)
            for position, (name, type_, required) in enumerate(columns, start=1)
        )
    )


def field_id(kind: EventKind, column: str) -> int:
    """Iceberg's number of a column that all tables have had from the beginning."""
    return 1 + [name for name, _, _ in _COLUMNS[kind]].index(column)


def partition_spec(kind: EventKind) -> PartitionSpec:
    """One partition per day of the event's own time, in UTC."""
    return PartitionSpec(
        PartitionField(
            source_id=field_id(kind, "timestamp"), field_id=1000, transform=DayTransform(), name="timestamp_day"
        )
    )


def sort_order(kind: EventKind) -> SortOrder:
    """The order of rows inside a file."""
    return SortOrder(
        *(SortField(source_id=field_id(kind, column), transform=IdentityTransform()) for column in SORT_COLUMNS)
    )


def facts_to_arrow(kind: EventKind, facts: Sequence[Fact]) -> pa.Table:
    """Facts as a table with one row each, in the order given."""
    columns = []
    for field in arrow_schema(kind):
        values: list[Any] = [getattr(fact, field.name) for fact in facts]
        if pa.types.is_map(field.type):
            # An optional map that is empty is null, as it is in files from before its column.
            values = [list(value.items()) if value or not field.nullable else None for value in values]
        columns.append(pa.array(values, type=field.type))
    return pa.Table.from_arrays(columns, schema=arrow_schema(kind))


def sort_rows(table: pa.Table) -> pa.Table:
    """The rows in the order in which files keep them."""
    return table.sort_by([(column, "ascending") for column in SORT_COLUMNS])


def _iceberg_type(name: str, type_: str) -> IcebergType:
    if type_ == "map":
        key_id = _MAP_IDS[name]
        return MapType(
            key_id=key_id, key_type=StringType(), value_id=key_id + 1, value_type=StringType(), value_required=False
        )
    plain: dict[str, IcebergType] = {
        "string": StringType(),
        "int": IntegerType(),
        "long": LongType(),
        "money": DecimalType(20, 6),
        "time": TimestamptzType(),
    }
    return plain[type_]
