"""DuckDB as it is used here: in memory, in UTC, without network."""

from __future__ import annotations

import duckdb


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
    return connection
