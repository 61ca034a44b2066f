"""Metrics in the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from abplatform.domain.metric import Metric
from abplatform.storage import schema
from abplatform.storage.definitions import Definitions
from abplatform.storage.documents import from_text, to_text


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


class Metrics(Definitions[StoredMetric]):
    """The metrics of all projects, seen through one transaction."""

    table = schema.metric
    noun = "metric"

    def _build(self, row: Any) -> StoredMetric:
        metric = from_text(row.definition, Metric)
        return StoredMetric(metric=metric, created_at=row.created_at, revision=row.revision)

    def _changeable(self, stored: StoredMetric) -> Mapping[str, Any]:
        return {"definition": to_text(stored.metric)}
