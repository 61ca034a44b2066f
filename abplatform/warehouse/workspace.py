"""What an engine offers while it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import ibis.expr.types as ir
import pyarrow as pa

from abplatform.warehouse.cells import Row


class Workspace(Protocol):
    """Room for one request; nothing of it is left afterwards but what was written.

    Attributes:
        number_type: Ibis's type of what `number` gives.
    """

    number_type: str

    def read(self, paths: Sequence[str], columns: Mapping[str, str]) -> ir.Table:
        """All rows of the files with exactly these columns, null in files that lack one; no files have no rows."""

    def keep(self, name: str, table: ir.Table) -> ir.Table:
        """The same table, computed once however often it is read."""

    def number(self, units: ir.Table) -> ir.Table:
        """Units with a column ``number``: what tells them apart most cheaply, within this request.

        Args:
            units: a table that `keep` gave.
        """

    def rows(self, table: ir.Table) -> list[Row]:
        """Compute a table and bring its rows here, decimals exact."""

    def arrow(self, table: ir.Table) -> pa.Table:
        """Compute a table of many rows and bring it here by columns."""

    def write(self, table: ir.Table, folder: str, name: str) -> tuple[str, ...]:
        """Compute a table into Parquet files.

        Args:
            table: its rows are written in any order.
            folder: a location as the catalog has them, ``file://`` or ``s3://``.
            name: of the table in the folder.

        Returns:
            Names of the files, relative to the folder.
        """


class OpenWorkspace(Protocol):
    """Where an engine computes."""

    def __call__(self) -> AbstractContextManager[Workspace]:
        """Open it for one request."""
