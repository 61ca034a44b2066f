"""Projects in the database."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

import sqlalchemy as sa

from abplatform.domain.access import Project
from abplatform.errors import AlreadyExists, NotFound
from abplatform.storage.rows import insert_new, update_one
from abplatform.storage.schema import project as table

_FIELDS = ("key", "name", "unit_type", "time_zone", "created_at", "revision")


class Projects:
    """All projects, seen through one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def get(self, key: str) -> Project:
        """One project.

        Raises:
            NotFound: there is none of that key.
        """
        return _found(self._read(sa.select(table).where(table.c.key == key)), key)

    def lock(self, key: str) -> Project:
        """One project, kept from all others who want to lock it until the transaction ends.

        What depends on several definitions at once (a snapshot, an experiment and its metrics) is changed under
        this lock. On SQLite the transaction itself keeps other writers out.

        Raises:
            NotFound: there is none of that key.
        """
        return _found(self._read(sa.select(table).where(table.c.key == key).with_for_update(key_share=True)), key)

    def add(self, project: Project) -> None:
        """Add a project.

        Raises:
            AlreadyExists: there is one of that key.
        """
        values = {name: getattr(project, name) for name in _FIELDS}
        insert_new(self._connection, table, values, name=f"project {project.key}")

    def save(self, project: Project, *, expected_revision: int) -> None:
        """Replace the name and the time zone of a project that nobody has changed since it was read.

        Raises:
            PreconditionFailed: someone has.
        """
        is_that = sa.and_(table.c.key == project.key, table.c.revision == expected_revision)
        values = {name: getattr(project, name) for name in ("name", "time_zone", "revision")}
        update_one(self._connection, sa.update(table).where(is_that).values(values), name=f"project {project.key}")

    def ensure(self, key: str, *, now: datetime) -> Project:
        """One project, made with the defaults if there is none yet; several processes may ask at once."""
        with suppress(AlreadyExists):
            self.add(Project(key=key, name=key.capitalize(), created_at=now))
        return self.get(key)

    def all(self) -> tuple[Project, ...]:
        """All projects, by key."""
        rows = self._connection.execute(sa.select(table).order_by(table.c.key))
        return tuple(Project(**row) for row in rows.mappings())

    def _read(self, query: sa.Select[tuple[object, ...]]) -> Project | None:
        row = self._connection.execute(query).mappings().one_or_none()
        return None if row is None else Project(**row)


def _found(project: Project | None, key: str) -> Project:
    if project is None:
        raise NotFound(f"there is no project {key!r}")
    return project
