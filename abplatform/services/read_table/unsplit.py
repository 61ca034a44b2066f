"""Rows of a CSV file that cannot be split into the header's columns: counted, told of, and forgotten."""

from __future__ import annotations

import threading
from array import array
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pyarrow import csv

from abplatform.services.read_table.quotes import MOST_LINE_BREAKS

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Unsplit:
    """Some such rows.

    Attributes:
        numbers: row numbers, ascending.
        columns: how many columns each has.
    """

    numbers: Numbers
    columns: npt.NDArray[np.int32]


class UnsplitRows:
    """Takes such rows from a reader, and numbers those that are good; keeps none that was taken from it.

    The reader has threads of its own: it may bring rows at any time.

    Args:
        mark: the row that ends the table (see `quotes.MarkedStream`).
        before: how many rows the reader meets before the first one of data.

    Attributes:
        ended: whether the mark came.
        too_long: number of the first row that has too many line breaks; None if none has.
    """

    def __init__(self, mark: str, before: int) -> None:
        self.ended = False
        self.too_long: int | None = None
        self._mark = mark
        self._before = before
        # All rows up to this one are done with: they were good and are numbered, or were taken.
        self._done = 0
        # An array cannot grow while somebody reads it, and the two belong together.
        self._lock = threading.Lock()
        self._numbers = array("q")
        self._columns = array("i")

    def __call__(self, row: csv.InvalidRow) -> str:
        """Meet the next such row; a reader runs ahead of the batches that it gives."""
        if row.text == self._mark:
            self.ended = True
            return "skip"
        number = row.number - self._before
        with self._lock:
            self._numbers.append(number)
            self._columns.append(row.actual_columns)
        breaks = max(row.text.count("\n"), row.text.count("\r"))
        if self.too_long is None and breaks > MOST_LINE_BREAKS:
            self.too_long = number
        return "skip"

    def number(self, rows: int) -> Numbers:
        """The numbers of the next good rows."""
        good = np.arange(self._done + 1, self._done + 1 + rows, dtype=np.int64)
        # The i-th skipped row stands behind as many good rows as its number minus the rows skipped up to it.
        skipped = self._skipped()
        numbers: Numbers = good + np.searchsorted(skipped - np.arange(1, len(skipped) + 1), good, side="left")
        self._done = int(numbers[-1]) if rows else self._done
        return numbers

    def take(self) -> Unsplit:
        """What came before the next good row, as far as that is known; it is forgotten here."""
        skipped = self._skipped()
        passed = int(np.searchsorted(skipped, self._done))
        # What follows the last row that is done with, without a gap, comes before the next good row.
        rest = skipped[passed:] - np.arange(len(skipped) - passed)
        following = int(np.searchsorted(rest, self._done + 1, side="right"))
        self._done += following
        return self._cut(passed + following)

    def take_all(self) -> Unsplit:
        """All that came, once the table is at its end."""
        return self._cut(len(self._numbers))

    def _skipped(self) -> Numbers:
        with self._lock:
            return np.array(self._numbers, dtype=np.int64)

    def _cut(self, count: int) -> Unsplit:
        with self._lock:
            numbers, columns = self._numbers[:count], self._columns[:count]
            del self._numbers[:count], self._columns[:count]
        return Unsplit(np.array(numbers, dtype=np.int64), np.array(columns, dtype=np.int32))
