"""Metrics in the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from abplatform.domain.checks import storable
from abplatform.domain.metric import Metric
from abplatform.errors import NotFound
from abplatform.storage.documents import from_text, to_text
from abplatform.storage.pages import Page, read_page
from abplatform.storage.rows import insert_new, update_one
from abplatform.storage.schema import metric as table


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMetric:
    """A metric with its state.

    Attributes:
        revision: grows with every change; the ETag.
    """

    metric: Metric
    created_at: datetime
    revision: int = 1

    @property
    def key(self) -> str:
        """Name in its project."""
        return self.metric.key


class Metrics:
    """The metrics of all projects, seen through one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def get(self, project: str, key: str) -> StoredMetric:
        """One metric.

        Raises:
            NotFound: there is none of that key in the project.
        """
        found = self.find(project, key)
        if found is None:
            raise NotFound(f"there is no metric {key!r}")
        return found

    def find(self, project: str, key: str) -> StoredMetric | None:
        """One metric, or None."""
        # PostgreSQL refuses to compare with what it cannot store.
        if not storable(key):
            return None
        row = self._connection.execute(sa.select(table).where(_is(project, key))).one_or_none()
        return None if row is None else _build(row)

    def add(self, project: str, stored: StoredMetric) -> None:
        """Add a metric.

        Raises:
            AlreadyExists: the project has one of that key.
        """
        values = {"project": project, "key": stored.key, "created_at": stored.created_at} | _changeable(stored)
        insert_new(self._connection, table, values, name=f"metric {stored.key}")

    def save(self, project: str, stored: StoredMetric, *, expected_revision: int) -> None:
        """Replace a metric that nobody has changed since it was read.

        Raises:
            PreconditionFailed: someone has.
        """
        is_expected = sa.and_(_is(project, stored.key), table.c.revision == expected_revision)
        statement = sa.update(table).where(is_expected).values(_changeable(stored))
        update_one(self._connection, statement, name=f"metric {stored.key}")

    def remove(self, project: str, key: str, *, expected_revision: int) -> None:
        """Delete a metric that nobody has changed since it was read.

        Raises:
            PreconditionFailed: someone has.
        """
        is_expected = sa.and_(_is(project, key), table.c.revision == expected_revision)
        update_one(self._connection, sa.delete(table).where(is_expected), name=f"metric {key}")

    def page(self, project: str, *, limit: int, cursor: str | None) -> Page[StoredMetric]:
        """Some metrics of a project, newest first.

        Raises:
            InvalidInput: naming ``limit`` or ``cursor``.
        """
        wanted = table.c.project == project
        return read_page(self._connection, table, wanted, limit=limit, cursor=cursor, build=_build)

    def all(self, project: str) -> tuple[StoredMetric, ...]:
        """All metrics of a project, by key."""
        query = sa.select(table).where(table.c.project == project).order_by(table.c.key)
        return tuple(_build(row) for row in self._connection.execute(query))


def _is(project: str, key: str) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.project == project, table.c.key == key)


def _changeable(stored: StoredMetric) -> dict[str, Any]:
    return {"revision": stored.revision, "definition": to_text(stored.metric)}


def _build(row: Any) -> StoredMetric:
    return StoredMetric(
        metric=from_text(row.definition, Metric),
        created_at=row.created_at,
        revision=row.revision,
    )
