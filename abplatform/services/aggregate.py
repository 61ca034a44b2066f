"""Reduce an experiment's events to sufficient statistics, from one state of the lake."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from abplatform import __version__
from abplatform.domain.access import Project
from abplatform.domain.aggregates import Aggregation, AggregationRequest, LakeState
from abplatform.domain.evidence import Evidence
from abplatform.domain.experiment import Experiment, ExperimentDefinition
from abplatform.domain.metric import Metric
from abplatform.domain.phase import counted_span
from abplatform.warehouse.lake import Lake


class Answering(Protocol):
    """The part of an engine that answers requests."""

    @property
    def version(self) -> str:
        """See `engines.Engine`."""

    def aggregate(self, lake: Lake, request: AggregationRequest) -> Aggregation:
        """See `engines.Engine`."""


def aggregate(
    engine: Answering,
    lake: Lake,
    project: Project,
    experiment: Experiment,
    *,
    metrics: Sequence[Metric],
    as_of: datetime,
    known: Evidence | None = None,
) -> Evidence:
    """Reduce what the lake holds about a phase of an experiment: the present state of its tables, read once.

    Args:
        engine: reads the lake.
        lake: holds the events.
        project: its unit type is the one that conversions are about.
        experiment: as it was in the phase to analyse.
        metrics: definitions of the metrics that it uses.
        as_of: now; decides which windows have closed.
        known: of an earlier look; given again if computing would find the same.

    Raises:
        Unavailable: if the lake or the engine does not answer.
    """
    request = build_request(project, experiment, metrics=metrics, as_of=as_of, state=lake.state(project.key))
    if known is not None and known.answers(request, engine=engine.version, version=__version__):
        return known
    return ask(engine, lake, request)


def ask(engine: Answering, lake: Lake, request: AggregationRequest) -> Evidence:
    """Have an engine answer a request.

    Raises:
        SnapshotExpired: if the lake no longer keeps the state that it names.
        Unavailable: if the lake or the engine does not answer.
    """
    aggregation = engine.aggregate(lake, request)
    return Evidence(request=request, aggregation=aggregation, engine=engine.version, version=__version__)


def build_request(
    project: Project, experiment: Experiment, *, metrics: Sequence[Metric], as_of: datetime, state: LakeState
) -> AggregationRequest:
    """What an engine has to reduce for a phase of an experiment.

    Events count as `phase.counted_span` says; units enter a served experiment until enrolment is closed.
    """
    definition = experiment.definition
    served = definition.assignment == "served"
    since, until = counted_span(experiment)
    return AggregationRequest(
        project=project.key,
        experiment=experiment.key,
        phase=experiment.phase,
        variants=tuple(variant.key for variant in definition.variants),
        metrics=tuple(metrics),
        as_of=as_of,
        covariates=definition.covariates,
        adjusted=_adjusted(definition),
        watched=tuple(use.metric for use in definition.metrics if use.role == "guardrail"),
        clustered=definition.clustered,
        since=since,
        enrolled_until=experiment.closed_at if served else None,
        until=until,
        unit_type=None if definition.clustered else other_unit_type(project, experiment),
        time_zone=project.time_zone,
        state=state,
    )


def _adjusted(definition: ExperimentDefinition) -> tuple[str, ...]:
    """Keys of the metrics that CUPED adjusts; harm of guardrails is watched by the data as they are."""
    adjusts = definition.plan.cuped
    return tuple(use.metric for use in definition.metrics if use.role != "guardrail") if adjusts else ()


def other_unit_type(project: Project, experiment: Experiment) -> str | None:
    """The type of the analysed units, where it is not the project's own."""
    analysed = experiment.definition.analysis_unit or experiment.definition.unit_type
    return None if analysed == project.unit_type else analysed
