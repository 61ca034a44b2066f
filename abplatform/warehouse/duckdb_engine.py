"""DuckDB on this machine: in memory, one database per analysis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow.parquet as pq
from ibis.backends.duckdb import Backend

from abplatform.domain.aggregates import Aggregation, AggregationRequest, KeptUnits
from abplatform.warehouse.catalog import lake_answers
from abplatform.warehouse.cells import Row
from abplatform.warehouse.data_files import ROW_GROUP
from abplatform.warehouse.duck import open_spilling_duckdb
from abplatform.warehouse.durable_io import DurableFileIO
from abplatform.warehouse.history import quantile_before
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.reduction import keep_units, reduce_events


class DuckDBEngine:
    """Aggregates on this machine.

    Args:
        memory_limit: what one analysis may use before it spills to disk, such as ``2GB``.
        temp_directory: where it spills to; by default the system's folder for temporary files.
    """

    def __init__(self, memory_limit: str = "2GB", temp_directory: Path | None = None) -> None:
        self._memory_limit = memory_limit
        self._temp_directory = temp_directory

    @property
    def version(self) -> str:
        """See `engines.Engine`."""
        return f"duckdb {version('duckdb')}"

    def aggregate(self, lake: Lake, request: AggregationRequest, kept: KeptUnits | None = None) -> Aggregation:
        """See `engines.Engine`."""
        return reduce_events(lake, request, self._open, kept)

    def keep(self, lake: Lake, request: AggregationRequest, kept: KeptUnits | None, *, folder: str) -> KeptUnits:
        """See `engines.Engine`."""
        return keep_units(lake, request, self._open, kept=kept, folder=folder)

    def quantile_before(self, lake: Lake, request: AggregationRequest, *, quantile: float) -> Decimal | None:
        """See `engines.Engine`."""
        return quantile_before(lake, request, self._open, quantile=quantile)

    def close(self) -> None:
        """Nothing is open between two analyses."""

    @contextmanager
    def _open(self) -> Iterator[_DuckDBWorkspace]:
        # Never a shared file: DuckDB locks it to one process, and a forked child's writes are lost without an error.
        with lake_answers(), open_spilling_duckdb(self._memory_limit, self._temp_directory) as connection:
            yield _DuckDBWorkspace(ibis.duckdb.from_connection(connection))


class _DuckDBWorkspace:
    number_type = "int64"

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def read(self, paths: Sequence[str], columns: Mapping[str, str]) -> ir.Table:
        if not paths:
            # A list of no files has no columns: an empty table has.
            return self._backend.create_table(ibis.util.gen_name("empty"), schema=ibis.schema(columns), temp=True)
        # By name: files from before a column lack it, and it is null there.
        table = self._backend.read_parquet(paths, hive_partitioning=False, union_by_name=True)
        missing = {name: ibis.null(type_) for name, type_ in columns.items() if name not in table.columns}
        return table.mutate(**missing).select(*columns)

    def keep(self, name: str, table: ir.Table) -> ir.Table:
        # Not Ibis's own cache: its DROP TABLE fails with newer releases of sqlglot, and the whole database goes anyway.
        return self._backend.create_table(name, table, temp=True)

    def number(self, units: ir.Table) -> ir.Table:
        # Grouping conversions by whole numbers costs half of what grouping by pseudonyms does.
        return units.mutate(number=units.rowid())

    def rows(self, table: ir.Table) -> list[Row]:
        rows: list[dict[str, Any]] = table.to_pyarrow().to_pylist()
        return list(rows)

    def write(self, table: ir.Table, folder: str, name: str) -> tuple[str, ...]:
        file = f"{name}.parquet"
        # Not Ibis's own batches: it gets them in a way that DuckDB is about to drop.
        batches = self._backend.con.sql(self._backend.compile(table)).to_arrow_reader(ROW_GROUP)
        with (
            DurableFileIO().new_output(f"{folder}/{file}").create() as stream,
            pq.ParquetWriter(stream, batches.schema, compression="lz4", store_decimal_as_integer=True) as writer,
        ):
            for batch in batches:
                writer.write_batch(batch, row_group_size=ROW_GROUP)
        return (file,)
