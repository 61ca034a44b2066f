"""Reduce an experiment's events to sufficient statistics."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from abplatform.domain.access import Project
from abplatform.domain.aggregates import Aggregation, AggregationRequest
from abplatform.domain.experiment import Experiment
from abplatform.domain.metric import Metric
from abplatform.warehouse.engines import DuckDBEngine
from abplatform.warehouse.lake import Lake


def aggregate(
    engine: DuckDBEngine,
    lake: Lake,
    project: Project,
    experiment: Experiment,
    *,
    metrics: Sequence[Metric],
    as_of: datetime,
    by: str | None = None,
) -> Aggregation:
    """Reduce what the lake holds about a phase of an experiment.

    A phase of a served experiment counts from its start to the next one's, or to the stop; units enter until enrolment
    is closed. An external experiment counts all that it was given.

    Args:
        engine: reads the lake.
        lake: holds the events.
        project: its unit type is the one that conversions are about.
        experiment: as it was in the phase to analyse.
        metrics: definitions of the metrics that it uses.
        as_of: now; decides which windows have closed.
        by: name of an exposure attribute to slice by.
    """
    definition = experiment.definition
    served = definition.assignment == "served"
    request = AggregationRequest(
        project=project.key,
        experiment=experiment.key,
        phase=experiment.phase,
        variants=tuple(variant.key for variant in definition.variants),
        metrics=tuple(metrics),
        as_of=as_of,
        covariates=definition.covariates,
        clustered=definition.clustered,
        since=experiment.phase_started_at if served else None,
        enrolled_until=experiment.closed_at if served else None,
        until=(experiment.phase_ended_at or experiment.stopped_at) if served else None,
        by=by,
        unit_type=None if definition.clustered else _other_unit_type(project, experiment),
    )
    return engine.aggregate(lake, request)


def _other_unit_type(project: Project, experiment: Experiment) -> str | None:
    """The type of the analysed units, where it is not the project's own."""
    analysed = experiment.definition.analysis_unit or experiment.definition.unit_type
    return None if analysed == project.unit_type else analysed
