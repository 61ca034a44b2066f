"""DuckDB as it is used here: in memory, in UTC, and with no way out but to the object storage of the lake."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from abplatform.warehouse.object_store import ObjectStore
from abplatform.warehouse.scratch import ScratchFolder


def open_duckdb(**settings: str | int) -> duckdb.DuckDBPyConnection:
    """Open an in-memory DuckDB.

    Args:
        settings: DuckDB's own, such as ``memory_limit="2GB"``.
    """
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": "false",
            **{name: str(value) for name, value in settings.items()},
        }
    )
    # Time zones live in a bundled extension that is not there yet when the configuration is read.
    connection.execute("SET TimeZone = 'UTC'")
    connection.register_filesystem(ObjectStore())
    return connection


@contextmanager
def open_spilling_duckdb(memory_limit: str, folder: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an in-memory DuckDB that goes to disk where memory is not enough; what it wrote there goes when it closes.

    Args:
        memory_limit: what it may use before, such as ``2GB``.
        folder: where it spills to; by default the system's folder for temporary files.
    """
    with ScratchFolder("spill", folder) as spill:
        connection = open_duckdb(memory_limit=memory_limit, temp_directory=spill)
        try:
            yield connection
        finally:
            connection.close()
