"""Empirical-Bayes shrinkage of a portfolio of effects, against the winner's curse.

Of many experiments the best looking are shown, and those are the lucky ones: their estimates overstate the effects. The
posterior mean under a prior fitted to the whole portfolio does not, whatever was selected by looking at the estimates
(Efron, 2011; Senn, 2008): it is already conditional on the data that selected it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from abplatform.stats.bayes.history import FittedPrior, Sample, own_share
from abplatform.stats.bayes.priors import NormalPrior
from abplatform.stats.validation import FloatArray, finite_values, instance_of, positive, probability, same_grid

_FEWEST = 3
_GRID = 100
_NARROWINGS = 4
_NODES = 64
_NEGLIGIBLE = 35.0
_MAX_STEPS = 60


@dataclass(frozen=True, slots=True, eq=False)
class Shrunken:
    """Posterior means of effects, credible bounds, posterior standard deviations, weights of the own estimates."""

    estimate: FloatArray
    lower: FloatArray
    upper: FloatArray
    standard_deviation: FloatArray
    weight: FloatArray


@np.errstate(all="ignore")
def shrink_effects(
    estimates: ArrayLike,
    standard_errors: ArrayLike,
    *,
    prior: FittedPrior | NormalPrior | None = None,
    alpha: ArrayLike = 0.05,
) -> Shrunken:
    """Shrink estimates towards the mean of their portfolio, the noisier the more.

    With weight ``w = scale^2 / (scale^2 + s^2)`` the posterior mean is ``w estimate + (1 - w) mean`` and the variance
    ``w s^2``; for a fitted prior plus ``(1 - w)^2`` times the variance of the fitted mean. Without a prior, mean and
    scale of the portfolio have flat priors and are integrated out (Gelman et al., 2013, ch. 5.4), so that intervals
    also hold for small portfolios and for such as show no spread at all. A fitted scale is taken as known instead: its
    intervals are too short unless the portfolio is large.

    Args:
        estimates: effects of *all* experiments of the portfolio, not of the winners, in one unit; any shape with a
            given prior, at least three along one axis without.
        standard_errors: their standard errors, above 0; they broadcast.
        prior: population of the true effects, if it is known or fitted elsewhere.
        alpha: intervals are central, of probability ``1 - alpha``.

    Returns:
        ``Shrunken``, of the estimates' shape. Where a *given* scale is 0 all effects are the fitted mean.

    Raises:
        ValueError: naming the argument that does not fit; ``prior`` where it is relative, since estimates have no
            control mean here: pass relative lifts with a prior in the same unit instead.

    >>> shrunken = shrink_effects([3.0, 0.5, -1.0], [1.0, 1.0, 1.0], prior=NormalPrior(0, 1))
    >>> shrunken.estimate.tolist(), round(float(shrunken.lower[0]), 3)
    ([1.5, 0.25, -0.5], 0.114)
    >>> schools = [28, 8, -3, 7, -1, 1, 18, 12], [15, 10, 16, 11, 9, 11, 10, 18]
    >>> shrink_effects(*schools).estimate.round(1).tolist()
    [11.4, 7.9, 6.1, 7.6, 5.1, 6.1, 10.7, 8.5]
    """
    y, s = finite_values("estimates", estimates), positive("standard_errors", standard_errors)
    tail = probability("alpha", alpha) / 2
    if prior is None:
        shape = same_grid(estimates=y, standard_errors=s)
        same_grid(estimates=y, standard_errors=s, alpha=tail)
        return _integrated(np.broadcast_to(y, shape), np.broadcast_to(s, shape), tail)
    if not isinstance(prior, FittedPrior):
        instance_of("prior", prior, NormalPrior, "NormalPrior(0, 0.1)")
    same_grid(estimates=y, standard_errors=s, alpha=tail, prior=np.asarray(prior.mean + prior.scale))
    if isinstance(prior, NormalPrior) and prior.relative:
        raise ValueError("prior must not be relative: give estimates and prior in one unit")
    uncertainty = prior.mean_standard_error if isinstance(prior, FittedPrior) else 0.0
    weight = own_share(np.asarray(prior.scale), s)
    estimate = weight * y + (1 - weight) * prior.mean
    sd = np.hypot(np.sqrt(weight) * s, (1 - weight) * uncertainty)
    half = -special.ndtri(tail) * sd
    return Shrunken(*np.broadcast_arrays(estimate, estimate - half, estimate + half, sd, weight))


def _integrated(y: FloatArray, s: FloatArray, tail: FloatArray) -> Shrunken:
    """Average over the posterior of mean and scale; given the scale everything is normal."""
    if y.ndim != 1 or y.size < _FEWEST:
        raise ValueError(f"estimates must be at least {_FEWEST}, along one axis, where no prior is given")
    sample, unit = Sample.scaled(y, s, mean=None)
    scales, chances = _scale_posterior(sample)
    tau2 = np.square(scales)
    precision = 1 / (sample.v[:, None] + tau2)
    weight = tau2 * precision
    mean_variance = 1 / precision.sum(axis=0)
    centre = (precision * sample.y[:, None]).sum(axis=0) * mean_variance
    means = weight * sample.y[:, None] + (1 - weight) * centre
    variances = weight * sample.v[:, None] + np.square(1 - weight) * mean_variance
    estimate = means @ chances
    sd = np.sqrt((variances + np.square(means - estimate[:, None])) @ chances)
    bounds = (_mixture_quantile(means, np.sqrt(variances), chances, level) for level in (tail, 1 - tail))
    lower, upper = (unit * bound for bound in bounds)
    return Shrunken(*np.broadcast_arrays(unit * estimate, lower, upper, unit * sd, weight @ chances))


def _scale_posterior(sample: Sample) -> tuple[FloatArray, FloatArray]:
    """Return scales and their probabilities, on ``scale = u / (1 - u)`` in units of a typical error.

    The interval of u that holds the posterior is narrowed by a few grids, since large portfolios leave a small one.
    """

    def log_posterior(u: FloatArray) -> FloatArray:
        likelihood = [sample.log_likelihood(float(tau2), restricted=True) for tau2 in np.square(u / (1 - u))]
        return np.asarray(np.array(likelihood) - 2 * np.log1p(-u))

    low, high = 0.0, 1.0
    for _ in range(_NARROWINGS):
        step = (high - low) / _GRID
        u = np.asarray(low + step * (np.arange(_GRID) + 0.5), dtype=np.float64)
        logs = log_posterior(u)
        held = u[logs >= logs.max() - _NEGLIGIBLE]
        low, high = max(low, float(held[0]) - step), min(high, float(held[-1]) + step)
    points, weights = special.roots_legendre(_NODES)
    u = low + (high - low) * (points + 1) / 2
    logs = log_posterior(u)
    mass = weights * np.exp(logs - logs.max())
    return u / (1 - u), mass / mass.sum()


def _mixture_quantile(means: FloatArray, sds: FloatArray, chances: FloatArray, level: FloatArray) -> FloatArray:
    """Solve for quantiles of normal mixtures, which lie between those of their components, by guarded Newton steps."""
    target = special.ndtri(level)
    ends = means + np.asarray(target)[..., None] * sds
    low, high = ends.min(axis=-1), ends.max(axis=-1)
    x = ends @ chances
    for _ in range(_MAX_STEPS):
        z = (x[..., None] - means) / sds
        reached = special.ndtri(special.ndtr(z) @ chances)
        density = (np.exp(-np.square(z) / 2) / sds) @ chances
        low, high = np.where(reached <= target, x, low), np.where(reached >= target, x, high)
        # On the normal scale the distribution function is nearly a line.
        proposal = x + (target - reached) * np.exp(-np.square(reached) / 2) / density
        following = np.where((proposal >= low) & (proposal <= high), proposal, (low + high) / 2)
        if (np.abs(following - x) <= 1e-10 * sds.max(axis=-1)).all():
            break
        x = following
    return np.asarray(x)
