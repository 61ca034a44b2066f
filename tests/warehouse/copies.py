"""Copies of databases, as a backup makes them, and what lies in a folder."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa


def copy_database(source: sa.Engine, target: Path) -> str:
    """Copy an SQLite database while it is in use; gives the address of the copy."""
    with source.connect() as connection:
        raw = connection.connection.dbapi_connection
        assert raw is not None
        connection.rollback()
        raw.execute("VACUUM INTO ?", (str(target),))
    return f"sqlite:///{target}"


def contents(folder: Path) -> dict[str, bytes]:
    """What is in each file below a folder, by path."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
