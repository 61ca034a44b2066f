"""Empirical Bayes: a prior of effects fitted to past experiments.

Each past estimate is normal around its true effect with a known standard error, and the true effects are normal(mean,
scale^2). Marginally ``estimate_i ~ normal(mean, s_i^2 + scale^2)``, the random-effects model of meta-analysis, whose
estimators are used here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from abplatform.stats.bayes.priors import NormalPrior
from abplatform.stats.validation import FloatArray, finite_values, positive

FitMethod = Literal["ml", "reml", "paule_mandel", "dersimonian_laird"]
_GRID = 400
_REACH = 1e50
"""How many typical errors an estimate may be from 0, so that products of four numbers stay in double precision."""
_LARGEST = 1e150
"""The same in the unit of the estimates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedPrior:
    """The population of true effects as past experiments show it.

    Attributes:
        mean: mean of the true effects.
        scale: their standard deviation; 0 where the estimates spread no more than their errors do.
        mean_standard_error: standard error of ``mean``; 0 where the mean was given.
        experiments: how many were used.
        method: how the scale was fitted.
    """

    mean: float
    scale: float
    mean_standard_error: float
    experiments: int
    method: FitMethod

    def prior(self, *, relative: bool = False) -> NormalPrior:
        """Return the prior for a new experiment, on the scale of the estimates: absolute effects or relative lifts.

        Raises:
            ValueError: naming ``scale`` where it is 0; past effects that do not differ are no proper prior.
        """
        if self.scale == 0:
            raise ValueError("scale is 0: past estimates spread no more than their errors, which is no proper prior")
        return NormalPrior(self.mean, self.scale, relative=relative)

    def weight(self, standard_errors: ArrayLike) -> FloatArray:
        """Return the share of its own estimate that an experiment keeps, ``scale^2 / (scale^2 + s^2)``."""
        return own_share(np.asarray(self.scale), positive("standard_errors", standard_errors))


@np.errstate(all="ignore")
def own_share(scale: FloatArray, standard_errors: FloatArray) -> FloatArray:
    """Return ``scale^2 / (scale^2 + s^2)`` by a quotient, which no square takes out of double precision."""
    return np.asarray(1 / (1 + np.square(standard_errors / scale)))


