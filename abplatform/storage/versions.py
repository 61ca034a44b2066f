"""What the repositories of definitions with versions have in common: the newest of each, and those that it replaced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, TypeVar

import sqlalchemy as sa

from abplatform.errors import NotFound
from abplatform.storage.definitions import Definitions, StoredDefinition


class StoredVersion(StoredDefinition, Protocol):
    """A version of a definition with its state."""

    @property
    def version(self) -> int:
        """From 1."""


Versioned = TypeVar("Versioned", bound=StoredVersion)


class VersionedDefinitions(Definitions[Versioned]):
    """The definitions of one kind in all projects; without more said, in their newest version.

    A subclass also names the table of versions that a later one has replaced: the columns that an edit writes, and
    ``project``, ``key`` and ``revision``.
    """

    past: ClassVar[sa.Table]

    def get_version(self, project: str, key: str, version: int) -> Versioned:
        """One version of a definition.

        Raises:
            NotFound: there is none of that key, or it has had no such version.
        """
        newest = self.get(project, key)
        if version == newest.version:
            return newest
        if not 0 < version < newest.version:
            had = "version 1 only" if newest.version == 1 else f"the versions 1 to {newest.version}"
            raise NotFound(f"there is no version {version} of the {self.noun} {key!r}; it has had {had}")
        query = self._past(project, key).where(self.past.c.version == version)
        return self._build(self._connection.execute(query).one())

    def versions(self, project: str, key: str) -> tuple[Versioned, ...]:
        """All versions of a definition, newest first.

        Raises:
            NotFound: there is none of that key.
        """
        newest = self.get(project, key)
        rows = self._connection.execute(self._past(project, key).order_by(self.past.c.version.desc()))
        return (newest, *map(self._build, rows))

    def add_version(self, project: str, stored: Versioned, *, before: Versioned) -> None:
        """Put the next version of a definition in the place of the newest, which is kept.

        Args:
            project: whose.
            stored: the next version.
            before: the newest so far, as it was read.

        Raises:
            PreconditionFailed: someone has changed the definition since.
        """
        self.save(project, stored, expected_revision=before.revision)
        values: Mapping[str, Any] = {"project": project, "key": before.key, "revision": before.revision}
        self._connection.execute(sa.insert(self.past).values({**values, **self._changeable(before)}))

    def remove(self, project: str, key: str, *, expected_revision: int) -> None:
        """Delete a definition with all versions, if nobody has changed it since it was read.

        Raises:
            PreconditionFailed: someone has.
        """
        columns = self.past.c
        self._connection.execute(sa.delete(self.past).where(columns.project == project, columns.key == key))
        super().remove(project, key, expected_revision=expected_revision)

    def every_version(self, project: str) -> tuple[Versioned, ...]:
        """All versions of all definitions of a project, by key and version."""
        columns = self.past.c
        rows = self._connection.execute(self._past(project).order_by(columns.key, columns.version))
        found = (*map(self._build, rows), *self.all(project))
        return tuple(sorted(found, key=lambda stored: (stored.key, stored.version)))

    def _past(self, project: str, key: str | None = None) -> sa.Select[Any]:
        """Versions that were replaced, as rows of the table of the newest."""
        newest, columns = self.table.c, self.past.c
        same = sa.and_(columns.project == newest.project, columns.key == newest.key)
        query = sa.select(self.past, newest.created_at).join(self.table, same).where(columns.project == project)
        return query if key is None else query.where(columns.key == key)
