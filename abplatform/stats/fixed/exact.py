"""Two rates at small sizes, without approximation."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from abplatform.stats.fixed.alternatives import Alternative, tail_rate
from abplatform.stats.fixed.restricted import Counts
from abplatform.stats.fixed.scores import Bounds, rate_comparison
from abplatform.stats.fixed.unconditional import DIFFERENCE, MAX_OUTCOMES, RATIO, Table, lower_side
from abplatform.stats.results import Comparison
from abplatform.stats.sufficient import ProportionStats
from abplatform.stats.validation import FloatArray, same_grid


def compare_exactly(
    treatment: ProportionStats,
    control: ProportionStats,
    *,
    alpha: ArrayLike = 0.05,
    alternative: Alternative = "two_sided",
) -> Comparison:
    """Compare two rates of small arms by the exact unconditional score test (Chan and Zhang, 1999).

    Its interval covers with at least ``1 - alpha`` at any rates and sizes, while the score interval does so on
    average only. The two-sided p-value is twice the smaller one-sided one. Cells are computed one by one, in a
    tenth of a second at ten units per arm and a second at sixty: for the few that matter.

    Args:
        treatment: units and successes of the treatment, any shape.
        control: units and successes of the control, broadcast against treatment.
        alpha: error rate, scalar or one per cell: between 0 and 1 for two sides, below 0.5 for one.
        alternative: ``two_sided``, ``greater`` (one lower bound) or ``less`` (one upper bound).

    Returns:
        A ``Comparison`` like that of ``compare_rates``. The lift has the exact interval of the ratio.

    Raises:
        ValueError: naming the argument that does not fit; for arms with more than ``MAX_OUTCOMES`` outcomes
            together, ``(n_t + 1) (n_c + 1)``.

    >>> result = compare_exactly(ProportionStats(11, 9), ProportionStats(12, 4)).cell()
    >>> round(result.absolute.lower, 4), round(result.absolute.upper, 4), round(result.p_value, 4)
    (0.0616, 0.7968, 0.024)
    """
    counts = Counts.of(treatment, control)
    tail = tail_rate(alpha, alternative)
    grid = same_grid(treatment=counts.units, alpha=tail)
    counts, tail = counts.over(grid), np.broadcast_to(tail, grid)
    if ((counts.units + 1) * (counts.control_units + 1) > MAX_OUTCOMES).any():
        raise ValueError(f"treatment and control have more than {MAX_OUTCOMES} outcomes: use compare_rates")
    gaps, ratios, p_value = _sides(counts, tail, alternative)
    return rate_comparison(counts, gaps, ratios, alternative=alternative, p_value=p_value, method="exact_unconditional")


def _sides(counts: Counts, tail: FloatArray, alternative: Alternative) -> tuple[Bounds, Bounds, FloatArray]:
    """Return bounds of the difference, bounds of the ratio and p-values."""
    answers = np.full((6, *tail.shape), np.nan)
    for index in np.ndindex(tail.shape):
        fields = (counts.hits, counts.units, counts.control_hits, counts.control_units)
        table, rate = Table(*(int(values[index]) for values in fields)), float(tail[index])
        if min(table.units, table.control_units) == 0:
            continue
        if alternative != "less":
            gap, p_above = lower_side(table, DIFFERENCE, rate)
            answers[(slice(0, 3), *index)] = gap, lower_side(table, RATIO, rate)[0], p_above
        if alternative != "greater":
            gap, p_below = lower_side(table.swapped(), DIFFERENCE, rate)
            ratio = lower_side(table.swapped(), RATIO, rate)[0]
            answers[(slice(3, 6), *index)] = -gap, 1 / ratio if ratio > 0 else np.inf, p_below
    low, low_ratio, above, high, high_ratio, below = answers
    p_value = np.minimum(2 * np.minimum(above, below), 1.0) if alternative == "two_sided" else np.fmax(above, below)
    return (low, high), (low_ratio, high_ratio), p_value
