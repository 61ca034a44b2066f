"""Two rates at small counts: score tests and the intervals that invert them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from abplatform.stats.fixed.alternatives import Alternative, critical_value, tail_p_value, tail_rate
from abplatform.stats.fixed.restricted import Counts, Score, difference_score, ratio_score
from abplatform.stats.results import (
    Caution,
    Comparison,
    Interval,
    NotComputable,
    RelativeInterval,
    SetKind,
    kind_code,
    named_kinds,
    named_reasons,
    reason_code,
)
from abplatform.stats.roots import find_crossing
from abplatform.stats.sufficient import ProportionStats
from abplatform.stats.validation import FloatArray, same_grid

Bounds = tuple[FloatArray, FloatArray]


@np.errstate(all="ignore")
def compare_rates(
    treatment: ProportionStats,
    control: ProportionStats,
    *,
    alpha: ArrayLike = 0.05,
    alternative: Alternative = "two_sided",
    corrected: bool = True,
) -> Comparison:
    """Compare two rates once by the score test, which holds at small counts and at no events at all.

    The statistic is the observed difference over its standard error at the hypothetical one, the two rates being
    their restricted maximum likelihood estimates (Miettinen and Nurminen, 1985); the interval holds all differences,
    and that of the lift all ratios, that it does not reject. P-value and both intervals are one test, so that they
    exclude 0 together. Unlike ``compare`` it needs no variation: 0 of 10 against 0 of 20 has an interval.

    Args:
        treatment: units and successes of the treatment, any shape.
        control: units and successes of the control, broadcast against treatment.
        alpha: error rate, scalar or one per cell: between 0 and 1 for two sides, below 0.5 for one.
        alternative: ``two_sided``, ``greater`` (one lower bound) or ``less`` (one upper bound).
        corrected: with Miettinen and Nurminen's factor N / (N - 1) in the variance; without it these are the
            intervals of Mee (1984) for the difference and Koopman (1984) for the ratio, and the pooled z test.

    Returns:
        A ``Comparison``. Where nobody in control did it the ratio has no estimate (``ZERO_CONTROL``) and no upper
        bound, but still a lower one (``half_line``); a treatment without successes has the lower lift -1.
        ``FEW_EVENTS`` is not raised: this is the method for few events.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> result = compare_rates(ProportionStats(70, 56), ProportionStats(80, 48)).cell()
    >>> round(result.absolute.lower, 4), round(result.absolute.upper, 4), round(result.p_value, 4)
    (0.0528, 0.3382, 0.0083)
    """
    counts = Counts.of(treatment, control)
    tail = tail_rate(alpha, alternative)
    grid = same_grid(treatment=counts.units, alpha=tail)
    counts = counts.over(grid)
    correction = counts.correction if corrected else 1.0
    critical = np.broadcast_to(critical_value(tail, None), grid)
    return rate_comparison(
        counts,
        difference_bounds(counts, critical, correction),
        ratio_bounds(counts, critical, correction),
        alternative=alternative,
        p_value=score_p_value(difference_score(counts, np.zeros(grid), correction), alternative),
        method="score" if corrected else "score_uncorrected",
    )


def score_p_value(score: Score, alternative: Alternative) -> FloatArray:
    """Return the p-value of a score; 1 where all units did it, or none, which says nothing about a hypothesis."""
    return np.where(score.variance > 0, tail_p_value(score.z, None, alternative), 1.0)


def difference_bounds(counts: Counts, critical: FloatArray, correction: FloatArray | float) -> Bounds:
    """Return both bounds of the difference; NaN where an arm has no units."""
    first, second = counts.rates
    gap = first - second

    def beyond(values: FloatArray) -> FloatArray:
        return difference_score(counts, values, correction).beyond(critical)

    spread = first * (1 - first) / counts.units + second * (1 - second) / counts.control_units
    reach = critical * np.sqrt(spread) + np.square(critical) * (1 / counts.units + 1 / counts.control_units)
    starts = (_rejected_on_the_way(beyond, gap, sign * reach, limit=sign) for sign in (-1.0, 1.0))
    return _known(counts, tuple(find_crossing(beyond, start, gap) for start in starts))


def _rejected_on_the_way(
    beyond: Callable[[FloatArray], FloatArray], gap: FloatArray, reach: FloatArray, *, limit: float
) -> FloatArray:
    """Return differences that the test rejects, or the limit: near the bound, a search is short also at rare events."""
    while True:
        point = np.clip(gap + reach, -1.0, 1.0)
        kept = (beyond(point) <= 0) & (point != limit)
        if not kept.any():
            return point
        reach = np.where(kept, 2 * reach, reach)


def ratio_bounds(counts: Counts, critical: FloatArray, correction: FloatArray | float) -> Bounds:
    """Return both bounds of the ratio; the upper one is infinite where nobody in control did it."""
    first, second = counts.rates
    # Ratios R from 0 to infinity become shares R / (1 + R) from 0 to 1.
    share = first / (first + second)
    centre = np.where(first + second > 0, share, 0.5)

    def odds(values: FloatArray) -> FloatArray:
        return np.asarray(values / (1 - values))

    def beyond(values: FloatArray) -> FloatArray:
        # Scaled by the other share, so that it stays finite where the ratio is not.
        score = ratio_score(counts, odds(values), correction)
        return np.where(values < 1, np.square(1 - values) * score.beyond(critical), np.square(second))

    low = find_crossing(beyond, np.zeros(centre.shape), centre)
    high = np.where(second > 0, find_crossing(beyond, np.ones(centre.shape), centre), 1.0)
    low = np.where(first > 0, low, 0.0)
    return _known(counts, (odds(low), odds(high)))


def _known(counts: Counts, bounds: tuple[FloatArray, ...]) -> Bounds:
    low, high = (np.where(counts.reasons == 0, bound, np.nan) for bound in bounds)
    return low, high


@np.errstate(all="ignore")
def rate_comparison(
    counts: Counts, gaps: Bounds, ratios: Bounds, *, alternative: Alternative, p_value: FloatArray, method: str
) -> Comparison:
    """Assemble the answer for two rates from bounds of their difference and of their ratio."""
    first, second = counts.rates
    missing = np.full(first.shape, np.nan)
    lift = _lift(counts, ratios, alternative)
    return Comparison(
        method=method,
        interval_kind="fixed",
        absolute=Interval(
            estimate=first - second,
            lower=missing if alternative == "less" else gaps[0],
            upper=missing if alternative == "greater" else gaps[1],
        ),
        relative=lift,
        p_value=np.where(counts.reasons == 0, p_value, np.nan),
        chance_to_win=missing,
        expected_loss=missing,
        probability_worse_than_margin=missing,
        not_computable=named_reasons(counts.reasons),
        warnings=lift.cautions,
    )


def _lift(counts: Counts, bounds: Bounds, alternative: Alternative) -> RelativeInterval:
    """Turn bounds of the ratio into the set of lifts, ``ratio - 1``."""
    first, second = counts.rates
    nothing = np.full(first.shape, np.nan)
    lower = nothing if alternative == "less" else bounds[0] - 1
    upper = nothing if alternative == "greater" else np.where(np.isinf(bounds[1]), np.nan, bounds[1] - 1)
    empty, zero = counts.reasons != 0, second == 0
    low, high = np.isfinite(lower), np.isfinite(upper)
    kind = np.select(
        [empty, low & high, low | high],
        [kind_code(each) for each in (SetKind.UNDEFINED, SetKind.BOUNDED, SetKind.HALF_LINE)],
        kind_code(SetKind.WHOLE_LINE),
    )
    codes = np.where(zero & ~empty, reason_code(NotComputable.ZERO_CONTROL), counts.reasons).astype(np.int8)
    # A half line is a warning only where an upper bound was asked for.
    unbounded = ~empty & ~np.isfinite(upper) & (alternative != "greater")
    return RelativeInterval(
        estimate=np.where(zero, np.nan, (first - second) / second),
        lower=lower,
        upper=upper,
        kind=named_kinds(kind.astype(np.int8)),
        excludes_zero=(lower > 0) | (upper < 0),
        not_computable=named_reasons(codes),
        cautions=np.where(unbounded, Caution.RELATIVE_UNBOUNDED.value, 0),
    )
