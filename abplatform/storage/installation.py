"""Facts about the whole installation, in the database."""

from __future__ import annotations

from contextlib import suppress

import sqlalchemy as sa

from abplatform.errors import AlreadyExists
from abplatform.storage.rows import insert_new
from abplatform.storage.schema import installation as table


class Installation:
    """What holds for all projects, seen through one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def find(self, name: str) -> str | None:
        """A fact that was written; None if it was not."""
        value: str | None = self._connection.scalar(sa.select(table.c.value).where(table.c.name == name))
        return value

    def settle(self, name: str, value: str) -> str:
        """Write a fact unless it is written; gives the one that stands, whoever wrote it."""
        with suppress(AlreadyExists):
            insert_new(self._connection, table, {"name": name, "value": value}, name=f"fact {name}")
        return str(self._connection.execute(sa.select(table.c.value).where(table.c.name == name)).scalar_one())

    def replace(self, name: str, known: str | None, value: str) -> bool:
        """Write a fact in the place of the one that is known, None if there was none; False if it is another by now."""
        if known is None:
            try:
                insert_new(self._connection, table, {"name": name, "value": value}, name=f"fact {name}")
            except AlreadyExists:
                return False
            return True
        statement = table.update().where(table.c.name == name, table.c.value == known).values(value=value)
        return bool(self._connection.execute(statement).rowcount)
