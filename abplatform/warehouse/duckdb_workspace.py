"""What DuckDB computes for one analysis.

Imported when a result is first asked for: Ibis takes half a second, and most processes only take events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq
from duckdb import DuckDBPyConnection
from ibis.backends.duckdb import Backend

from abplatform.warehouse.cells import Row
from abplatform.warehouse.data_files import ROW_GROUP
from abplatform.warehouse.durable_io import DurableFileIO

# Of what `times` needs.
_SPARK_FUNCTIONS = {
    "unix_micros": "epoch_us(x)",
    "timestamp_micros": "make_timestamptz(x)",
    "date_from_unix_date": "DATE '1970-01-01' + x",
}


class DuckDBWorkspace:
    """See `workspace.Workspace`.

    Args:
        connection: to a database of this analysis alone.
    """

    number_type = "int64"

    def __init__(self, connection: DuckDBPyConnection) -> None:
        self._backend: Backend = ibis.duckdb.from_connection(connection)
        for name, meaning in _SPARK_FUNCTIONS.items():
            connection.execute(f"CREATE TEMPORARY MACRO {name}(x) AS {meaning}")

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
        rows: list[dict[str, Any]] = self.arrow(table).to_pylist()
        return list(rows)

    def arrow(self, table: ir.Table) -> pa.Table:
        return table.to_pyarrow()

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
