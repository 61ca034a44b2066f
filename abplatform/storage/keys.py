"""API keys in the database; of a secret only its SHA-256 is ever here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from abplatform.domain.access import ApiKey, KeyRole
from abplatform.domain.checks import storable
from abplatform.errors import NotFound
from abplatform.storage.rows import insert_new
from abplatform.storage.schema import api_key as table

_FIELDS = ("id", "project", "role", "name", "created_at", "revoked_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """A key with the SHA-256 of its secret, in hexadecimal digits."""

    key: ApiKey
    secret_hash: str


class Keys:
    """The keys of all projects, seen through one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def get(self, key_id: str) -> StoredKey:
        """The key of that id.

        Raises:
            NotFound: there is none.
        """
        found = self.find(key_id)
        if found is None:
            raise NotFound(f"there is no key {key_id!r}")
        return found

    def find(self, key_id: str) -> StoredKey | None:
        """The key of that id, or None."""
        # PostgreSQL refuses to compare with what it cannot store.
        if not storable(key_id):
            return None
        row = self._connection.execute(sa.select(table).where(table.c.id == key_id)).one_or_none()
        return None if row is None else StoredKey(key=_build(row), secret_hash=row.secret_hash)

    def add(self, stored: StoredKey) -> None:
        """Add a key.

        Raises:
            AlreadyExists: its id is taken.
        """
        values = {name: getattr(stored.key, name) for name in _FIELDS} | {"secret_hash": stored.secret_hash}
        insert_new(self._connection, table, values, name=f"key {stored.key.id}")

    def revoke(self, key_id: str, *, now: datetime) -> None:
        """Note when a key was revoked; the first time stays."""
        is_live = sa.and_(table.c.id == key_id, table.c.revoked_at.is_(None))
        self._connection.execute(sa.update(table).where(is_live).values(revoked_at=now))

    def all(self, project: str, *, role: KeyRole | None = None) -> tuple[ApiKey, ...]:
        """The keys of a project, oldest first; of one role where it is named."""
        query = sa.select(table).where(table.c.project == project).order_by(table.c.created_at, table.c.id)
        if role is not None:
            query = query.where(table.c.role == role)
        return tuple(_build(row) for row in self._connection.execute(query))


def _build(row: Any) -> ApiKey:
    return ApiKey(**{name: getattr(row, name) for name in _FIELDS})
