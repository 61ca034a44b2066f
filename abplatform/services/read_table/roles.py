"""What a column of a table is for, and which types of Parquet can be it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

DAY_HINT = ": a day says nothing about before and after; add a time of day, such as the end of the day"


@dataclass(frozen=True, slots=True)
class Role:
    """What a column is for.

    Attributes:
        allows: whether a type of Parquet can be it.
        rule: what it must be.
    """

    allows: Callable[[pa.DataType], bool]
    rule: str


def _is_text(type_: pa.DataType) -> bool:
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    return any(is_kind(type_) for is_kind in (*kinds, pa.types.is_binary, pa.types.is_large_binary))


def _is_id(type_: pa.DataType) -> bool:
    return _is_text(type_) or pa.types.is_integer(type_)


def _is_number(type_: pa.DataType) -> bool:
    return pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_)


IDS = Role(_is_id, "texts or whole numbers")
TIMES = Role(lambda type_: _is_text(type_) or pa.types.is_timestamp(type_), "timestamps or texts")
AMOUNTS = Role(lambda type_: _is_text(type_) or _is_number(type_), "numbers or texts")
SCALARS = Role(
    lambda type_: _is_text(type_) or _is_number(type_) or pa.types.is_boolean(type_), "texts, numbers or booleans"
)


def hint_for(role: Role, type_: pa.DataType) -> str:
    """What else could be done about a column of a type that its role does not allow; empty where nothing is known."""
    if role is TIMES and pa.types.is_date(type_):
        return DAY_HINT
    if role is IDS and _is_number(type_):
        return ": a number with a point may have lost digits"
    return ""
