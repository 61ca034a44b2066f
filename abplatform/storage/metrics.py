"""Metrics in the database: the newest version of each, and those that it replaced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from abplatform.domain.metric import Metric
from abplatform.storage import schema
from abplatform.storage.documents import from_text, to_text
from abplatform.storage.versions import VersionedDefinitions


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


class Metrics(VersionedDefinitions[StoredMetric]):
    """The metrics of all projects, seen through one transaction; without more said, in their newest version."""

    table = schema.metric
    past = schema.metric_version
    noun = "metric"

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
