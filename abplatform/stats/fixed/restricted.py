"""Two rates under a null hypothesis about them: restricted maximum likelihood, and the score statistic built on it.

Given a difference d or a ratio R of the two rates, the rates that fit the counts best have closed forms (Miettinen
and Nurminen, 1985, appendix; Farrington and Manning, 1990). The score statistic divides what is observed beyond the
hypothesis by the standard error *under* the hypothesis, hence its good behaviour at small counts and at 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from abplatform.stats.results import Codes, NotComputable, reason_code
from abplatform.stats.sufficient import ProportionStats
from abplatform.stats.validation import FloatArray, instance_of, same_grid


def rates_only(**arms: object) -> None:
    """Refuse arms that are no rates, naming the parameter."""
    for name, arm in arms.items():
        instance_of(name, arm, ProportionStats, "ProportionStats(1000, 120)")


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """Successes and units of two arms over one grid, as floats."""

    hits: FloatArray
    units: FloatArray
    control_hits: FloatArray
    control_units: FloatArray

    @classmethod
    def of(cls, treatment: ProportionStats, control: ProportionStats) -> Self:
        """Set two arms side by side.

        Raises:
            ValueError: naming the arm that is no ``ProportionStats``, or both where their shapes do not fit.
        """
        rates_only(treatment=treatment, control=control)
        shape = same_grid(treatment=treatment.estimate, control=control.estimate)
        fields = (treatment.successes, treatment.n, control.successes, control.n)
        return cls(*(np.broadcast_to(values.astype(np.float64), shape) for values in fields))

    def over(self, shape: tuple[int, ...]) -> Self:
        """Return the same counts over a larger grid."""
        return type(self)(*(np.broadcast_to(getattr(self, name), shape) for name in self.__slots__))

    @property
    @np.errstate(all="ignore")
    def rates(self) -> tuple[FloatArray, FloatArray]:
        """Observed rates of treatment and control; NaN without units."""
        return self.hits / self.units, self.control_hits / self.control_units

    @property
    def reasons(self) -> Codes:
        """Codes: ``NO_UNITS`` where an arm is empty, else 0. Nothing else keeps a score interval from existing."""
        empty = np.minimum(self.units, self.control_units) == 0
        return np.where(empty, reason_code(NotComputable.NO_UNITS), 0).astype(np.int8)

    @property
    def correction(self) -> FloatArray:
        """Miettinen and Nurminen's N / (N - 1), which makes the pooled variance unbiased."""
        total = self.units + self.control_units
        return np.asarray(total / (total - 1))


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """A score statistic in two parts: the contrast that is 0 under the hypothesis, and its variance there."""

    contrast: FloatArray
    variance: FloatArray

    @property
    @np.errstate(all="ignore")
    def z(self) -> FloatArray:
        """The statistic; 0, no evidence, where nothing deviates from the hypothesis."""
        return np.where(self.contrast == 0, 0.0, self.contrast / np.sqrt(self.variance))

    def beyond(self, critical: FloatArray) -> FloatArray:
        """Return how far the squared contrast is beyond the critical value: positive where the test rejects.

        Unlike the statistic itself it stays finite and smooth where the variance vanishes.
        """
        return np.asarray(np.square(self.contrast) - np.square(critical) * self.variance)


@np.errstate(all="ignore")
def difference_score(counts: Counts, gap: FloatArray, correction: FloatArray | float = 1.0) -> Score:
    """Return the score of ``treatment - control - gap`` at a hypothetical difference between -1 and 1."""
    first, second = counts.rates
    rate, control_rate = rates_given_difference(counts, gap)
    variance = rate * (1 - rate) / counts.units + control_rate * (1 - control_rate) / counts.control_units
    return Score(first - second - gap, np.maximum(variance, 0.0) * correction)


