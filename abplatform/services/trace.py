"""Trace a metric over the days since the first exposure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from abplatform.domain.aggregates import Aggregation
from abplatform.domain.checks import Faults
from abplatform.domain.curve import Curve, kind_of_levels, score_curve, text_of_cap, until_last_followed
from abplatform.domain.experiment import Experiment
from abplatform.domain.horizons import (
    COHORTS,
    VIEWS,
    Horizons,
    check_curved,
    check_days,
    definition_of_curve,
    metrics_of_curve,
)
from abplatform.domain.metric import Metric
from abplatform.domain.phase import counted_span, judged_definition
from abplatform.services.choose import Question, choose, watchable_method
from abplatform.storage.session import UnitOfWork

AggregatePoints = Callable[[Experiment, Sequence[Metric]], Aggregation]
"""Reduces the events of an experiment."""

_DAY = timedelta(days=1)
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveQuestion:
    """What to trace.

    Attributes:
        metric: of the experiment: a conversion, count, sum or ratio; its own window is left aside.
        days: since the first exposure, see `Horizons.days`; without any the usual ones, as far as any unit has been
            followed.
        view: one of `VIEWS`.
        cohort: one of `COHORTS`; ``same`` needs ``days``.
        method: another than the plan's, see `watchable_method`.
        phase: any that the experiment has had; the current one by default.
    """

    metric: str
    days: tuple[int, ...] | None = None
    view: str = "cumulative"
    cohort: str = "followed"
    method: str | None = None
    phase: int | None = None


def read_curve(
    uow: UnitOfWork, aggregate: AggregatePoints, project: str, key: str, *, question: CurveQuestion, now: datetime
) -> Curve:
    """The curve of a metric in a phase of an experiment, all points in one pass over the events.

    Args:
        uow: where definitions are kept.
        aggregate: reduces the experiment's events.
        project: key of the project.
        key: key of the experiment.
        question: what to trace.
        now: decides how long units have been followed.

    Raises:
        NotFound: without such an experiment.
        NotAnalysable: before the experiment has started.
        InvalidInput: naming a part of the question that does not fit.
    """
    horizons = _check(question)
    general = Question(method=question.method, metric=question.metric, phase=question.phase)
    asked = choose(uow, project, key, general)
    method = watchable_method(asked, general)
    metric = next(each for each in asked.metrics if each.key == question.metric)
    faults = Faults()
    check_curved(metric, horizons.view, faults)
    faults.raise_any()
    definition = definition_of_curve(judged_definition(asked.experiment), metric, horizons)
    with uow.reading() as work:
        zone = work.projects.get(project).time_zone
    until = min(now, counted_span(asked.experiment)[1] or now)
    metrics = metrics_of_curve(metric, horizons, followed_for=_followed_for(metric, horizons.days[-1], until, zone))
    aggregation = aggregate(replace(asked.experiment, definition=definition), metrics)
    points = score_curve(definition, metrics, aggregation, horizons=horizons, method=method)
    return Curve(
        experiment=key,
        phase=asked.experiment.phase,
        metric=metric.key,
        kind=metric.kind,
        direction=metric.direction,
        view=horizons.view,
        cohort=horizons.cohort,
        calendar=metric.window is not None and metric.window.calendar,
        cap=text_of_cap(metric),
        method=method,
        interval_kind=kind_of_levels(method),
        alpha=definition.plan.alpha,
        computed_at=now,
        data_through=aggregation.data_through,
        points=until_last_followed(points) if question.days is None else points,
    )


def _followed_for(metric: Metric, days: int, until: datetime, zone: str) -> timedelta:
    """How old a unit is, at least, whose window of so many days has closed by a time.

    Days of a calendar end at midnight: whoever came before a certain one has seen so many, whatever the hour.
    """
    if metric.window is None or not metric.window.calendar:
        return days * _DAY
    return until - _begin(_day_of(until, zone) - (days - 1) * _DAY, zone) + _TICK


def _day_of(instant: datetime, zone: str) -> date:
    """The last day that has begun: clocks that go back at midnight show the one before again."""
    day = instant.astimezone(ZoneInfo(zone)).date()
    return day + _DAY if _begin(day + _DAY, zone) <= instant else day


def _begin(day: date, zone: str) -> datetime:
    return datetime.combine(day, time.min, ZoneInfo(zone)).astimezone(UTC)


def _check(question: CurveQuestion) -> Horizons:
    faults = Faults()
    view = next((each for each in VIEWS if each == question.view), None)
    cohort = next((each for each in COHORTS if each == question.cohort), None)
    faults.check(view is not None, "view", f"must be one of {', '.join(VIEWS)}")
    faults.check(cohort is not None, "cohort", f"must be one of {', '.join(COHORTS)}")
    if question.days is not None:
        check_days(question.days, faults)
    elif cohort == "same":
        faults.add("days", "is required where the same units are traced: they are those followed until the last day")
    faults.raise_any()
    chosen = Horizons(view=view or "cumulative", cohort=cohort or "followed")
    return chosen if question.days is None else replace(chosen, days=question.days)
