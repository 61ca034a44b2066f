"""Rates against a margin at small counts: non-inferiority by the score test."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from abplatform.stats.fixed.alternatives import Alternative, critical_value, tail_rate
from abplatform.stats.fixed.restricted import Counts, difference_score, ratio_score
from abplatform.stats.fixed.scores import difference_bounds, ratio_bounds, score_p_value
from abplatform.stats.margins import Margin
from abplatform.stats.results import NonInferiority, named_reasons
from abplatform.stats.sufficient import ProportionStats
from abplatform.stats.validation import Direction, FloatArray, instance_of, known_direction, same_grid


@np.errstate(all="ignore")
def rate_non_inferiority(
    treatment: ProportionStats,
    control: ProportionStats,
    *,
    margin: Margin,
    alpha: ArrayLike = 0.05,
    direction: Direction,
) -> NonInferiority:
    """Test by scores that a rate is not worse than control's by the margin or more (Farrington and Manning, 1990).

    As ``non_inferiority``, for rare outcomes: the standard error is the one under the hypothesis that the rates
    differ by exactly the margin, so that no events in either arm still give a bound. With Miettinen and Nurminen's
    factor N / (N - 1). A relative margin is a hypothesis about the ratio of the rates.

    Args:
        treatment: units and successes of the treatment, any shape.
        control: units and successes of the control.
        margin: what is still acceptable, below 1; a rise may be any share of the control's rate.
        alpha: one-sided error rate, below 0.5.
        direction: ``increase`` where more is better (harm is a fall), ``decrease`` where less is.

    Returns:
        A ``NonInferiority``. A relative bound against a control without successes exists on the lower side only.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> from abplatform.stats import Margin
    >>> complaints = ProportionStats(4_000, 0), ProportionStats(4_000, 0)
    >>> test = rate_non_inferiority(*complaints, margin=Margin(0.001), direction="decrease")
    >>> bool(test.non_inferior), round(float(test.bound), 6)
    (True, 0.000676)
    """
    known_direction(direction)
    instance_of("margin", margin, Margin, "Margin(0.001)")
    if (margin.size >= 1).any() and not (margin.relative and direction == "decrease"):
        raise ValueError("margin must be below 1: no rate falls by more than all of it")
    rate, counts = tail_rate(alpha, "greater"), Counts.of(treatment, control)
    grid = same_grid(treatment=counts.units, margin=margin.size, alpha=rate)
    counts = counts.over(grid)
    limit = np.broadcast_to(-margin.size if direction == "increase" else margin.size, grid)
    critical = np.broadcast_to(critical_value(rate, None), grid)
    bound, p_value = _bound_and_p_value(counts, limit, critical, relative=margin.relative, direction=direction)
    known = counts.reasons == 0
    return NonInferiority(
        method="score",
        interval_kind="fixed",
        bound=bound,
        limit=limit,
        p_value=np.where(known, p_value, np.nan),
        non_inferior=known & np.isfinite(bound) & (p_value < rate),
        not_computable=named_reasons(counts.reasons),
    )


def _bound_and_p_value(
    counts: Counts, limit: FloatArray, critical: FloatArray, *, relative: bool, direction: Direction
) -> tuple[FloatArray, FloatArray]:
    """Return the bound on the side of harm, and the p-value of the limit."""
    side = 0 if direction == "increase" else 1
    alternative: Alternative = "greater" if direction == "increase" else "less"
    if relative:
        bound = ratio_bounds(counts, critical, counts.correction)[side] - 1
        score = ratio_score(counts, 1 + limit, counts.correction)
    else:
        bound = difference_bounds(counts, critical, counts.correction)[side]
        score = difference_score(counts, limit, counts.correction)
    return np.where(np.isinf(bound), np.nan, bound), score_p_value(score, alternative)
