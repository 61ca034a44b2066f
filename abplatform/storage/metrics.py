"""Metrics in the database: the newest version of each, and those that it replaced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from abplatform.domain.metric import Metric
from abplatform.errors import NotFound
from abplatform.storage import schema
from abplatform.storage.definitions import Definitions
from abplatform.storage.documents import from_text, to_text

_PAST = schema.metric_version


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMetric:
    """A version of a metric with its state.

    Attributes:
        created_at: when the metric was made, in its first version.
        revision: grows with every change, also from one version to the next; the ETag.
        version: from 1.
        version_created_at: when a later version was made; None of the first.
    """

    metric: Metric
    created_at: datetime
    revision: int = 1
    version: int = 1
    version_created_at: datetime | None = None

    @property
    def key(self) -> str:
        """Name in its project."""
        return self.metric.key


class Metrics(Definitions[StoredMetric]):
    """The metrics of all projects, seen through one transaction; without more said, in their newest version."""

    table = schema.metric
    noun = "metric"

    def get_version(self, project: str, key: str, version: int) -> StoredMetric:
        """One version of a metric.

        Raises:
            NotFound: there is no metric of that key, or it has had no such version.
        """
        newest = self.get(project, key)
        if version == newest.version:
            return newest
        if not 0 < version < newest.version:
            had = "version 1 only" if newest.version == 1 else f"the versions 1 to {newest.version}"
            raise NotFound(f"there is no version {version} of the metric {key!r}; it has had {had}")
        query = self._past(project, key).where(_PAST.c.version == version)
        return self._build(self._connection.execute(query).one())

    def versions(self, project: str, key: str) -> tuple[StoredMetric, ...]:
        """All versions of a metric, newest first.

        Raises:
            NotFound: there is no metric of that key.
        """
        newest = self.get(project, key)
        rows = self._connection.execute(self._past(project, key).order_by(_PAST.c.version.desc()))
        return (newest, *map(self._build, rows))

    def add_version(self, project: str, stored: StoredMetric, *, before: StoredMetric) -> None:
        """Put the next version of a metric in the place of the newest, which is kept.

        Args:
            project: whose.
            stored: the next version.
            before: the newest so far, as it was read.

        Raises:
            PreconditionFailed: someone has changed the metric since.
        """
        self.save(project, stored, expected_revision=before.revision)
        values = {"project": project, "key": before.key, "revision": before.revision}
        values |= self._changeable(before)
        self._connection.execute(sa.insert(_PAST).values(values))

    def remove(self, project: str, key: str, *, expected_revision: int) -> None:
        """Delete a metric with all versions, if nobody has changed it since it was read.

        Raises:
            PreconditionFailed: someone has.
        """
        self._connection.execute(sa.delete(_PAST).where(_PAST.c.project == project, _PAST.c.key == key))
        super().remove(project, key, expected_revision=expected_revision)

    def every_version(self, project: str) -> tuple[StoredMetric, ...]:
        """All versions of all metrics of a project, by key and version."""
        rows = self._connection.execute(self._past(project).order_by(_PAST.c.key, _PAST.c.version))
        found = (*map(self._build, rows), *self.all(project))
        return tuple(sorted(found, key=lambda stored: (stored.key, stored.version)))

    def _past(self, project: str, key: str | None = None) -> sa.Select[Any]:
        """Versions that were replaced, as rows of the table of metrics."""
        metric = self.table.c
        same = sa.and_(_PAST.c.project == metric.project, _PAST.c.key == metric.key)
        query = sa.select(_PAST, metric.created_at).join(self.table, same).where(_PAST.c.project == project)
        return query if key is None else query.where(_PAST.c.key == key)

    def _build(self, row: Any) -> StoredMetric:
        return StoredMetric(
            metric=from_text(row.definition, Metric),
            created_at=row.created_at,
            revision=row.revision,
            version=row.version,
            version_created_at=row.version_created_at,
        )

    def _changeable(self, stored: StoredMetric) -> Mapping[str, Any]:
        return {
            "definition": to_text(stored.metric),
            "version": stored.version,
            "version_created_at": stored.version_created_at,
        }
