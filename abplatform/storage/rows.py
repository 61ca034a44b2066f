"""Writing rows so that of several writers exactly one wins, alike on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from abplatform.errors import AlreadyExists, PreconditionFailed

_INSERT: Final[dict[str, type[postgresql.Insert | sqlite.Insert]]] = {
    "postgresql": postgresql.Insert,
    "sqlite": sqlite.Insert,
}


def insert_new(connection: sa.Connection, table: sa.Table, values: Mapping[str, Any], *, name: str) -> None:
    """Insert a row whose key must be free.

    A conflict is no error of the database here: on PostgreSQL that would spoil the transaction.

    Args:
        name: what the sentence calls the thing, for example ``experiment rate-display``.

    Raises:
        AlreadyExists: the key is taken.
    """
    statement = _INSERT[connection.dialect.name](table).values(**values).on_conflict_do_nothing()
    # SQLAlchemy forgets the count of an INSERT unless it is asked to keep it.
    if connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount == 0:
        raise AlreadyExists(f"{name} exists already")


def update_one(connection: sa.Connection, statement: sa.Update | sa.Delete, *, name: str) -> None:
    """Change the one row that still has the expected revision.

    Raises:
        PreconditionFailed: it has another one by now, or is gone.
    """
    if connection.execute(statement).rowcount == 0:
        raise PreconditionFailed(f"{name} was changed by someone else; read it again")
