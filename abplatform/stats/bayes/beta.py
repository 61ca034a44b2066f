"""Beta posteriors on the logit scale, where their densities are smooth and log-concave whatever the counts.

A density is written relative to its mode, so that nothing cancels: raw logarithms, and ``betaln``, lose half of
their digits at 1e7 units.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from scipy import special

from abplatform.stats.validation import BoolArray, FloatArray, IntArray

DEVIANCE = 28.0
"""A support ends where the density has fallen by exp(-28) from its peak: beyond lies less than 1e-12."""
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)
_STIRLING_FROM = 10.0
_REACH_STEPS = 12
_DEEP = -0.75


@dataclass(frozen=True, slots=True, eq=False)
class Beta:
    """Independent beta distributions, one per cell along one axis.

    Attributes:
        a, b: both parameters, at least 0.5.
        log_peak: logarithm of the density of the logit at its mode.
        low, high: logits of the support.
    """

    a: FloatArray
    b: FloatArray
    log_peak: FloatArray
    low: FloatArray
    high: FloatArray

    @classmethod
    def of(cls, a: FloatArray, b: FloatArray, *, deviance: float = DEVIANCE) -> Self:
        """Prepare distributions from their parameters."""
        mode = np.log(a) - np.log(b)
        return cls(a, b, _log_peak(a, b), mode - reach(a, b, deviance), mode + reach(b, a, deviance))

    @property
    def size(self) -> FloatArray:
        """Sum of both parameters."""
        return self.a + self.b

    @property
    def mean(self) -> FloatArray:
        """Mean of each distribution; also the rate at the mode of the logit."""
        return self.a / self.size

    @property
    def rest(self) -> FloatArray:
        """1 - mean, with all its digits."""
        return self.b / self.size

    @property
    def sd(self) -> FloatArray:
        """Standard deviation of each distribution."""
        return np.sqrt(self.mean * self.rest / (self.size + 1))

    def take(self, cells: BoolArray | IntArray | slice) -> Beta:
        """Return the distributions of some cells."""
        return Beta(*(getattr(self, field.name)[cells] for field in fields(self)))

    def where(self, mask: BoolArray, other: Beta) -> Beta:
        """Return these distributions where the mask is true, the other's elsewhere."""
        return Beta(*(np.where(mask, getattr(self, field.name), getattr(other, field.name)) for field in fields(self)))

    def mirrored(self) -> Beta:
        """Return the distributions of 1 - X."""
        return Beta(self.b, self.a, self.log_peak, -self.high, -self.low)

    def then(self, other: Beta) -> Beta:
        """Return these cells followed by the other's."""
        pairs = ((getattr(self, field.name), getattr(other, field.name)) for field in fields(self))
        return Beta(*(np.concatenate(pair) for pair in pairs))

    def logit_density(self, x: FloatArray, rest: FloatArray) -> FloatArray:
        """Return the density of the logit at rates ``x`` of shape (cells, nodes); ``rest`` is 1 - x with all digits."""
        mean, other = self.mean[:, None], self.rest[:, None]
        # One deviation for both terms, so that its rounding cancels; from the side that has more digits.
        off = x - mean
        upside = np.flatnonzero(self.mean > 0.5)
        off[upside] = other[upside] - rest[upside]
        log_density = _log_ratio(off / mean, x, mean)
        log_density *= self.a[:, None]
        off /= -other
        fall = _log_ratio(off, rest, other)
        fall *= self.b[:, None]
        log_density += fall
        log_density += self.log_peak[:, None]
        return np.asarray(np.exp(log_density, out=log_density))


def cumulants(of: Beta) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return the first four cumulants of the rate (Johnson, Kotz and Balakrishnan, 1995, ch. 25)."""
    n, variance, lean = of.size, np.square(of.sd), of.rest - of.mean
    third = 2 * lean / (n + 2) * variance
    fourth = 6 * (np.square(lean) / (n + 2) - of.mean * of.rest / (n + 1)) / (n + 3) * variance
    return of.mean, variance, third, fourth


def log_cumulants(of: Beta) -> list[FloatArray]:
    """Return the first four cumulants of the log rate, differences of polygamma functions, to a few percent or better.

    Leading terms of the asymptotic series in ``1 / (z + 1/2)``, after one step of the recurrence from z to z + 1.
    """
    return [at_a - at_n for at_a, at_n in zip(_polygammas(of.a), _polygammas(of.size), strict=True)]


def _polygammas(z: FloatArray) -> list[FloatArray]:
    u, v = 1 / (z + 0.5), 1 / z
    return [
        u**2 / 24 - np.log(u) - v,
        u - u**3 / 12 + v**2,
        u**4 / 4 - u**2 - 2 * v**3,
        2 * u**3 - u**5 + 6 * v**4,
    ]


def _log_ratio(excess: FloatArray, top: FloatArray, bottom: FloatArray) -> FloatArray:
    """Return log(top / bottom) from ``excess = top / bottom - 1``; deep below, from the ratio itself."""
    logs = np.log1p(excess)
    deep = excess < _DEEP
    if deep.any():
        np.log(top / bottom, out=logs, where=deep)
    return np.asarray(logs)


def _log_peak(a: FloatArray, b: FloatArray) -> FloatArray:
    """Log of ``a^a b^b / (n^n B(a, b))``, which is ``sqrt(ab / (2 pi n))`` but for Stirling's remainders."""
    total = a + b
    leading = np.log(a) + np.log(b / total) - np.log(2 * np.pi)
    return np.asarray(leading / 2 - _remainder(a) - _remainder(b) + _remainder(total))


def _remainder(z: FloatArray) -> FloatArray:
    """Log gamma less Stirling's leading terms (Abramowitz and Stegun, 6.1.41), to full precision."""
    small, large = np.minimum(z, _STIRLING_FROM), np.maximum(z, _STIRLING_FROM)
    exact = special.gammaln(small) - (small - 0.5) * np.log(small) + small - 0.5 * np.log(2 * np.pi)
    series = np.polynomial.polynomial.polyval(1 / np.square(large), _STIRLING) / large
    return np.where(z < _STIRLING_FROM, exact, series)


def reach(a: FloatArray, b: FloatArray, deviance: float) -> FloatArray:
    """Return how far left of the mode, in logits, the log density has fallen by ``deviance``.

    Newton on the root of the fall, which is nearly a line; a few percent are close enough.
    """
    target = np.sqrt(2 * deviance)
    mean, sd = a / (a + b), np.sqrt(1 / a + 1 / b)
    far = np.minimum(deviance / a, np.log1p(deviance / b)) + np.minimum(target * sd, np.log1p(target * sd))
    for _ in range(_REACH_STEPS):
        shrunk = np.expm1(-far)
        root = np.sqrt(2 * np.maximum((a + b) * np.log1p(mean * shrunk) + a * far, 1e-300))
        if (np.abs(root - target) < 0.02 * target).all():
            break
        slope = -a * (1 - mean) * shrunk / (1 + mean * shrunk) / root
        far = np.maximum(far + (target - root) / slope, far / 4)
    return np.asarray(far)
