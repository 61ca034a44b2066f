"""A table on disk as batches of text columns, each row with its number; CSV, gzipped or not, and Parquet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv, parquet

from abplatform.errors import InvalidInput
from abplatform.services.read_table.quotes import MarkedStream, check_cell_lines, check_row_lines
from abplatform.services.read_table.unsplit import Unsplit, UnsplitRows

BATCH_ROWS = 65_536
BLOCK_BYTES = 4 << 20

Progress = Callable[[float], None]

_PARQUET = {".parquet", ".pq"}
_READ = "only CSV (UTF-8, with commas) and Parquet are read"
_HEAD_BYTES = 4096
_NAMES_SHOWN = 20
_BEFORE_DATA = 2
"""Rows of a CSV stream: the one that makes a reader begin, and the header."""


@dataclass(frozen=True, slots=True)
class RowFault:
    """A row that is left out.

    Attributes:
        row: its number; the first row of data is 1, the header of a CSV file does not count.
        column: where it is wrong; None where the row as a whole is.
        detail: what is wrong.
        code: stable reason in UPPER_SNAKE, where faults are counted by it.
    """

    row: int
    column: str | None
    detail: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some consecutive rows.

    Attributes:
        numbers: row numbers, ascending.
        columns: the values by column name.
        faults: rows that could not even be split into columns; they are not in ``numbers``.
    """

    numbers: npt.NDArray[np.int64]
    columns: dict[str, pa.Array]
    faults: tuple[RowFault, ...] = ()


