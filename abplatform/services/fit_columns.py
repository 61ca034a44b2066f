"""Fit the columns of a table into the file that is written: as they are into Parquet, as text into CSV."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from abplatform.errors import InvalidInput
from abplatform.services.assign_units import read_texts
from abplatform.services.read_table.source import Batch

# What Arrow writes for a time that no calendar has.
_NO_TIME = "<value out of range"


def fit_schema(schema: pa.Schema, format_: str) -> pa.Schema:
    """The columns as they are written: the same in Parquet; in CSV bytes are text, and dictionaries their values.

    Args:
        schema: of the table that is read.
        format_: ``csv`` or ``parquet``.

    Raises:
        InvalidInput: CSV cannot hold a column.
    """
    if format_ == "parquet":
        return schema
    for position, field in enumerate(schema):
        type_ = _type_in_csv(field.type)
        if type_ is None:
            held = f"CSV cannot hold {field.name!r}, which is {field.type}; write Parquet"
            raise InvalidInput({"--output": [held]})
        schema = schema.set(position, field.with_type(type_))
    return schema


def fit_column(batch: Batch, name: str, schema: pa.Schema) -> pa.Array:
    """A column as `fit_schema` says.

    Raises:
        InvalidInput: a row cannot be split into columns, or a cell cannot be written; it is named by its row.
    """
    values, type_ = batch.columns[name], schema.field(name).type
    if pa.types.is_dictionary(values.type) and not pa.types.is_dictionary(type_):
        values = values.dictionary_decode()
    if values.type.equals(type_):
        return values
    try:
        return values.cast(type_)
    except pa.ArrowInvalid:
        read_texts(batch, name)  # says which row is no UTF-8
        raise


def check_times(batch: Batch, name: str, column: pa.Array) -> None:
    """Refuse times that CSV cannot hold, since no calendar has them.

    Raises:
        InvalidInput: naming the row.
    """
    if pa.types.is_temporal(column.type) and not pa.types.is_duration(column.type):
        row = pc.index(pc.starts_with(column.cast(pa.string()), _NO_TIME), True).as_py()
        if row >= 0:
            detail = f"row {batch.numbers[row]}: {name!r} is no time that can be written as text; write Parquet"
            raise InvalidInput({"file": [detail]})


def _type_in_csv(type_: pa.DataType) -> pa.DataType | None:
    """What a column is written as; None where CSV has no text for it."""
    plain = type_.value_type if pa.types.is_dictionary(type_) else type_
    kinds = pa.types
    if kinds.is_large_string(plain) or kinds.is_large_binary(plain):
        return pa.large_string()
    texts = (kinds.is_string, kinds.is_string_view, kinds.is_binary, kinds.is_binary_view, kinds.is_fixed_size_binary)
    if any(is_kind(plain) for is_kind in texts):
        return pa.string()
    others = (kinds.is_null, kinds.is_boolean, kinds.is_integer, kinds.is_floating, kinds.is_decimal, kinds.is_temporal)
    return plain if any(is_kind(plain) for is_kind in others) else None