@np.errstate(all="ignore")
def ratio_score(counts: Counts, ratio: FloatArray, correction: FloatArray | float = 1.0) -> Score:
    """Return the score of ``treatment - ratio control`` at a hypothetical ratio of at least 0 (Koopman, 1984)."""
    first, second = counts.rates
    rate, control_rate = rates_given_ratio(counts, ratio)
    variance = (
        rate * (1 - rate) / counts.units + np.square(ratio) * control_rate * (1 - control_rate) / counts.control_units
    )
    return Score(first - ratio * second, np.maximum(variance, 0.0) * correction)


@np.errstate(all="ignore")
def rates_given_ratio(counts: Counts, ratio: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the likeliest rates (treatment, control) of which the first is ``ratio`` times the second.

    The smaller root of ``N R p^2 - (R (n_t + x_c) + x_t + n_c) p + x_t + x_c``, written without cancellation: the
    discriminant is ``(A - B)^2 + 4 R y_t y_c`` with A, B the two parts of the middle term and y the failures.
    """
    left = ratio * (counts.units + counts.control_hits)
    right = counts.hits + counts.control_units
    failures = (counts.units - counts.hits) * (counts.control_units - counts.control_hits)
    root = np.sqrt(np.square(left - right) + 4 * ratio * failures)
    control_rate = 2 * (counts.hits + counts.control_hits) / (left + right + root)
    return np.minimum(ratio * control_rate, 1.0), np.minimum(control_rate, 1.0)


@np.errstate(all="ignore")
def rates_given_difference(counts: Counts, gap: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the likeliest rates (treatment, control) that differ by ``gap``.

    The lower of the two rates is the middle root of a cubic. Swapping arms makes the gap positive, swapping
    successes and failures the rates small; then the largest root is well away from the others and comes from the
    trigonometric solution, and dividing by it leaves a quadratic whose positive root keeps all its digits. Rates
    of one in a million would lose them in the usual formula.
    """
    common = (counts.hits + counts.control_hits) * 2 > counts.units + counts.control_units
    hits = np.where(common, counts.units - counts.hits, counts.hits)
    control_hits = np.where(common, counts.control_units - counts.control_hits, counts.control_hits)
    signed = np.where(common, -gap, gap)
    swapped = signed < 0
    distance = np.abs(signed)
    low = _lower_rate(
        Counts(
            np.where(swapped, control_hits, hits),
            np.where(swapped, counts.control_units, counts.units),
            np.where(swapped, hits, control_hits),
            np.where(swapped, counts.units, counts.control_units),
        ),
        distance,
    )
    high = np.minimum(low + distance, 1.0)
    rate, control_rate = np.where(swapped, low, high), np.where(swapped, high, low)
    return np.where(common, 1 - rate, rate), np.where(common, 1 - control_rate, control_rate)


def _lower_rate(counts: Counts, gap: FloatArray) -> FloatArray:
    """Return the control's rate where the treatment's is higher by ``gap``, at least 0."""
    total = counts.units + counts.control_units
    hits = counts.hits + counts.control_hits
    c2 = ((counts.units + 2 * counts.control_units) * gap - total - hits) / total
    c1 = ((counts.control_units * gap - total - 2 * counts.control_hits) * gap + hits) / total
    c0 = counts.control_hits * gap * (1 - gap) / total
    spread = np.sqrt(np.maximum(np.square(c2) / 9 - c1 / 3, 0.0))
    half = c2 * c2 * c2 / 27 - c1 * c2 / 6 + c0 / 2
    angle = np.arccos(np.clip(-half / (spread * spread * spread), -1.0, 1.0))
    # Poles of the likelihood at 1 - gap and 1 enclose the largest root.
    largest = np.clip(2 * spread * np.cos(angle / 3) - c2 / 3, 1 - gap, 1.0)
    product = -c0 / largest
    half_sum = (product - c1) / largest / 2
    root = np.sqrt(np.maximum(np.square(half_sum) - product, 0.0))
    low = np.where(half_sum < 0, root - half_sum, -product / (root + half_sum))
    # Where nothing is left to divide the gap is 1, or nobody did it.
    return np.clip(np.where(np.isnan(low), 0.0, low), 0.0, 1 - gap)
