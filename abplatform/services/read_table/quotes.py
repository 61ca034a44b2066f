"""Quotes that are not closed, which make a CSV reader take the lines behind them for one cell."""

from __future__ import annotations

import codecs
import io
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from abplatform.errors import InvalidInput

MOST_LINE_BREAKS = 20
_MARK = "the end of the table"


class MarkedStream(io.RawIOBase):
    """A CSV stream with one more line at its beginning, and one at its end.

    The last one cannot be split into the header's columns. A reader that does not meet it took it for a part of a
    quoted cell: a quote was open at the end of the file. Counting quotes would not tell, since one within a cell, as in
    ``24" screen``, is text.

    The first one is a good row: a reader that is opened reads on until it has one, through all the rows before that
    cannot be split.
    """

    def __init__(self, source: BinaryIO | pa.NativeFile, columns: int) -> None:
        """Read ``source``, whose header has ``columns`` columns."""
        self.mark = _MARK + "," * columns
        self._source = source
        self._first = f"0{',' * (columns - 1)}\n".encode()
        self._begun = self._marked = False

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int = -1) -> bytes:
        """The first line, the bytes of the source, then the mark."""
        if self._first:
            first, self._first = self._first, b""
            return first
        data = bytes(self._source.read(size))
        if not self._begun:
            # Only at the beginning of a stream is it no part of the first cell.
            self._begun, data = True, data.removeprefix(codecs.BOM_UTF8) or bytes(self._source.read(size))
        if data or self._marked:
            return data
        self._marked = True
        return f"\n{self.mark}\n".encode()


def check_cell_lines(path: object, batch: pa.RecordBatch, numbers: list[int]) -> None:
    """Refuse a table where a cell of any column runs over many lines: two stray quotes would hide rows between them.

    Raises:
        InvalidInput: naming the row and the column.
    """
    for name, values in zip(batch.schema.names, batch.columns, strict=True):
        for line_break in ("\n", "\r"):
            breaks = pc.count_substring(values, line_break)
            most = pc.max(breaks).as_py() or 0
            if most > MOST_LINE_BREAKS:
                row = numbers[pc.index(breaks, most).as_py()]
                detail = f"row {row}: one cell of {name!r} has more than {MOST_LINE_BREAKS} line breaks"
                raise InvalidInput({"file": [f"{path} cannot be read: {detail}; is a quote not closed?"]})


def check_row_lines(path: object, too_long: int | None) -> None:
    """The same for rows that cannot be split into columns.

    Args:
        path: the file, for the message.
        too_long: number of the first of them with too many line breaks; None if there is none.

    Raises:
        InvalidInput: naming the row.
    """
    if too_long is not None:
        detail = f"row {too_long} has more than {MOST_LINE_BREAKS} line breaks; is a quote not closed?"
        raise InvalidInput({"file": [f"{path} cannot be read: {detail}"]})
