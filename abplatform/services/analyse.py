"""Turn what the lake holds into a scorecard, and write each look once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

import msgspec

from abplatform.domain.aggregates import Aggregation
from abplatform.domain.decision import decide
from abplatform.domain.experiment import Experiment
from abplatform.domain.health import check_health
from abplatform.domain.metric import Metric
from abplatform.domain.plan import METHODS, Method
from abplatform.domain.scorecard import Scorecard
from abplatform.domain.scoring import score_metrics
from abplatform.errors import InvalidInput, NotAnalysable
from abplatform.storage.session import UnitOfWork

Aggregate = Callable[[Experiment, Sequence[Metric]], Aggregation]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a reader wants to see.

    Attributes:
        method: another method than the plan's; its comparisons are exploratory and never decide.
        metric: only this metric; the decision still rests on all.
        phase: only the current one has results.
    """

    method: str | None = None
    metric: str | None = None
    phase: int | None = None


def read_results(
    uow: UnitOfWork, aggregate: Aggregate, project: str, key: str, *, question: Question, now: datetime
) -> Scorecard:
    """The scorecard of an experiment as of now.

    By the plan's own method it is a look: numbered, stored once with its decision, and given again unchanged as
    long as nothing has changed in the data.

    Args:
        uow: where definitions and looks are kept.
        aggregate: reduces the experiment's events.
        project: key of the project.
        key: key of the experiment.
        question: what to see.
        now: decides which windows have closed.

    Raises:
        NotFound: without such an experiment.
        NotAnalysable: before the experiment has started.
        InvalidInput: naming a part of the question that does not fit the experiment.
    """
    with uow.reading() as work:
        experiment = work.experiments.get(project, key)
        metrics = [work.metrics.get(project, use.metric).metric for use in experiment.definition.metrics]
        latest = work.looks.latest(project, key, experiment.phase)
    if experiment.status == "draft":
        raise NotAnalysable(f"{key} has not started, so there is nothing to analyse")
    method = _check_question(question, experiment, metrics)
    aggregation = aggregate(experiment, metrics)
    previous = latest[0] if latest else None
    look = _score(experiment, metrics, aggregation, previous=previous, now=now)
    if method != experiment.definition.plan.method:
        explored = score_metrics(experiment.definition, metrics, aggregation, method=method)
        return _only(replace(look, look=0, method=method, metrics=explored), question.metric)
    fingerprint = _fingerprint(experiment, metrics, aggregation)
    return _only(_record(uow, project, experiment, look, fingerprint), question.metric)


def _check_question(question: Question, experiment: Experiment, metrics: Sequence[Metric]) -> Method:
    plan = experiment.definition.plan
    if question.phase not in {None, experiment.phase}:
        raise InvalidInput({"phase": [f"{experiment.key} has phase {experiment.phase} only"]})
    if question.metric is not None and question.metric not in {metric.key for metric in metrics}:
        raise InvalidInput({"metric": [f"{experiment.key} does not use a metric {question.metric!r}"]})
    method = question.method or plan.method
    if method not in METHODS:
        raise InvalidInput({"method": [f"must be one of {', '.join(METHODS)}"]})
    if method == "sequential" and experiment.definition.clustered:
        raise InvalidInput({"method": ["sequential results of clustered experiments are not supported yet"]})
    return method  # type: ignore[return-value]


def _score(
    experiment: Experiment,
    metrics: Sequence[Metric],
    aggregation: Aggregation,
    *,
    previous: Scorecard | None,
    now: datetime,
) -> Scorecard:
    definition = experiment.definition
    health = check_health(definition, aggregation, previous=previous.health if previous else None)
    results = score_metrics(definition, metrics, aggregation, method=definition.plan.method)
    finished = (
        experiment.status in {"stopped", "archived"}
        or sum(aggregation.analysed.values()) >= definition.plan.planned_units
    )
    return Scorecard(
        experiment=experiment.key,
        name=definition.name,
        phase=experiment.phase,
        status=experiment.status,
        method=definition.plan.method,
        alpha=definition.plan.alpha,
        planned_units=definition.plan.planned_units,
        look=0,
        computed_at=now,
        data_through=aggregation.data_through,
        preregistered=experiment.preregistered,
        health=health,
        metrics=results,
        decision=decide(definition, health, results, finished=finished),
    )


def _record(uow: UnitOfWork, project: str, experiment: Experiment, look: Scorecard, fingerprint: str) -> Scorecard:
    """Store the look, unless the latest one says the same; of two readers at once, one writes."""
    with uow.reading() as work:
        latest = work.looks.latest(project, experiment.key, experiment.phase)
    if latest is not None and latest[1] == fingerprint:
        return latest[0]
    with uow.begin() as work:
        work.looks.append(project, experiment.key, experiment.phase, look, fingerprint)
        latest = work.looks.latest(project, experiment.key, experiment.phase)
    return look if latest is None else latest[0]


def _fingerprint(experiment: Experiment, metrics: Sequence[Metric], aggregation: Aggregation) -> str:
    """Names what a look rests on: definition, state and data.

    An engine adds doubles in whatever order its threads finish, so moments are compared to nine digits; counts and
    sums are exact.
    """
    covariates = [replace(cell, total=Decimal(0)) for cell in aggregation.covariates]  # their sums are doubles too
    cells = msgspec.to_builtins([*aggregation.cells, *covariates])
    for cell in cells:
        cell.update({name: f"{value:.9g}" for name, value in cell.items() if isinstance(value, float)})
    counts = msgspec.to_builtins(replace(aggregation, cells=(), covariates=(), data_through=None))
    content = (experiment.definition, experiment.status, tuple(metrics), counts, cells)
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()


def _only(scorecard: Scorecard, metric: str | None) -> Scorecard:
    if metric is None:
        return scorecard
    return replace(scorecard, metrics=tuple(result for result in scorecard.metrics if result.metric == metric))
