"""The published snapshot of each project."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from abplatform.storage.schema import snapshot as table


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSnapshot:
    """What evaluators read.

    Attributes:
        version: grows with each publication.
        document: exactly the bytes that are served.
        etag: strong, without quotes.
    """

    version: int
    document: bytes
    etag: str


class Snapshots:
    """The snapshots of all projects, seen through one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def find(self, project: str) -> PublishedSnapshot | None:
        """The snapshot that is published now; None before the first."""
        row = self._connection.execute(sa.select(table).where(table.c.project == project)).one_or_none()
        return None if row is None else PublishedSnapshot(version=row.version, document=row.document, etag=row.etag)

    def version(self, project: str) -> int:
        """The version that is published now; 0 before the first."""
        return self._connection.scalar(sa.select(table.c.version).where(table.c.project == project)) or 0

    def publish(self, project: str, published: PublishedSnapshot) -> None:
        """Replace the snapshot by the next version; the caller has locked the project.

        Raises:
            ValueError: ``published`` is not the next version.
        """
        if published.version != self.version(project) + 1:
            raise ValueError(f"published: version {published.version} does not follow {self.version(project)}")
        values = {"version": published.version, "document": published.document, "etag": published.etag}
        statement = (
            sa.insert(table).values(project=project, **values)
            if published.version == 1
            else sa.update(table).where(table.c.project == project).values(**values)
        )
        self._connection.execute(statement)
