"""Central quantiles of the difference and of the ratio of two beta distributed rates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from abplatform.stats.bayes.beta import Beta, cumulants, log_cumulants
from abplatform.stats.bayes.quadrature import Event, Overlap, summarise
from abplatform.stats.validation import BoolArray, FloatArray, IntArray

_MAX_STEPS = 60
_FAR = 600.0
_NEGLIGIBLE = 3e-9
"""Bound of the remainder below; its constant is small, so that intervals hold their probability within 1e-10."""


@dataclass(frozen=True, slots=True, eq=False)
class Contrast:
    """First minus second, or, where relative, the logarithm of first over second; one per cell along one axis."""

    first: Beta
    second: Beta
    relative: BoolArray

    def take(self, cells: BoolArray | IntArray) -> Contrast:
        """Return some cells."""
        return Contrast(self.first.take(cells), self.second.take(cells), self.relative[cells])

    def cdf_and_density(self, at: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return P(contrast <= at) and its derivative."""
        negative = at <= 0
        upper = self.second.where(negative, self.first)
        lower = self.first.where(negative, self.second)
        event = Event.beyond(upper, lower, np.minimum(np.abs(at), _FAR), relative=self.relative)

        def ask(overlap: Overlap, cells: IntArray) -> tuple[FloatArray, FloatArray]:
            return overlap.chance(), overlap.slope(self.relative[cells])

        chance, density = summarise(event, ask, parts=2)
        return np.where(negative, chance, 1 - chance), density

    def cdf(self, at: FloatArray) -> FloatArray:
        """Return P(contrast <= at)."""
        return np.asarray(self.cdf_and_density(at)[0])

    def bracket(self) -> tuple[FloatArray, FloatArray]:
        """Return bounds between which nearly all of the contrast lies."""
        logits = (self.first.low, self.second.high, self.first.high, self.second.low)
        ends = [np.where(self.relative, special.log_expit(logit), special.expit(logit)) for logit in logits]
        return ends[0] - ends[1], ends[2] - ends[3]

    def normal_map(self) -> NormalMap:
        """Return the approximate map from normal deviates to quantiles, by the first four cumulants."""
        first, second = (
            [np.where(self.relative, log, plain) for log, plain in zip(log_cumulants(arm), cumulants(arm), strict=True)]
            for arm in (self.first, self.second)
        )
        mean, variance = first[0] - second[0], first[1] + second[1]
        third, fourth, sd = first[2] - second[2], first[3] + second[3], np.sqrt(variance)
        return NormalMap(mean, sd, third / (variance * sd), fourth / np.square(variance))


@dataclass(frozen=True, slots=True, eq=False)
class NormalMap:
    """Quantiles of a nearly normal distribution as a cubic of normal deviates (Cornish and Fisher, 1938)."""

    mean: FloatArray
    sd: FloatArray
    skewness: FloatArray
    kurtosis: FloatArray

    def take(self, cells: IntArray) -> NormalMap:
        """Return some cells."""
        return NormalMap(self.mean[cells], self.sd[cells], self.skewness[cells], self.kurtosis[cells])

    def quantile(self, z: FloatArray) -> FloatArray:
        """Return the approximate quantile at z."""
        bend = (z**2 - 1) * self.skewness / 6
        bend += (z**3 - 3 * z) * self.kurtosis / 24 - (2 * z**3 - 5 * z) * np.square(self.skewness) / 36
        return np.asarray(self.mean + self.sd * (z + bend))

    def curvature(self, z: FloatArray) -> FloatArray:
        """Return the second derivative of the quantile by z."""
        return np.asarray(self.sd * (self.skewness / 3 + z * (self.kurtosis / 4 - np.square(self.skewness) / 3)))

    def precise(self, step: FloatArray, slope: FloatArray) -> BoolArray:
        """Tell whether a step of this many deviates along slope and curvature leaves no error that matters.

        What is left are the cubic term and the error of the curvature, of third order in the deviation from the normal;
        they count by the slope, which is small against the standard deviation where the support ends.
        """
        shape = np.abs(self.skewness) + np.sqrt(np.abs(self.kurtosis))
        return np.asarray(np.square(step * shape) * (np.abs(step) + shape) * self.sd < _NEGLIGIBLE * slope)


def central_quantiles(contrast: Contrast, level: FloatArray) -> list[FloatArray]:
    """Return the quantiles that leave ``level / 2`` on either side."""
    cells = np.arange(contrast.relative.size)
    both = contrast.take(np.concatenate([cells, cells]))
    tails = np.concatenate([level / 2, 1 - level / 2])
    lower, upper = np.split(quantiles(both, tails), 2)
    return [lower, upper]


@np.errstate(all="ignore")
def quantiles(contrast: Contrast, level: FloatArray) -> FloatArray:
    """Solve ``P(contrast <= x) = level`` per cell.

    Newton's method with a curvature term on the normal scale, where a distribution function is nearly a line. A step
    that leaves the bracket is replaced by a bisection. Most cells need a single evaluation.
    """
    target, shape = special.ndtri(level), contrast.normal_map()
    low, high = contrast.bracket()
    x = shape.quantile(target)
    x = np.where((x > low) & (x < high), x, (low + high) / 2)
    active = np.arange(x.size)
    for _ in range(_MAX_STEPS):
        at = x[active]
        chance, density = contrast.take(active).cdf_and_density(at)
        here = shape.take(active)
        z = special.ndtri(np.clip(chance, 1e-300, 1 - 1e-16))
        step = target[active] - z
        low[active] = np.where(step >= 0, at, low[active])
        high[active] = np.where(step <= 0, at, high[active])
        slope = np.exp(-np.square(z) / 2) / np.sqrt(2 * np.pi) / density
        # The curvature is approximate: it may bend a step, not undo it.
        bend = np.clip(here.curvature(z) * step / 2, -slope / 2, slope / 2)
        proposal = at + step * (slope + bend)
        inside = (proposal >= low[active]) & (proposal <= high[active])
        x[active] = np.where(inside, proposal, (low[active] + high[active]) / 2)
        active = active[~(inside & here.precise(step, slope))]
        if not active.size:
            break
    return x
