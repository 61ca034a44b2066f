"""Properties and attributes of a column as JSON text, so that their types survive."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from abplatform.domain.events import LONGEST_TEXT, BadEvent, Scalar, scalar_as_json
from abplatform.services.load.cells import NUL, Cells

Form = Literal["text", "number", "boolean"]
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,39})(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?")
_WORDS = {"true": True, "false": False}


def read_scalars(cells: Cells, form: Form | None) -> pa.Array:
    """The cells as JSON text; null where nothing stands.

    Args:
        cells: of a column.
        form: what they are; by default what the type of the column says, and text in CSV.
    """
    chosen = form or _natural_form(cells.values.type)
    if pa.types.is_decimal(cells.values.type):
        # As a reader of JSON takes a number.
        cells = Cells(cells.column, cells.values.cast(pa.float64()), cells.refusals)
    texts = cells.texts()
    if chosen == "text":
        _check_texts(cells, texts)
    return _distinct(cells, texts, _READERS[chosen])


def _natural_form(type_: pa.DataType) -> Form:
    plain = type_.value_type if pa.types.is_dictionary(type_) else type_
    if pa.types.is_boolean(plain):
        return "boolean"
    numeric = pa.types.is_integer(plain) or pa.types.is_floating(plain) or pa.types.is_decimal(plain)
    return "number" if numeric else "text"


def _check_texts(cells: Cells, texts: pa.Array) -> None:
    bad = pc.or_(pc.greater(pc.utf8_length(texts), LONGEST_TEXT), pc.match_substring(texts, NUL))
    cells.refuse(bad, "BAD_FIELD", f"must be at most {LONGEST_TEXT} characters without NUL")


def _distinct(cells: Cells, texts: pa.Array, read: Callable[[str], Scalar]) -> pa.Array:
    """Each distinct text is read once."""
    distinct = texts.dictionary_encode()
    written: list[str | None] = []
    faults: list[str] = []
    for text in distinct.dictionary.to_pylist():
        try:
            written.append(scalar_as_json(read(text)))
        except BadEvent as error:
            written.append(None)
            faults.append(text)
            detail = error.detail.removeprefix(f"{error.field}: ")
    if faults:
        cells.refuse(pc.is_in(texts, value_set=pa.array(faults, pa.string())), "BAD_FIELD", detail)
    return pa.array(written, pa.string()).take(distinct.indices)


def _read_text(text: str) -> str:
    return text


def _read_number(text: str) -> int | float:
    """A number as JSON writes it, or as Arrow writes one of a column of numbers."""
    number = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(number):
        raise BadEvent("BAD_FIELD", "", "must be a number, such as 18 or -1.5")
    return int(text) if text.lstrip("-").isdigit() else number


def _read_boolean(text: str) -> bool:
    if text.lower() not in _WORDS:
        raise BadEvent("BAD_FIELD", "", "must be true or false")
    return _WORDS[text.lower()]


_READERS: dict[Form, Callable[[str], Scalar]] = {
    "text": _read_text,
    "number": _read_number,
    "boolean": _read_boolean,
}
