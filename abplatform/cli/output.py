"""Tables that commands write, to stdout or to a file, as CSV or as Parquet."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from abplatform.cli.drafts import whole_file

if TYPE_CHECKING:
    import pyarrow as pa

TABLE_ENDINGS = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet"}


@contextmanager
def open_output(output: Path | None) -> Iterator[BinaryIO]:
    """Stdout, or a file that gets its name when it is whole: see `drafts.whole_file`."""
    if output is None:
        sys.stdout.flush()
        yield sys.stdout.buffer
        return
    with whole_file(output) as stream:
        yield stream


@contextmanager
def table_writer(
    stream: BinaryIO, format_: str, schema: pa.Schema, *, distinct: Collection[str] = ()
) -> Iterator[Callable[[pa.RecordBatch], None]]:
    """A function that writes batches of a schema as ``csv`` (RFC 4180) or ``parquet``.

    Args:
        stream: is written to.
        format_: of the table.
        schema: of the batches; in CSV dictionaries are written as their values.
        distinct: columns whose values are all different: a dictionary of them would be built for nothing.
    """
    import pyarrow as pa
    from pyarrow import csv, parquet

    if format_ == "parquet":
        repeated = [name for name in schema.names if name not in distinct]
        with parquet.ParquetWriter(stream, schema, compression="zstd", use_dictionary=repeated) as writer:
            yield writer.write_batch
    else:
        plain = pa.schema([(field.name, getattr(field.type, "value_type", field.type)) for field in schema])
        with csv.CSVWriter(stream, plain) as writer:
            yield lambda batch: writer.write_batch(batch.cast(plain))
