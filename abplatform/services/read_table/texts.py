"""Columns of any type as text."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

NOT_UTF_8 = "is not valid UTF-8 text; save the table as UTF-8"


def hint_for_number(text: str) -> str:
    """What may be the matter with a text that is no number; empty where nothing is known."""
    return "; write a point before the decimals, and nothing between thousands" if "," in text else ""


def as_text(values: pa.Array) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """A column as text with nulls for what is missing (empty text, null, NaN), and where it is not valid text.

    A whole floating-point number is written without a point, so that ``1.0`` and ``1`` are one value.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    unreadable = np.zeros(len(values), dtype=np.bool_)
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
    try:
        texts = pc.cast(values, pa.string())
    except pa.ArrowInvalid:
        decoded = [_decode(value) for value in values.to_pylist()]
        unreadable = np.array([value is _UNREADABLE for value in decoded], dtype=np.bool_)
        texts = pa.array([None if value is _UNREADABLE else value for value in decoded], pa.string())
    return pc.if_else(pc.equal(texts, ""), None, texts), unreadable


_UNREADABLE = object()


def _decode(value: bytes | str | None) -> object:
    if value is None or isinstance(value, str):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return _UNREADABLE
