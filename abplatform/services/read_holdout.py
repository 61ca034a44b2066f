"""Read out a holdout: what everything that was shipped did together, beside what each part had found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from abplatform.domain.access import Project
from abplatform.domain.aggregates import Aggregation, AggregationRequest
from abplatform.domain.checks import Faults
from abplatform.domain.events import HOLDOUT_GROUPS, name_holdout
from abplatform.domain.experiment import Experiment
from abplatform.domain.health import check_health
from abplatform.domain.holdout import HOLDOUT_METHODS, HoldoutMethod
from abplatform.domain.holdout_results import (
    ALPHA,
    NOBODY,
    HoldoutResults,
    ShippedPart,
    as_definition,
    read_part,
    sum_parts,
)
from abplatform.domain.late_outcomes import add_maturity
from abplatform.domain.metric import Metric
from abplatform.domain.scorecard import Scorecard
from abplatform.domain.scoring import score_metrics
from abplatform.storage.holdouts import StoredHoldout
from abplatform.storage.session import UnitOfWork, Work

MOST_METRICS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldoutQuestion:
    """What to see of a holdout.

    Attributes:
        metrics: keys of 1 to 20 metrics of the project, each in its newest version.
        method: ``sequential``, which may be watched, or ``fixed``, which holds at one look.
    """

    metrics: tuple[str, ...]
    method: str = "sequential"


@dataclass(frozen=True, slots=True)
class _Known:
    stored: StoredHoldout
    metrics: Sequence[Metric]
    shipped: tuple[ShippedPart, ...]


def read_holdout(
    uow: UnitOfWork,
    aggregate: Callable[[AggregationRequest], Aggregation],
    project: Project,
    key: str,
    *,
    question: HoldoutQuestion,
    now: datetime,
) -> HoldoutResults:
    """The results of a holdout as of now. Nothing is recorded, and nothing decided.

    Args:
        uow: where definitions and looks are kept.
        aggregate: reduces events.
        project: whose holdout it is.
        key: key of the holdout.
        question: what to see.
        now: decides which windows have closed.

    Raises:
        NotFound: without such a holdout.
        InvalidInput: naming ``metric`` or ``method``, where it does not fit.
    """
    method = _check(question)
    with uow.reading() as work:
        known = _read(work, project.key, key, question.metrics)
    holdout, metrics = known.stored.holdout, known.metrics
    request = _build_request(project, known, now=now)
    aggregation = aggregate(request)
    definition = as_definition(holdout, question.metrics, method)
    health = check_health(definition, aggregation)
    if not any(aggregation.exposed.values()):
        health = replace(health, warnings=(NOBODY, *health.warnings))
    scored = score_metrics(definition, metrics, aggregation, method=method)
    return HoldoutResults(
        holdout=key,
        name=holdout.name,
        unit_type=holdout.unit_type,
        share=holdout.share,
        method=method,
        alpha=ALPHA,
        since=known.stored.created_at,
        ended_at=known.stored.ended_at,
        computed_at=now,
        data_through=aggregation.data_through,
        health=health,
        metrics=add_maturity(scored, metrics, request, data_through=aggregation.data_through),
        shipped=known.shipped,
        sums=tuple(sum_parts(known.shipped, metric) for metric in question.metrics),
    )


def _check(question: HoldoutQuestion) -> HoldoutMethod:
    faults = Faults()
    method = next((each for each in HOLDOUT_METHODS if each == question.method), None)
    faults.check(method is not None, "method", f"must be one of {', '.join(HOLDOUT_METHODS)}")
    named = question.metrics
    faults.check(1 <= len(named) <= MOST_METRICS, "metric", f"must name 1 to {MOST_METRICS} metrics")
    for metric in sorted({each for each in named if named.count(each) > 1}):
        faults.add("metric", f"{metric!r} stands there more than once")
    faults.raise_any()
    return method or "sequential"


def _read(work: Work, project: str, key: str, names: Sequence[str]) -> _Known:
    stored = work.holdouts.get(project, key)
    known = {each.key: each.metric for each in work.metrics.all(project)}
    faults = Faults()
    for name in names:
        if name not in known:
            faults.add("metric", f"there is no metric {name!r}{faults.suggest(name, known)}")
        else:
            cap = known[name].cap
            rule = f"{name!r} has a cap by quantile, which an experiment fixes at its start; make it an amount"
            faults.check(cap is None or cap.quantile is None, "metric", rule)
    faults.raise_any()
    shipped = (
        _read_part(work, project, experiment, names)
        for experiment in work.experiments.all(project)
        if key in experiment.holdouts
    )
    parts = [part for part in shipped if part is not None and _is_under(part, stored)]
    return _Known(stored, [known[name] for name in names], tuple(sorted(parts, key=lambda part: part.shipped_at)))


def _read_part(work: Work, project: str, experiment: Experiment, names: Sequence[str]) -> ShippedPart | None:
    variant, decision = experiment.shipped, experiment.decision
    if variant is None or decision is None:
        return None
    return ShippedPart(
        experiment=experiment.key,
        variant=variant,
        shipped_at=decision.decided_at,
        estimates=tuple(read_part(_decisive_look(work, project, experiment), variant, names)),
    )


def _decisive_look(work: Work, project: str, experiment: Experiment) -> Scorecard | None:
    """The look that the decision names; the last one where it was taken before that was recorded, or without one."""
    decision = experiment.decision
    if decision is not None and decision.phase is not None and decision.look is not None:
        return work.looks.get(project, experiment.key, decision.phase, decision.look).scorecard
    latest = work.looks.latest(project, experiment.key, experiment.phase)
    return None if latest is None else latest.scorecard


def _is_under(part: ShippedPart, stored: StoredHoldout) -> bool:
    return stored.ended_at is None or part.shipped_at < stored.ended_at


def _build_request(project: Project, known: _Known, *, now: datetime) -> AggregationRequest:
    """From the start of the holdout to its end: from then on those who were held out get everything, too."""
    stored = known.stored
    own = stored.holdout.unit_type == project.unit_type
    return AggregationRequest(
        project=project.key,
        experiment=name_holdout(stored.key),
        phase=1,
        variants=HOLDOUT_GROUPS,
        metrics=tuple(known.metrics),
        as_of=now,
        since=stored.created_at,
        until=stored.ended_at,
        unit_type=None if own else stored.holdout.unit_type,
        time_zone=project.time_zone,
    )
