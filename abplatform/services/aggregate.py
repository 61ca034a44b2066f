"""Reduce an experiment's events to sufficient statistics."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from abplatform.domain.aggregates import Aggregation, AggregationRequest
from abplatform.domain.experiment import Experiment
from abplatform.domain.metric import Metric
from abplatform.warehouse.engines import DuckDBEngine
from abplatform.warehouse.lake import Lake


def aggregate(
    engine: DuckDBEngine,
    lake: Lake,
    project: str,
    experiment: Experiment,
    *,
    metrics: Sequence[Metric],
    as_of: datetime,
    by: str | None = None,
) -> Aggregation:
    """Reduce what the lake holds about an experiment.

    A served experiment counts from its start to its stop; an external one counts all that it was given.

    Args:
        engine: reads the lake.
        lake: holds the events.
        project: key of the project.
        experiment: what to analyse.
        metrics: definitions of the metrics that it uses.
        as_of: now; decides which windows have closed.
        by: name of an exposure attribute to slice by.
    """
    definition = experiment.definition
    served = definition.assignment == "served"
    request = AggregationRequest(
        project=project,
        experiment=experiment.key,
        phase=experiment.phase,
        variants=tuple(variant.key for variant in definition.variants),
        metrics=tuple(metrics),
        as_of=as_of,
        covariates=definition.covariates,
        clustered=definition.clustered,
        since=experiment.started_at if served else None,
        until=experiment.stopped_at if served else None,
        by=by,
    )
    return engine.aggregate(lake, request)
