"""Normal-normal inference on the absolute effect, with a proper prior centred at 0.

The difference of two arms is nearly normal around the true effect, whatever the metric; with the prior
``effect ~ normal(0, scale^2)`` the posterior is normal in closed form. The control mean gets a flat prior, so
that the pair (effect, control mean) is jointly normal and relative statements are exact for this model.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from abplatform.stats.effects import (
    Difference,
    Ratio,
    difference,
    relative_interval,
    shape_cautions,
)
from abplatform.stats.margins import Margin
from abplatform.stats.results import Comparison, Interval, RelativeInterval, named_reasons
from abplatform.stats.sufficient import ArmStats
from abplatform.stats.validation import Direction, FloatArray, known_direction, positive, probability


@np.errstate(all="ignore")
def compare(
    treatment: ArmStats,
    control: ArmStats,
    *,
    prior_scale: ArrayLike,
    alpha: ArrayLike = 0.05,
    direction: Direction = "increase",
    margin: Margin | None = None,
) -> Comparison:
    """Return the posterior of the effect of the treatment.

    Args:
        treatment: statistics of the treatment, any shape.
        control: statistics of the control, of the same class.
        prior_scale: standard deviation of the prior of the absolute effect, in the metric's units, above 0
            (history, or the effect that the plan wants to detect). Scalar or one per cell.
        alpha: credible intervals are central, of probability ``1 - alpha``.
        direction: which way is better; decides what "win", "loss" and "worse" mean.
        margin: if given, also the probability that the treatment is worse by more than that.

    Returns:
        A ``Comparison`` of kind ``credible``: the estimate is the posterior mean, ``chance_to_win`` the
        probability that the treatment is better, ``expected_loss`` what shipping it is expected to cost per
        unit (the mean of the harm, 0 where there is none). There is no p-value.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> from abplatform.stats import MeanStats
    >>> arms = MeanStats(400, 10.5, 3600.0), MeanStats(400, 10.0, 3600.0)
    >>> cell = compare(*arms, prior_scale=0.5).cell()
    >>> round(cell.absolute.estimate, 4), round(cell.chance_to_win, 4), round(cell.expected_loss, 5)
    (0.4236, 0.9849, 0.00105)
    """
    known_direction(direction)
    diff = difference(treatment, control)
    z = -special.ndtri(probability("alpha", alpha) / 2)
    joint = _posterior(diff, positive("prior_scale", prior_scale))
    good = 1.0 if direction == "increase" else -1.0
    sd = np.sqrt(joint.top_variance)
    advantage = good * joint.top / sd
    win, loss = special.ndtr(advantage), sd * _normal_loss(advantage)
    worse = np.full(sd.shape, np.nan) if margin is None else _worse_than(joint, margin, good)
    lift = relative_interval(joint, z, reasons=diff.reasons)
    return _answer(diff, joint, z * sd, lift, (win, loss, worse))


def _answer(
    diff: Difference,
    joint: Ratio,
    half: FloatArray,
    lift: RelativeInterval,
    posterior: tuple[FloatArray, FloatArray, FloatArray],
) -> Comparison:
    usable, grid = diff.testable, np.broadcast_shapes(half.shape, *(part.shape for part in posterior))

    def known(values: FloatArray) -> FloatArray:
        return np.broadcast_to(np.where(usable, values, np.nan), grid)

    win, loss, worse = (known(part) for part in posterior)
    lift = RelativeInterval(
        *(np.broadcast_to(getattr(lift, name), grid) for name in RelativeInterval.__dataclass_fields__)
    )
    return Comparison(
        method="normal_normal",
        interval_kind="credible",
        absolute=Interval(known(joint.top), known(joint.top - half), known(joint.top + half)),
        relative=lift,
        p_value=np.full(grid, np.nan),
        chance_to_win=win,
        expected_loss=loss,
        probability_worse_than_margin=worse,
        not_computable=np.broadcast_to(named_reasons(diff.reasons), grid),
        warnings=np.asarray(diff.cautions | shape_cautions(lift.kind)),
    )


@np.errstate(all="ignore")
def _posterior(diff: Difference, scale: FloatArray) -> Ratio:
    """Return posterior moments of (effect, control mean).

    Conjugacy gives the effect ``w d`` with variance ``w se^2``, ``w = scale^2 / (scale^2 + se^2)``. The control
    mean is regressed on the effect with slope ``-Var(control) / se^2``.
    """
    se2 = np.where(diff.testable, diff.variance, np.nan)
    weight = 1 / (1 + se2 / np.square(scale))
    effect, effect_variance = weight * diff.estimate, weight * se2
    slope = -diff.control_variance / se2
    return Ratio(
        top=effect,
        bottom=diff.control + slope * (effect - diff.estimate),
        top_variance=effect_variance,
        # Var(control | effect) is vc - vc^2 / se2, which is vc vt / se2.
        bottom_variance=diff.control_variance * diff.treatment_variance / se2 + np.square(slope) * effect_variance,
        covariance=slope * effect_variance,
    )


def _normal_loss(advantage: FloatArray) -> FloatArray:
    """Return E[max(0, -X)] of X ~ normal(advantage, 1) without cancellation in the far tail.

    ``phi(a) - a Phi(-a)`` loses all digits for a large a; there ``Phi(-a) = erfcx(a / sqrt 2) exp(-a^2 / 2) / 2``
    puts the common factor outside.
    """
    density = np.exp(-np.square(advantage) / 2)
    plain = density / np.sqrt(2 * np.pi) - advantage * special.ndtr(-advantage)
    scaled = 1 / np.sqrt(2 * np.pi) - advantage * special.erfcx(advantage / np.sqrt(2)) / 2
    return np.asarray(np.where(advantage > 0, density * np.maximum(scaled, 0.0), plain))


def _worse_than(joint: Ratio, margin: Margin, good: float) -> FloatArray:
    """Return P(good * effect < -margin), a relative margin being ``size * |control mean|``."""
    if not margin.relative:
        return np.asarray(special.ndtr((-margin.size - good * joint.top) / np.sqrt(joint.top_variance)))
    share = margin.size * np.sign(joint.bottom)
    mean = good * joint.top + share * joint.bottom
    variance = joint.top_variance + 2 * good * share * joint.covariance + np.square(share) * joint.bottom_variance
    return np.asarray(special.ndtr(-mean / np.sqrt(variance)))