def fit_prior(
    estimates: ArrayLike, standard_errors: ArrayLike, *, method: FitMethod = "ml", mean: float | None = None
) -> FittedPrior:
    """Fit the normal population of true effects to past experiments.

    Args:
        estimates: effects of past experiments, all absolute in one unit or all relative lifts; along one axis, at least
            two, chosen without regard to their outcome.
        standard_errors: their standard errors, above 0, of the same length.
        method: ``ml`` (marginal maximum likelihood), ``reml`` (restricted; nearly unbiased for few experiments), or
            the moment estimators ``paule_mandel`` (1982) and ``dersimonian_laird`` (1986).
        mean: mean of the true effects, where it is known (0, say, if signs are arbitrary); fitted if absent.

    Returns:
        A ``FittedPrior``. Its scale is 0 at the edge, where the estimates spread no more than their errors do.

    Raises:
        ValueError: naming the argument that does not fit: fewer than two experiments, standard errors of 0, numbers
            beyond 1e50 typical errors.

    >>> fitted = fit_prior([0.4, -1.1, 1.5, 0.2, 2.9, -0.6], [0.5, 0.6, 0.5, 0.4, 0.7, 0.5])
    >>> round(fitted.mean, 3), round(fitted.scale, 3), float(fitted.weight(0.5).round(3))
    (0.51, 1.122, 0.834)
    """
    y, s = finite_values("estimates", estimates), positive("standard_errors", standard_errors)
    if y.ndim != 1 or y.size < 2:
        raise ValueError("estimates must be at least two, along one axis")
    if s.shape != y.shape:
        raise ValueError("standard_errors must be as many as estimates")
    if method not in get_args(FitMethod):
        raise ValueError(f"method must be one of {', '.join(get_args(FitMethod))}, not {method!r}")
    known = None if mean is None else float(finite_values("mean", mean))
    sample, unit = Sample.scaled(y, s, mean=known)
    tau2 = {
        "ml": lambda: _most_likely(sample, restricted=False),
        "reml": lambda: _most_likely(sample, restricted=known is None),
        "paule_mandel": lambda: _paule_mandel(sample),
        "dersimonian_laird": lambda: _dersimonian_laird(sample),
    }[method]()
    weights = sample.weights(tau2)
    error = 0.0 if known is not None else unit / float(np.sqrt(weights.sum()))
    return FittedPrior(
        mean=sample.mean(weights) * unit,
        scale=float(np.sqrt(tau2)) * unit,
        mean_standard_error=error,
        experiments=y.size,
        method=method,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Estimates, their variances, and the mean of the population where it is known."""

    y: FloatArray
    v: FloatArray
    centre: float | None

    @classmethod
    def scaled(cls, y: FloatArray, s: FloatArray, *, mean: float | None) -> tuple[Self, float]:
        """Return a sample in units of a typical error, so that no square leaves double precision, and that unit.

        Raises:
            ValueError: naming what is too far from the typical error.
        """
        unit = float(np.median(np.minimum(s, _LARGEST)))
        limit = min(_REACH * unit, _LARGEST)
        if (s > limit).any() or (s < unit / _REACH).any():
            raise ValueError(
                f"standard_errors must be at most {_LARGEST:g} and within a factor of {_REACH:g} of their median"
            )
        for name, values in (("estimates", y), ("mean", np.asarray(0.0 if mean is None else mean))):
            if (np.abs(values) > limit).any():
                raise ValueError(
                    f"{name} must be at most {limit:g}, {_REACH:g} times the median of standard_errors or {_LARGEST:g}"
                )
        return cls(y / unit, np.square(s / unit), None if mean is None else mean / unit), unit

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the squares around the mean."""
        return self.y.size - (self.centre is None)

    @property
    def widest(self) -> float:
        """A variance above every estimate of tau^2."""
        around = self.y.mean() if self.centre is None else self.centre
        return float(np.square(self.y - around).sum()) + float(self.v.max())

    def weights(self, tau2: float) -> FloatArray:
        """Marginal precisions."""
        return 1 / (self.v + tau2)

    def mean(self, weights: FloatArray) -> float:
        """Weighted mean, or the known one."""
        return float((weights * self.y).sum() / weights.sum()) if self.centre is None else self.centre

    def squares(self, weights: FloatArray) -> float:
        """Weighted squares around the mean; Cochran's Q for the weights of tau^2 = 0."""
        return float((weights * np.square(self.y - self.mean(weights))).sum())

    def log_likelihood(self, tau2: float, *, restricted: bool) -> float:
        """Profile log likelihood, or the restricted one: that averaged over a flat mean; up to a constant."""
        w = self.weights(tau2)
        return float(np.log(w).sum()) / 2 - self.squares(w) / 2 - restricted * float(np.log(w.sum())) / 2


def _most_likely(sample: Sample, *, restricted: bool) -> float:
    """Return the global maximum of the (restricted) profile likelihood: the best of a grid, refined on the score."""

    def score(tau2: float) -> float:
        w = sample.weights(tau2)
        squares = float(np.square(w * (sample.y - sample.mean(w))).sum())
        return squares - float(w.sum()) + restricted * float(np.square(w).sum() / w.sum())

    grid = np.square(np.linspace(0.0, np.sqrt(sample.widest), _GRID))
    best = int(np.argmax([sample.log_likelihood(tau2, restricted=restricted) for tau2 in grid]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, _GRID - 1)]
    return _root(score, float(low), float(high))


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    """Return where a function falls through 0, or the end of the interval beyond which it does."""
    if falling(low) <= 0:
        return low
    if falling(high) >= 0:
        return high
    return float(optimize.brentq(falling, low, high, xtol=1e-15, rtol=1e-14))


def _paule_mandel(sample: Sample) -> float:
    """Solve Q(tau^2) = k - 1, whose left side falls."""
    return _root(lambda tau2: sample.squares(sample.weights(tau2)) - sample.freedom, 0.0, sample.widest)


def _dersimonian_laird(sample: Sample) -> float:
    """Match Cochran's Q to its mean, ``freedom + tau^2 (sum w - sum w^2 / sum w)``."""
    w = sample.weights(0.0)
    slope = w.sum() if sample.centre is not None else w.sum() - np.square(w).sum() / w.sum()
    return max(0.0, float((sample.squares(w) - sample.freedom) / slope))
