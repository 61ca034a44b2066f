"""How often the exact test of a margin from counts (``sequential.count_non_inferiority``) claims at its planned units.

The counts of both arms are binomial. The e-value falls with the treatment's bad outcomes and rises with the
control's, so that for each control count one critical treatment count decides: halving finds it, and the treatment's
binomial distribution function there, averaged over the control's counts, is the power. Nothing is simulated or normal.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import special

from abplatform.stats.margins import Margin
from abplatform.stats.sequential.count_margins import log_margin_e_value
from abplatform.stats.sufficient import ProportionStats
from abplatform.stats.validation import BoolArray, Direction, FloatArray, IntArray

MOST_COUNTS = 2048
"""Control counts that are followed one by one; beyond (some 16,000 events) they are taken in blocks of equal width."""
_REACH = 8.0
_FEW = 20
_STRIDES = (64, 8, 1)


@dataclass(frozen=True, slots=True)
class CountDesign:
    """An exact test of a margin, read once at its planned units.

    Attributes:
        treatment_units, control_units: whole units of the two arms.
        share: planned share of the treatment among them.
        margin: what is still acceptable.
        relative: whether the margin is a share of the control's rate.
        direction: which way is better.
        alpha: one-sided error rate.
        base_rate: the rate that the bets are centred on, if any.
    """

    treatment_units: int
    control_units: int
    share: float
    margin: float
    relative: bool
    direction: Direction
    alpha: float
    base_rate: float | None

    def bad(self, rate: float) -> float:
        """Return the rate of the outcome nobody wants."""
        return rate if self.direction == "decrease" else 1 - rate

    def claims(self, control: IntArray, treatment: IntArray) -> BoolArray:
        """Return whether the margin is excluded at these counts of bad outcomes; fewer than none would exclude it."""
        inside = np.clip(treatment, 0, self.treatment_units)
        log_e = log_margin_e_value(
            self._arm(self.treatment_units, inside),
            self._arm(self.control_units, control),
            margin=Margin(self.margin, relative=self.relative),
            share=self.share,
            planned_units=self.treatment_units + self.control_units,
            alpha=self.alpha,
            direction=self.direction,
            base_rate=self.base_rate,
        )
        return np.asarray((treatment < 0) | ((log_e > -np.log(self.alpha)) & (treatment == inside)))

    def _arm(self, units: int, bad: IntArray) -> ProportionStats:
        return ProportionStats(units, bad if self.direction == "decrease" else units - bad)


@lru_cache(maxsize=16_384)
def claim_chance(design: CountDesign, treatment_rate: float, control_rate: float) -> float:
    """Return the probability that the test claims at the planned units, at these true rates.

    Exact up to rounding while the control's counts in question are at most ``MOST_COUNTS``; within .002 beyond.
    """
    rate, harmed = design.bad(control_rate), design.bad(treatment_rate)
    edges = _edges(design.control_units, rate)
    fewest, most = _range(design.treatment_units, harmed)
    easiest, hardest = design.claims(np.array([edges[-1] - 1, edges[0]]), np.array([fewest, most]))
    if hardest or not easiest:
        # All counts in question claim, or none does.
        return float(hardest)
    middles = (edges[:-1] + edges[1:] - 1) // 2
    chance = _binomial_cdf(critical_counts(design, middles, (fewest - 1, most)), design.treatment_units, harmed)
    mass = np.diff(_binomial_cdf(edges - 1, design.control_units, rate))
    return float(np.clip(mass @ chance / mass.sum(), 0.0, 1.0))


def critical_counts(design: CountDesign, control: IntArray, within: tuple[int, int]) -> IntArray:
    """Return the most bad outcomes of the treatment that still make the claim.

    Args:
        design: the test.
        control: bad outcomes of the control, increasing.
        within: lowest and highest answer in question, from -1 (not even none is few enough) to all units; what lies
            beyond is answered with the nearer end.
    """
    critical = np.empty(control.shape, dtype=np.int64)
    below, above = np.full(1, within[0]), np.full(1, within[1])
    # From few counts to all: critical counts do not fall, so that neighbours known already enclose the others.
    for stride, finer in itertools.pairwise((*_STRIDES, 1)):
        places = slice(None, None, stride)
        critical[places] = found = _halve(design, control[places], below, above)
        between = np.arange(0, control.size, finer) // stride
        below, above = found[between], np.append(found[1:], within[1])[between]
    return critical


def _halve(design: CountDesign, control: IntArray, below: IntArray, above: IntArray) -> IntArray:
    """Return the critical counts, which lie from ``below`` to ``above``."""
    low, high = np.broadcast_arrays(below, above, control)[:2]
    while (low < high).any():
        middle = (low + high + 1) // 2
        claims = design.claims(control, middle)
        low, high = np.where(claims, middle, low), np.where(claims, high, np.maximum(middle - 1, low))
    return low


def _edges(units: int, rate: float) -> IntArray:
    """Return where blocks of counts begin, and the last ends, that hold all of a binomial that matters."""
    low, high = _range(units, rate)
    width = -(-(high - low + 1) // MOST_COUNTS)
    return np.append(np.arange(low, high + 1, width), high + 1)


def _range(units: int, rate: float) -> tuple[int, int]:
    """Return the counts beyond which a binomial has a negligible part."""
    centre, reach = units * rate, _REACH * np.sqrt(units * rate * (1 - rate)) + _FEW
    return max(int(centre - reach), 0), min(int(centre + reach), units)


def _binomial_cdf(counts: IntArray, units: int, rate: float) -> FloatArray:
    """Return P(at most so many); 0 below none and 1 from all units on."""
    inside = np.clip(counts, 0, units - 1).astype(np.float64)
    cdf = special.betaincc(inside + 1, units - inside, rate)
    return np.where(counts < 0, 0.0, np.where(counts >= units, 1.0, cdf))
