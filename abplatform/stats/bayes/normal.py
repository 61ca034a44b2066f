"""Normal-normal inference on the effect, with a proper prior on the absolute difference or on the relative lift.

The difference of two arms is nearly normal around the true effect, whatever the metric; with a normal prior the
posterior is normal in closed form. The control mean gets a flat prior, so that the pair (effect, control mean) is
jointly normal and relative statements are exact for this model.

A prior on the relative lift, ``lift ~ normal(m, s^2)``, says that ``effect - m |control|`` is normal around 0 with
standard deviation ``s |control|``. Its centre moves with the unknown control mean, exactly; its width is taken at the
estimate of the control mean, which alone is an approximation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from abplatform.stats.bayes.priors import NormalPrior
from abplatform.stats.effects import Difference, difference, spread
from abplatform.stats.lifts import Ratio, relative_interval
from abplatform.stats.margins import Margin
from abplatform.stats.results import Codes, Comparison, Interval, NotComputable, named_reasons, reason_code
from abplatform.stats.sufficient import ArmStats
from abplatform.stats.validation import (
    Direction,
    FloatArray,
    instance_of,
    known_direction,
    positive,
    probability,
    same_grid,
)


@np.errstate(all="ignore")
def compare(
    treatment: ArmStats,
    control: ArmStats,
    *,
    prior: NormalPrior | None = None,
    prior_scale: ArrayLike | None = None,
    alpha: ArrayLike = 0.05,
    direction: Direction = "increase",
    margin: Margin | None = None,
) -> Comparison:
    """Return the posterior of the effect of the treatment (Gelman et al., 2013, ch. 2 and 3).

    Args:
        treatment: statistics of the treatment, any shape.
        control: statistics of the control, of the same class.
        prior: prior of the effect, absolute or relative.
        prior_scale: short for ``NormalPrior(0, prior_scale)``: the standard deviation of the absolute effect, in the
            metric's units, above 0 (history, or the effect that the plan wants to detect). Scalar or one per cell.
        alpha: credible intervals are central, of probability ``1 - alpha``.
        direction: which way is better; decides what "win", "loss" and "worse" mean.
        margin: if given, also the probability that the treatment is worse by more than that.

    Returns:
        A ``Comparison`` of kind ``credible``: the estimate is the posterior mean, ``chance_to_win`` the
        probability that the treatment is better, ``expected_loss`` what shipping it is expected to cost per
        unit (the mean of the harm, 0 where there is none). There is no p-value. With a relative prior, cells whose
        control mean is 0 have no answer at all (``ZERO_CONTROL``): there is nothing to put the prior on.

    Raises:
        ValueError: naming the argument that does not fit; ``prior`` where not exactly one prior is given.

    >>> from abplatform.stats import MeanStats
    >>> arms = MeanStats(400, 10.5, 3600.0), MeanStats(400, 10.0, 3600.0)
    >>> cell = compare(*arms, prior_scale=0.5).cell()
    >>> round(cell.absolute.estimate, 4), round(cell.chance_to_win, 4), round(cell.expected_loss, 5)
    (0.4236, 0.9849, 0.00105)
    >>> believed = compare(*arms, prior=NormalPrior(0.01, 0.02, relative=True)).cell()
    >>> round(believed.absolute.estimate, 4), round(believed.chance_to_win, 4)
    (0.2881, 0.9763)
    """
    known_direction(direction)
    diff = difference(treatment, control)
    z = -special.ndtri(probability("alpha", alpha) / 2)
    belief = _only_prior(prior, prior_scale)
    if margin is not None:
        instance_of("margin", margin, Margin, "Margin(0.001)")
    asked = {"prior" if prior_scale is None else "prior_scale": belief.mean + belief.scale, "alpha": z}
    same_grid(arms=diff.estimate, **asked, margin=np.zeros(()) if margin is None else margin.size)
    reasons = prior_reasons(diff, belief)
    joint = posterior(diff, belief)
    good = 1.0 if direction == "increase" else -1.0
    sd = np.sqrt(joint.top_variance)
    advantage = good * joint.top / sd
    worse = np.asarray(np.nan) if margin is None else _worse_than(joint, margin, good)
    grid = np.broadcast_shapes(np.shape(z), sd.shape, worse.shape)
    lift = relative_interval(joint, z, reasons=spread(reasons, sd.shape)).over(grid)
    half, complete = z * sd, not reasons.any()

    def known(values: FloatArray) -> FloatArray:
        return spread(values if complete else np.where(reasons == 0, values, np.nan), grid)

    return Comparison(
        method="normal_normal",
        interval_kind="credible",
        absolute=Interval(known(joint.top), known(joint.top - half), known(joint.top + half)),
        relative=lift,
        p_value=np.broadcast_to(np.nan, grid),
        chance_to_win=known(special.ndtr(advantage)),
        expected_loss=known(sd * normal_loss(advantage)),
        probability_worse_than_margin=known(worse),
        not_computable=spread(named_reasons(reasons), grid),
        warnings=np.asarray(diff.cautions | lift.cautions),
    )


def _only_prior(prior: NormalPrior | None, prior_scale: ArrayLike | None) -> NormalPrior:
    if prior is not None and prior_scale is None:
        instance_of("prior", prior, NormalPrior, "NormalPrior(0, 0.1)")
        return prior
    if prior is not None or prior_scale is None:
        raise ValueError("prior or prior_scale must be given, and only one of them")
    return NormalPrior(0.0, positive("prior_scale", prior_scale))


def prior_reasons(diff: Difference, prior: NormalPrior) -> Codes:
    """Return why cells have no posterior: those of the difference, and no control mean for a relative prior."""
    if not prior.relative:
        return diff.reasons
    baseless = (diff.reasons == 0) & (diff.control == 0)
    return np.where(baseless, reason_code(NotComputable.ZERO_CONTROL), diff.reasons).astype(np.int8)


def posterior(diff: Difference, prior: NormalPrior) -> Ratio:
    """Return posterior moments of (effect, control mean)."""
    if not prior.relative:
        return _conjugate(diff, np.zeros(()), prior.mean, prior.scale)
    share, scale = prior.mean * np.sign(diff.control), prior.scale * np.abs(diff.control)
    return _conjugate(diff, share, np.zeros(()), scale)


@np.errstate(all="ignore")
def _conjugate(diff: Difference, k: FloatArray, centre: FloatArray, scale: FloatArray) -> Ratio:
    """Update on the contrast ``effect - k control mean``, normal(centre, scale^2) before the data.

    Its estimate has variance ``v``; it becomes ``w estimate + (1 - w) centre`` with variance ``w v``,
    ``w = scale^2 / (scale^2 + v)``. Effect and control mean are regressed on it; what is left of both has the variance
    ``rest``, times k^2 for the effect.
    """
    se2 = diff.known(diff.variance)
    # Covariances of effect and control mean with the contrast, from Cov(effect, control mean) = -control variance.
    with_effect = se2 + k * diff.control_variance
    with_control = -diff.control_variance - k * (diff.control_variance + diff.shared_variance)
    v = with_effect - k * with_control
    weight = 1 / (1 + v / np.square(scale))
    rest = (diff.control_variance * diff.treatment_variance + se2 * diff.shared_variance) / v
    contrast = diff.estimate - k * diff.control
    shrunk = centre + weight * (contrast - centre)
    on_effect, on_control = with_effect / v, with_control / v
    return Ratio(
        # Without the contrast nothing is left of an effect under an absolute prior, exactly.
        top=diff.estimate - on_effect * contrast + on_effect * shrunk,
        bottom=diff.control + on_control * (shrunk - contrast),
        top_variance=np.square(k) * rest + np.square(on_effect) * weight * v,
        bottom_variance=rest + np.square(on_control) * weight * v,
        covariance=k * rest + on_effect * on_control * weight * v,
    )


def normal_loss(advantage: FloatArray) -> FloatArray:
    """Return E[max(0, -X)] of X ~ normal(advantage, 1) without cancellation in the far tail.

    For a = ``|advantage|`` it is ``phi(a) - a Phi(-a)``, which loses all digits for a large a; with
    ``Phi(-a) = erfcx(a / sqrt 2) exp(-a^2 / 2) / 2`` the common factor stands outside. On the other side of 0 the mean
    is added: ``E[max(0, -X)] = E[max(0, X)] - E[X]``.
    """
    size = np.abs(advantage)
    inside = 1 / np.sqrt(2 * np.pi) - size * special.erfcx(size / np.sqrt(2)) / 2
    return np.asarray(np.exp(-np.square(size) / 2) * np.maximum(inside, 0.0) + np.maximum(-advantage, 0.0))


def _worse_than(joint: Ratio, margin: Margin, good: float) -> FloatArray:
    """Return P(good * effect < -margin), a relative margin being ``size * |control mean|``."""
    return np.asarray(special.ndtr(good * standardised(joint, -good * margin.size, relative=margin.relative)))


def standardised(joint: Ratio, at: FloatArray, *, relative: bool) -> FloatArray:
    """Return the normal deviate z with ``Phi(z) = P(effect < at)``, or, where relative, ``P(lift < at)``.

    The lift lies below ``at`` when ``effect - at |control mean|``, a normal variable, is negative.
    """
    if not relative:
        return np.asarray((at - joint.top) / np.sqrt(joint.top_variance))
    share = at * np.sign(joint.bottom)
    variance = joint.top_variance - 2 * share * joint.covariance + np.square(share) * joint.bottom_variance
    return np.asarray((share * joint.bottom - joint.top) / np.sqrt(variance))