def read_header(path: Path, needed: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of a table's columns.

    Raises:
        InvalidInput: if the file cannot be read, or lacks a column that is needed.
    """
    with _readable(path):
        if is_parquet(path):
            with parquet.ParquetFile(path) as file:
                names = tuple(file.schema_arrow.names)
        else:
            _check_is_csv(path)
            names = tuple(_csv_header(path))
    check_columns(path, names, needed)
    return names


def is_parquet(path: Path) -> bool:
    """Whether a file is read as Parquet, by its name."""
    return path.suffix.lower() in _PARQUET


def read_batches(
    path: Path,
    columns: Sequence[str],
    *,
    numeric: Collection[str] = (),
    nested: Collection[str] = (),
    progress: Progress | None = None,
) -> Iterator[Batch]:
    """Stream some columns of a table; memory does not grow with the file.

    Args:
        path: the file; ``.parquet`` and ``.pq`` are Parquet, everything else is CSV.
        columns: names of the columns to read.
        numeric: those of them that must not hold dates, times or durations.
        nested: those of them that may hold lists and structures.
        progress: is called with the share of the file that has been read, from 0 to 1.

    Raises:
        InvalidInput: if the file cannot be read, has an open quote, or lacks a column.
    """
    with _readable(path):
        if is_parquet(path):
            yield from _parquet_batches(path, columns, numeric, nested, progress)
        else:
            yield from _csv_batches(path, columns, progress)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise InvalidInput({"file": [f"{path} cannot be read: {reason}"]}) from None
    except pa.ArrowException as error:
        reason = str(error).partition("\n")[0]
        if "straddling object" in reason:
            reason = f"a row is larger than {BLOCK_BYTES >> 20} MB; is a quote not closed?"
        raise InvalidInput({"file": [f"{path} cannot be read as a table: {reason}"]}) from None


def check_columns(path: Path, present: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuse a table that lacks a column, or has it twice.

    Raises:
        InvalidInput: naming the column, and what there is.
    """
    times = Counter(present)
    for column in wanted:
        if times[column] == 0:
            had = f"{path} has no column {column!r}; it has {_listed(present)}{_hint(path, column, present)}"
            raise InvalidInput({"column": [had]})
        if times[column] > 1:
            raise InvalidInput({"column": [f"{path} has {times[column]} columns {column!r}"]})


def _listed(names: Sequence[str]) -> str:
    shown = [repr(name if len(name) <= 40 else f"{name[:40]}...") for name in names[:_NAMES_SHOWN]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def _hint(path: Path, column: str, present: Sequence[str]) -> str:
    """What may be the matter with a file that lacks a column."""
    close = get_close_matches(column, present, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    if len(present) == 1:
        for separator, name in ((";", "';'"), ("\t", "tabs"), ("|", "'|'")):
            if separator in present[0]:
                return f"; is it separated by {name}? only commas are read"
    known = path.suffix.lower() in {".csv", ".gz", *_PARQUET}
    return "" if known else f"; {_READ}"


def _parquet_batches(
    path: Path,
    columns: Sequence[str],
    numeric: Collection[str],
    nested: Collection[str],
    progress: Progress | None,
) -> Iterator[Batch]:
    with parquet.ParquetFile(path) as file:
        check_columns(path, file.schema_arrow.names, columns)
        for column in (name for name in columns if name not in nested):
            _check_type(column, file.schema_arrow.field(column).type, numeric=column in numeric)
        done, total = 0, file.metadata.num_rows
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=list(columns)):
            numbers = np.arange(done + 1, done + 1 + batch.num_rows, dtype=np.int64)
            done += batch.num_rows
            if progress is not None:
                progress(done / total)
            yield Batch(numbers, {column: batch.column(column) for column in columns})


def _check_type(column: str, type_: pa.DataType, *, numeric: bool) -> None:
    plain = type_.value_type if pa.types.is_dictionary(type_) else type_
    if pa.types.is_nested(plain):
        raise InvalidInput({"column": [f"{column!r} holds {plain}, not one text or number in each row"]})
    if isinstance(plain, pa.BaseExtensionType):
        raise InvalidInput({"column": [f"{column!r} holds {plain.extension_name}; write it as text or numbers"]})
    if numeric and pa.types.is_temporal(plain):
        raise InvalidInput({"column": [f"{column!r} holds {plain}, not numbers"]})


def _csv_batches(path: Path, columns: Sequence[str], progress: Progress | None) -> Iterator[Batch]:
    _check_is_csv(path)
    header = _csv_header(path)
    check_columns(path, header, columns)
    size = path.stat().st_size
    with pa.OSFile(str(path)) as file, _unpacked(path, file) as source:
        stream = MarkedStream(source, len(header))
        unsplit = UnsplitRows(stream.mark, _BEFORE_DATA)
        held: Iterator[Batch] = iter(())
        for batch in _data(csv.open_csv(stream, **_csv_options(header, unsplit))):
            numbers = unsplit.number(batch.num_rows)
            check_row_lines(path, unsplit.too_long)
            check_cell_lines(path, batch, numbers.tolist())
            if progress is not None:
                progress(min(1.0, file.tell() / size))
            # Only the end tells whether a quote of the last rows was open, with all that follows inside it.
            yield from held
            rows = Batch(numbers, {column: batch.column(column) for column in columns})
            held = _with_faults(rows, unsplit.take(), len(header))
    check_row_lines(path, unsplit.too_long)
    if not unsplit.ended:
        raise InvalidInput({"file": [f"{path} cannot be read: a quote is not closed; what follows it is one cell"]})
    yield from held
    yield from _with_faults(_no_rows(columns), unsplit.take_all(), len(header))


def _csv_options(header: Sequence[str], unsplit: UnsplitRows) -> dict[str, Any]:
    return {
        # In order and by one thread: only then are rows that cannot be split numbered.
        "read_options": csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES, column_names=list(header)),
        "parse_options": csv.ParseOptions(newlines_in_values=True, invalid_row_handler=unsplit),
        # All columns, not only the wanted ones: an open quote in any of them hides rows.
        "convert_options": csv.ConvertOptions(column_types={name: pa.binary() for name in header}),
    }


def _data(reader: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows of data: without that which a marked stream begins with, and the header."""
    left = _BEFORE_DATA
    for batch in reader:
        passed = min(left, batch.num_rows)
        left -= passed
        yield batch.slice(passed)


def _no_rows(columns: Sequence[str]) -> Batch:
    return Batch(np.zeros(0, np.int64), {column: pa.array([], pa.binary()) for column in columns})


def _with_faults(batch: Batch, unsplit: Unsplit, expected: int) -> Iterator[Batch]:
    """A batch with the rows that could not be split; if those are very many, batches without good rows come first."""
    count, empty = len(unsplit.numbers), _no_rows(tuple(batch.columns))
    for start in range(0, count, BATCH_ROWS):
        chosen = slice(start, start + BATCH_ROWS)
        faults = tuple(
            RowFault(number, None, f"has {actual} columns where the header has {expected}")
            for number, actual in zip(unsplit.numbers[chosen].tolist(), unsplit.columns[chosen].tolist(), strict=True)
        )
        yield replace(batch if start + BATCH_ROWS >= count else empty, faults=faults)
    if not count and len(batch.numbers):
        yield batch


def _check_is_csv(path: Path) -> None:
    """Refuse empty files, spreadsheets, archives and UTF-16, which have NUL near their beginning, and Parquet."""
    if path.stat().st_size == 0:
        raise InvalidInput({"file": [f"{path} is empty"]})
    with pa.OSFile(str(path)) as file, _unpacked(path, file) as stream:
        head = bytes(stream.read(_HEAD_BYTES))
    if b"\0" in head[:8] + head.partition(b"\n")[0] or head.startswith(b"PAR1"):
        raise InvalidInput({"file": [f"{path} is not CSV by its content; {_READ} (Parquet by .parquet or .pq)"]})


def _csv_header(path: Path) -> list[str]:
    with pa.OSFile(str(path)) as file, _unpacked(path, file) as stream:
        options = csv.ParseOptions(newlines_in_values=True, invalid_row_handler=lambda _: "skip")
        read = csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES)
        try:
            return list(csv.open_csv(stream, read_options=read, parse_options=options).schema.names)
        except UnicodeDecodeError:
            raise InvalidInput({"file": [f"the header of {path} is not UTF-8; save the table as UTF-8"]}) from None


def _unpacked(path: Path, file: pa.NativeFile) -> pa.NativeFile:
    return pa.CompressedInputStream(file, "gzip") if path.suffix.lower() == ".gz" else file
