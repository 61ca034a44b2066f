"""What the repositories of definitions have in common: one row per key and project, changed by revision."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import sqlalchemy as sa

from abplatform.domain.checks import storable
from abplatform.domain.suggestions import MOST_COMPARED, suggest
from abplatform.errors import NotFound
from abplatform.storage.pages import Page, read_page
from abplatform.storage.rows import insert_new, update_one


class StoredDefinition(Protocol):
    """A definition with its state."""

    @property
    def key(self) -> str:
        """Name in its project."""

    @property
    def created_at(self) -> datetime:
        """When it was made."""

    @property
    def revision(self) -> int:
        """Grows with every change; the ETag."""


Stored = TypeVar("Stored", bound=StoredDefinition)


class Definitions(ABC, Generic[Stored]):
    """The definitions of one kind in all projects, seen through one transaction.

    A subclass names its table (with the columns ``project``, ``key``, ``revision`` and ``created_at``) and what a
    sentence calls one of them, and turns rows into what it holds and back.
    """

    table: ClassVar[sa.Table]
    noun: ClassVar[str]

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    @abstractmethod
    def _build(self, row: Any) -> Stored:
        """What a row holds."""

    @abstractmethod
    def _changeable(self, stored: Stored) -> Mapping[str, Any]:
        """The columns that an edit writes, without the revision."""

    def _fixed(self, stored: Stored) -> Mapping[str, Any]:  # noqa: ARG002 - most kinds have none
        """Further columns that are written once."""
        return {}

    def get(self, project: str, key: str) -> Stored:
        """One definition.

        Raises:
            NotFound: there is none of that key in the project.
        """
        found = self.find(project, key)
        if found is None:
            raise NotFound(f"there is no {self.noun} {key!r}{suggest(key, self._keys_like(project, key))}")
        return found

    def find(self, project: str, key: str) -> Stored | None:
        """One definition, or None."""
        # PostgreSQL refuses to compare with what it cannot store.
        if not storable(key):
            return None
        row = self._connection.execute(sa.select(self.table).where(self._is(project, key))).one_or_none()
        return None if row is None else self._build(row)

    def add(self, project: str, stored: Stored) -> None:
        """Add a definition.

        Raises:
            AlreadyExists: the project has one of that key.
        """
        values = {"project": project, "key": stored.key, "created_at": stored.created_at, "revision": stored.revision}
        values |= {**self._fixed(stored), **self._changeable(stored)}
        insert_new(self._connection, self.table, values, name=f"{self.noun} {stored.key}")

    def save(self, project: str, stored: Stored, *, expected_revision: int) -> None:
        """Replace a definition that nobody has changed since it was read.

        Raises:
            PreconditionFailed: someone has.
        """
        values = {"revision": stored.revision, **self._changeable(stored)}
        statement = sa.update(self.table).where(self._is(project, stored.key, expected_revision)).values(values)
        update_one(self._connection, statement, name=f"{self.noun} {stored.key}")

    def remove(self, project: str, key: str, *, expected_revision: int) -> None:
        """Delete a definition that nobody has changed since it was read.

        Raises:
            PreconditionFailed: someone has.
        """
        statement = sa.delete(self.table).where(self._is(project, key, expected_revision))
        update_one(self._connection, statement, name=f"{self.noun} {key}")

    def page(self, project: str, *, limit: int, cursor: str | None) -> Page[Stored]:
        """Some definitions of a project, newest first.

        Raises:
            InvalidInput: naming ``limit`` or ``cursor``.
        """
        wanted = self.table.c.project == project
        return read_page(self._connection, self.table, wanted, limit=limit, cursor=cursor, build=self._build)

    def all(self, project: str) -> tuple[Stored, ...]:
        """All definitions of a project, by key."""
        query = sa.select(self.table).where(self.table.c.project == project).order_by(self.table.c.key)
        return tuple(self._build(row) for row in self._connection.execute(query))

    def _keys_like(self, project: str, key: str) -> list[str]:
        """Some keys of a project, to suggest one from: those first that begin alike."""
        if not storable(key):
            return []
        columns = self.table.c
        alike = (columns.key.startswith(key[:length], autoescape=True).desc() for length in (4, 1))
        query = sa.select(columns.key).where(columns.project == project).order_by(*alike, columns.key)
        return list(self._connection.execute(query.limit(MOST_COMPARED)).scalars())

    def _is(self, project: str, key: str, revision: int | None = None) -> sa.ColumnElement[bool]:
        columns = self.table.c
        is_named = sa.and_(columns.project == project, columns.key == key)
        return is_named if revision is None else sa.and_(is_named, columns.revision == revision)
