"""Days since the first exposure at which a metric is read: the same metric with another window at each.

So everything that holds of metrics holds of the points of a curve: caps, filters, CUPED, clusters, closed windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from abplatform.domain.checks import Faults
from abplatform.domain.experiment import ExperimentDefinition, MetricUse
from abplatform.domain.metric import Metric, Window

View = Literal["cumulative", "daily"]
Cohort = Literal["followed", "same"]
VIEWS: tuple[View, ...] = ("cumulative", "daily")
COHORTS: tuple[Cohort, ...] = ("followed", "same")
CURVED = frozenset({"conversion", "count", "sum", "ratio"})
"""Kinds of metrics that have a curve."""
USUAL_DAYS = (1, 3, 7, 14, 30, 60, 90, 180, 365)
MOST_DAYS = 60
LATEST_DAY = 3650
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Horizons:
    """Where a curve has points.

    Attributes:
        days: since the first exposure, rising, 1 to `LATEST_DAY`, at most `MOST_DAYS` of them.
        view, cohort: see `Curve`.
    """

    days: tuple[int, ...] = USUAL_DAYS
    view: View = "cumulative"
    cohort: Cohort = "followed"

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """The days of each point: from which, and until which."""
        before = (0, *self.days[:-1]) if self.view == "daily" else (0,) * len(self.days)
        return tuple(zip(before, self.days, strict=True))


def check_days(days: Sequence[int], faults: Faults) -> None:
    """Note what is wrong with the days of a curve, under ``days``."""
    if not faults.check(1 <= len(days) <= MOST_DAYS, "days", f"must be 1 to {MOST_DAYS} days"):
        return
    for index, day in enumerate(days):
        path = f"days.{index}"
        if faults.check(1 <= day <= LATEST_DAY, path, f"must be from 1 to {LATEST_DAY}, not {day}") and index:
            faults.check(day > days[index - 1], path, f"must be after the day before it ({days[index - 1]}), not {day}")


def check_curved(metric: Metric, view: View, faults: Faults) -> None:
    """Note why a metric has no such curve, under ``metric`` or ``view``."""
    if metric.kind not in CURVED:
        hint = (
            "for a curve of returns use a conversion of the same event with view=daily"
            if metric.kind == "retention"
            else "use a conversion, count or sum of the same events"
        )
        rule = f"must be a conversion, count, sum or ratio: {metric.key} is a {metric.kind}, which has no curve; {hint}"
        faults.add("metric", rule)
    elif view == "daily" and metric.kind == "sum" and metric.aggregation == "last":
        faults.add(
            "view", f"must be cumulative: {metric.key} is a last value, which stays after the day on which it was seen"
        )


def metrics_of_curve(metric: Metric, horizons: Horizons, *, followed_for: timedelta) -> tuple[Metric, ...]:
    """The same metric with the window of each point, under keys of its own.

    Args:
        metric: what is traced.
        horizons: of the curve.
        followed_for: age from which on a unit has been followed until the last day; of the cohort ``same``.
    """
    calendar = metric.window is not None and metric.window.calendar
    least_age = max(metric.minimum_age, followed_for) if horizons.cohort == "same" else metric.minimum_age
    return tuple(
        replace(
            metric,
            key=_key(metric, day),
            window=Window(start=start * _DAY, end=day * _DAY, calendar=calendar),
            minimum_age=least_age,
            outcome=None,
        )
        for start, day in horizons.spans
    )


def definition_of_curve(definition: ExperimentDefinition, metric: Metric, horizons: Horizons) -> ExperimentDefinition:
    """An experiment that is about nothing but the points of a curve.

    Guardrails are never adjusted by CUPED, nor are their curves. Points are secondary: nothing of them decides.
    """
    guards = any(use.metric == metric.key and use.role == "guardrail" for use in definition.metrics)
    uses = tuple(MetricUse(metric=_key(metric, day), role="secondary") for day in horizons.days)
    plan = replace(definition.plan, cuped=definition.plan.cuped and not guards)
    return replace(definition, metrics=uses, plan=plan, covariates=(), dimensions=())


def _key(metric: Metric, day: int) -> str:
    """No key of a metric has an @."""
    return f"{metric.key}@{day}"
