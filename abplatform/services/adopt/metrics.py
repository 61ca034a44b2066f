"""Columns as metrics: made, or reused where the project has the very same one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count

from abplatform.domain.experiment import MetricUse
from abplatform.domain.metric import Direction, Metric
from abplatform.services.adopt.request import ImportRequest, Outcome
from abplatform.services.define import create_metric, delete_metric
from abplatform.storage.metrics import StoredMetric
from abplatform.storage.session import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptedMetric:
    """A column and the metric that it became.

    Attributes:
        wanted: the key that the column's name gives; ``metric.key`` is another one where that was taken.
        made: the stored metric if this import made it.
    """

    column: str
    wanted: str
    metric: Metric
    made: StoredMetric | None


def adopt_metrics(work: Work, project: str, request: ImportRequest, *, now: datetime) -> tuple[AdoptedMetric, ...]:
    """A metric for each outcome, in order; existing ones are reused when they count the same."""
    taken: set[str] = set()
    adopted = []
    for outcome in request.outcomes:
        each = _adopt(work, project, request, outcome, taken=taken, now=now)
        taken.add(each.metric.key)
        adopted.append(each)
    return tuple(adopted)


def drop_metrics(work: Work, project: str, adopted: tuple[AdoptedMetric, ...]) -> None:
    """Delete the metrics that an import made, when it comes to nothing."""
    for each in adopted:
        if each.made is not None:
            delete_metric(work, project, each.made.key, revision=each.made.revision)


def metric_uses(request: ImportRequest, adopted: tuple[AdoptedMetric, ...]) -> tuple[MetricUse, ...]:
    """The primaries as asked for, the rest secondary."""
    return tuple(
        MetricUse(metric=each.metric.key, role="primary" if each.column in request.primary_columns else "secondary")
        for each in adopted
    )


def key_of_column(column: str) -> str:
    """The column's name as a key: lower case, everything that a key cannot hold as a hyphen.

    >>> key_of_column("Total Spend"), key_of_column("转化")
    ('total-spend', 'metric')
    """
    return re.sub(r"[^a-z0-9_]+", "-", column.lower()).strip("-_")[:64] or "metric"


def _adopt(
    work: Work, project: str, request: ImportRequest, outcome: Outcome, *, taken: set[str], now: datetime
) -> AdoptedMetric:
    wanted = key_of_column(outcome.column)
    direction: Direction = "decrease" if outcome.column in request.decreases else "increase"
    for key in _candidates(wanted, request.key):
        if key in taken:
            continue
        metric = Metric(key=key, name=outcome.column, kind=outcome.kind, event=outcome.column, direction=direction)
        found = work.metrics.find(project, key)
        if found is None:
            made = create_metric(work, project, metric, now=now)
            return AdoptedMetric(column=outcome.column, wanted=wanted, metric=metric, made=made)
        if replace(found.metric, name=metric.name) == metric:
            return AdoptedMetric(column=outcome.column, wanted=wanted, metric=found.metric, made=None)
    raise AssertionError("the candidates never end")


def _candidates(wanted: str, experiment: str) -> Iterator[str]:
    yield wanted
    yield f"{experiment}-{wanted}"[:64]
    for number in count(2):
        ending = f"-{number}"
        yield f"{experiment}-{wanted}"[: 64 - len(ending)] + ending
