"""Past experiments on one metric together: what each found, and what of that is likely to be true.

The field names are the public format (``GET /portfolio``). Of many experiments the best looking are shown and shipped,
and those are the lucky ones; see `stats.shrinkage`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import NormalDist

import numpy as np

from abplatform.domain.aggregates import Aggregation
from abplatform.domain.arm_stats import stats_of
from abplatform.domain.arms import comparands
from abplatform.domain.experiment import Experiment
from abplatform.domain.metric import Metric
from abplatform.domain.scorecard import Interval
from abplatform.stats.bayes.history import fit_prior
from abplatform.stats.fixed import compare
from abplatform.stats.shrinkage import shrink_effects

ALPHA = 0.05
FEWEST = 3
TOO_FEW_EXPERIMENTS = "TOO_FEW_EXPERIMENTS"
NO_LOOK = "NO_LOOK"
NOT_KEPT = "NOT_KEPT"
UNSOUND = "UNSOUND"
RULE = (
    "Experiments of the project that have used the metric and are closed, stopped, archived or decided, by the last "
    "look of their current phase."
)
ASSUMPTIONS = (
    (
        "Effects are relative to each experiment's control, at one look, without CUPED, with intervals of the delta "
        "method."
    ),
    (
        "True effects of the experiments are alike as drawings from one normal distribution, whose mean and spread the "
        "experiments themselves tell."
    ),
    "Estimates are independent: variants of one experiment share a control, and count as if they did not.",
    "Nothing was left out because of its result.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PastEffect:
    """What one experiment found of one treatment.

    Attributes:
        version: of the metric that it used.
        look, computed_at: of the look that it rests on.
        shipped: whether this variant was.
        raw: relative effect with its confidence interval.
        shrunken: posterior mean with its credible interval; null where there are too few experiments.
        weight: share of its own estimate in ``shrunken``; the rest is the portfolio's.
    """

    experiment: str
    variant: str
    version: int
    look: int
    computed_at: datetime
    shipped: bool
    raw: Interval
    shrunken: Interval | None = None
    weight: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """An experiment, or one variant of it, that says nothing here.

    Attributes:
        variant: null for the whole experiment.
        reason: ``NO_LOOK`` (nobody has looked at its phase), ``NOT_KEPT`` (the look is from before what it rests on was
            kept), ``UNSOUND`` (its data are not sound), or why there is no relative effect.
    """

    experiment: str
    variant: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """The true effects, as all experiments together tell.

    Attributes:
        mean: of the true relative effects.
        scale: their standard deviation; 0 where estimates spread no more than their errors do.
        mean_standard_error: standard error of ``mean``.
    """

    mean: float
    scale: float
    mean_standard_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippedSum:
    """Everything that was shipped, added up.

    Attributes:
        variants: how many.
        naive: sum of their raw effects, too high since they were chosen by them.
        expected: sum of their shrunken effects; null where there are too few experiments.
    """

    variants: int
    naive: float
    expected: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Portfolio:
    """All past experiments on one metric.

    Attributes:
        direction: of the metric.
        alpha: of the intervals, each for itself.
        rule: which experiments are in.
        assumptions: sentences for people.
        effects: the newest look first.
        population: by which they were shrunken; null where there are too few experiments.
        not_computable: ``TOO_FEW_EXPERIMENTS`` if fewer than 3 experiments have an effect, or null.
    """

    metric: str
    direction: str
    alpha: float
    rule: str
    assumptions: tuple[str, ...]
    effects: tuple[PastEffect, ...]
    left_out: tuple[LeftOut, ...]
    population: Population | None
    shipped: ShippedSum
    not_computable: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifted:
    """The relative effect of a treatment; without an interval where it does not exist, and then ``reason`` says why."""

    variant: str
    raw: Interval | None
    reason: str | None


def has_ended(experiment: Experiment) -> bool:
    """Whether an experiment is a past one: see `RULE`."""
    return experiment.status in {"closed", "stopped", "archived"} or experiment.decision is not None


def lift(experiment: Experiment, metric: Metric, aggregation: Aggregation) -> tuple[Lifted, ...]:
    """Relative effects of all treatments on one metric, as they are at one look."""
    definition = replace(
        experiment.definition,
        metrics=tuple(use for use in experiment.definition.metrics if use.metric == metric.key),
    )
    found = []
    for row in comparands(definition, [metric], aggregation):
        reduce = stats_of(metric, row.control, *row.treatments)
        for cell in row.treatments:
            compared = compare(reduce([[cell]]), reduce([[row.control]]), alpha=ALPHA, relative="delta").cell(0, 0)
            effect = compared.relative
            known = effect.lower is not None and effect.upper is not None and effect.upper > effect.lower
            interval = Interval(estimate=effect.estimate, lower=effect.lower, upper=effect.upper)
            reason = None if known else str(compared.relative_not_computable or "ZERO_VARIANCE")
            found.append(Lifted(variant=cell.variant, raw=interval if known else None, reason=reason))
    return tuple(found)


def build_portfolio(metric: Metric, effects: Sequence[PastEffect], left_out: Sequence[LeftOut]) -> Portfolio:
    """Shrink effects towards what all of them have in common.

    Args:
        metric: as it is now.
        effects: not yet shrunken.
        left_out: what has none.
    """
    ordered = sorted(effects, key=lambda each: (each.computed_at, each.experiment, each.variant), reverse=True)
    enough = len({each.experiment for each in ordered}) >= FEWEST
    shrunken, population = _shrink(ordered) if enough else (tuple(ordered), None)
    return Portfolio(
        metric=metric.key,
        direction=metric.direction,
        alpha=ALPHA,
        rule=RULE,
        assumptions=ASSUMPTIONS,
        effects=shrunken,
        left_out=tuple(left_out),
        population=population,
        shipped=_sum(shrunken, enough=enough),
        not_computable=None if enough else TOO_FEW_EXPERIMENTS,
    )


def _shrink(effects: Sequence[PastEffect]) -> tuple[tuple[PastEffect, ...], Population]:
    estimates = np.array([each.raw.estimate for each in effects], dtype=np.float64)
    widths = np.array([(each.raw.upper or 0.0) - (each.raw.lower or 0.0) for each in effects])
    # Of a normal interval; those of few units are wider than that, and count for less.
    errors = widths / (2 * NormalDist().inv_cdf(1 - ALPHA / 2))
    found, fitted = shrink_effects(estimates, errors, alpha=ALPHA), fit_prior(estimates, errors, method="reml")
    shrunken = tuple(
        replace(
            each,
            shrunken=Interval(
                estimate=float(found.estimate[index]),
                lower=float(found.lower[index]),
                upper=float(found.upper[index]),
            ),
            weight=float(found.weight[index]),
        )
        for index, each in enumerate(effects)
    )
    return shrunken, Population(
        mean=float(fitted.mean), scale=float(fitted.scale), mean_standard_error=float(fitted.mean_standard_error)
    )


def _sum(effects: Sequence[PastEffect], *, enough: bool) -> ShippedSum:
    shipped = [each for each in effects if each.shipped]
    expected = [each.shrunken.estimate or 0.0 for each in shipped if each.shrunken is not None]
    return ShippedSum(
        variants=len(shipped),
        naive=sum(each.raw.estimate or 0.0 for each in shipped),
        expected=sum(expected) if enough else None,
    )
