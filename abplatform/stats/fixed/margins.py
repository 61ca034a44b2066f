"""Tests against a margin: not worse by it (non-inferiority), better by it, within it (equivalence)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from abplatform.stats.effects import difference, spread
from abplatform.stats.fixed.alternatives import critical_value, tail_rate
from abplatform.stats.margins import Margin, judge_margin, margin_contrast
from abplatform.stats.reference import lower_tail, welch_freedom
from abplatform.stats.results import NonInferiority, Objects
from abplatform.stats.sufficient import ArmStats
from abplatform.stats.validation import BoolArray, Direction, FloatArray, instance_of, known_direction, same_grid


@np.errstate(all="ignore")
def non_inferiority(
    treatment: ArmStats,
    control: ArmStats,
    *,
    margin: Margin,
    alpha: ArrayLike = 0.05,
    direction: Direction,
) -> NonInferiority:
    """Test, one-sided at ``alpha``, that the treatment is not worse than control by the margin or more.

    Args:
        treatment: statistics of the treatment, any shape.
        control: statistics of the control, of the same class.
        margin: what is still acceptable, absolute or relative.
        alpha: one-sided error rate, below 0.5.
        direction: ``increase`` where more is better (harm is a fall), ``decrease`` where less is.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> from abplatform.stats import Margin, ProportionStats
    >>> complaints = ProportionStats(40_000, 41), ProportionStats(40_000, 40)
    >>> test = non_inferiority(*complaints, margin=Margin(0.001), direction="decrease")
    >>> bool(test.non_inferior), round(float(test.bound), 6)
    (True, 0.000395)
    """
    diff = difference(treatment, control)
    rate = tail_rate(alpha, "greater")
    contrast = margin_contrast(diff, margin, direction)
    same_grid(treatment=contrast.estimate, alpha=rate)
    freedom = welch_freedom(diff, treatment, control, contrast.control_weight)
    return judge_margin(
        diff,
        contrast,
        margin=margin,
        direction=direction,
        # A relative bound is Fieller's at the degrees of freedom of the contrast that decides.
        critical=critical_value(rate, freedom),
        p_value=lower_tail(-contrast.estimate / contrast.standard_error, freedom),
        alpha=rate,
        method=treatment.fixed_method,
        interval_kind="fixed",
    )


@dataclass(frozen=True, slots=True, eq=False)
class Superiority:
    """One-sided test that a treatment is better than control by more than a margin.

    ``bound`` is the one-sided confidence bound on the side of harm, on the scale of the margin; NaN where
    unbounded. ``limit`` is what it has to exclude: the margin where more is better, minus the margin where less is.
    ``superior`` is never true where the bound does not exist.
    """

    method: str
    bound: FloatArray
    limit: FloatArray
    p_value: FloatArray
    superior: BoolArray
    not_computable: Objects


@np.errstate(all="ignore")
def superiority(
    treatment: ArmStats,
    control: ArmStats,
    *,
    margin: Margin,
    alpha: ArrayLike = 0.05,
    direction: Direction,
) -> Superiority:
    """Test, one-sided at ``alpha``, that the treatment is better than control by more than the margin.

    For a change that costs something: an effect above 0 is not enough to pay for it. The statistic is
    ``good (treatment - control) - margin`` in standard errors; a relative margin m makes it
    ``good (treatment - (1 + good m sign(control)) control)``, with the noise of the control in it. A margin of 0 is
    plain one-sided superiority.

    Args:
        treatment: statistics of the treatment, any shape.
        control: statistics of the control, of the same class.
        margin: what the treatment has to exceed, absolute or relative.
        alpha: one-sided error rate, below 0.5.
        direction: ``increase`` where more is better, ``decrease`` where less is.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> from abplatform.stats import Margin, ProportionStats
    >>> arms = ProportionStats(10_000, 1_200), ProportionStats(10_000, 1_000)
    >>> test = superiority(*arms, margin=Margin(0.01, relative=True), direction="increase")
    >>> bool(test.superior), round(float(test.bound), 4), float(test.limit)
    (True, 0.123, 0.01)
    """
    known_direction(direction)
    diff = difference(treatment, control)
    rate = tail_rate(alpha, "greater")
    # This is the margin of the other direction, seen from its other side.
    contrast = margin_contrast(diff, margin, "decrease" if direction == "increase" else "increase")
    same_grid(treatment=contrast.estimate, alpha=rate)
    freedom = welch_freedom(diff, treatment, control, contrast.control_weight)
    judged = judge_margin(
        diff,
        contrast,
        margin=margin,
        direction=direction,
        critical=critical_value(rate, freedom),
        p_value=lower_tail(contrast.estimate / contrast.standard_error, freedom),
        alpha=rate,
        method=treatment.fixed_method,
        interval_kind="fixed",
    )
    return Superiority(
        method=judged.method,
        bound=judged.bound,
        limit=-judged.limit,
        p_value=judged.p_value,
        superior=judged.non_inferior,
        not_computable=judged.not_computable,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Equivalence:
    """Two one-sided tests that the effect lies within its margins.

    ``lower`` and ``upper`` bound the effect on the scale of the margins, each at ``alpha``: together an interval
    at ``1 - 2 alpha``. ``p_value`` is the larger of the two tests' p-values; ``equivalent`` is true where both
    bounds exist and lie between ``lower_limit`` and ``upper_limit``.
    """

    method: str
    lower: FloatArray
    upper: FloatArray
    lower_limit: FloatArray
    upper_limit: FloatArray
    p_value: FloatArray
    equivalent: BoolArray
    not_computable: Objects


def equivalence(
    treatment: ArmStats,
    control: ArmStats,
    *,
    margin: Margin,
    upper_margin: Margin | None = None,
    alpha: ArrayLike = 0.05,
) -> Equivalence:
    """Test that the treatment differs from control by less than the margin, in either direction.

    Two one-sided tests at ``alpha`` each (Schuirmann, 1987): the effect is above ``-margin`` and below
    ``upper_margin``. Both have to reject, so that no correction is due. It is the test for migrations and
    refactorings, where "no significant difference" proves nothing.

    Args:
        treatment: statistics of the treatment, any shape.
        control: statistics of the control, of the same class.
        margin: distance of the lower limit from 0, absolute or relative; of the upper one as well, unless given.
        upper_margin: distance of the upper limit from 0, on the same scale: 20% down and 25% up, say.
        alpha: error rate of each test and of the whole, below 0.5.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> from abplatform.stats import Margin, MeanStats
    >>> arms = MeanStats(4_000, 10.01, 36_000.0), MeanStats(4_000, 10.0, 36_000.0)
    >>> test = equivalence(*arms, margin=Margin(0.02, relative=True))
    >>> bool(test.equivalent), round(float(test.lower), 4), round(float(test.upper), 4)
    (True, -0.01, 0.0121)
    """
    above = margin if upper_margin is None else upper_margin
    for name, given in (("margin", margin), ("upper_margin", above)):
        instance_of(name, given, Margin, "Margin(0.001)")
    if above.relative != margin.relative:
        raise ValueError("upper_margin must be on the scale of margin: both absolute, or both relative")
    low = non_inferiority(treatment, control, margin=margin, alpha=alpha, direction="increase")
    grid = same_grid(margin=low.bound, upper_margin=above.size)
    high = non_inferiority(treatment, control, margin=above, alpha=alpha, direction="decrease")
    low_reason, high_reason = spread(low.not_computable, grid), spread(high.not_computable, grid)
    return Equivalence(
        method=low.method,
        lower=spread(low.bound, grid),
        upper=spread(high.bound, grid),
        lower_limit=spread(low.limit, grid),
        upper_limit=spread(high.limit, grid),
        p_value=np.maximum(low.p_value, high.p_value),
        equivalent=low.non_inferior & high.non_inferior,
        not_computable=np.where(low_reason == None, high_reason, low_reason),  # noqa: E711 - elementwise
    )
