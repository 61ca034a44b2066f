"""Sample ratio mismatch: do the arms have the sizes that the planned weights ask for?

Two answers. The chi-square test (exact where counts are small) is for one look. The sequential multinomial
test of Lindon and Malek (NeurIPS 2022, "Anytime-valid inference for multinomial count data") may be read at
every look; it is the one that decides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from abplatform.stats.validation import FloatArray, IntArray, positive, same_grid, whole_counts

CONCENTRATION = 10_000.0
"""Prior units behind the planned split. The alternative is then a split within about half a percentage point
of a planned 50%: the size at which mismatches start to matter and are hard to see."""
MIN_EXPECTED = 5.0
"""Below this expected count in an arm the chi-square approximation gives way to the exact test."""
MAX_OUTCOMES = 200_000
"""Exact tests list all outcomes; beyond this many the chi-square test remains."""


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """Result of one check: the one-look p-value and how it was made, and the always-valid one."""

    p_value: float
    method: Literal["exact", "chi_square"]
    sequential_p_value: float


def check_sample_ratio(counts: ArrayLike, weights: ArrayLike, *, previous: float = 1.0) -> SampleRatio:
    """Check the counts of all arms of one experiment (clusters, where clusters were randomised).

    Args:
        counts: units per arm, at least two arms.
        weights: planned relative weights, all above 0, same length.
        previous: smallest ``sequential_p_value`` of earlier looks in this phase; evidence once seen stays.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> check = check_sample_ratio([10_000, 10_300], [1, 1])
    >>> round(check.p_value, 4), check.method, round(check.sequential_p_value, 4)
    (0.0352, 'chi_square', 0.3942)
    """
    if not 0 <= previous <= 1:
        raise ValueError("previous must lie between 0 and 1")
    units, shares = _planned(counts, weights)
    if units.ndim != 1:
        raise ValueError("counts must be one list of arms")
    total = int(units.sum())
    rare = total * shares.min() < MIN_EXPECTED
    exact = bool(rare and math.comb(total + units.size - 1, units.size - 1) <= MAX_OUTCOMES)
    return SampleRatio(
        p_value=exact_p_value(units, shares) if exact else float(chi_square_p_value(units, shares)),
        method="exact" if exact else "chi_square",
        sequential_p_value=min(previous, float(sequential_p_value(units, shares))),
    )


def chi_square_p_value(counts: ArrayLike, weights: ArrayLike) -> FloatArray:
    """Return Pearson's chi-square p-value, arms along the last axis; 1 where there are no units.

    >>> round(float(chi_square_p_value([10_000, 10_300], [1, 1])), 4)
    0.0352
    """
    units, shares = _planned(counts, weights)
    expected = units.sum(axis=-1, keepdims=True) * shares
    statistic = (np.square(units - expected) / np.where(expected > 0, expected, 1.0)).sum(axis=-1)
    return np.asarray(special.chdtrc(units.shape[-1] - 1, statistic))


@np.errstate(all="ignore")
def equal_shares_p_value(part: ArrayLike, total: ArrayLike) -> FloatArray:
    """Return Pearson's chi-square p-value of equal shares ``part / total`` in all arms, arms along the last axis.

    NaN where an arm has no units, or where nobody, or everybody, belongs to the part.

    >>> round(float(equal_shares_p_value([500, 580], [1000, 1000])), 5)
    0.00033
    """
    inside, units = whole_counts("part", part), whole_counts("total", total)
    same_grid(part=inside, total=units)
    if inside.ndim == 0 or (inside > units).any():
        raise ValueError("part must hold one count per arm, none above total")
    share = inside.sum(axis=-1, keepdims=True) / units.sum(axis=-1, keepdims=True)
    statistic = (np.square(inside - units * share) / (units * share * (1 - share))).sum(axis=-1)
    return np.asarray(special.chdtrc(units.shape[-1] - 1, statistic))


def exact_p_value(counts: ArrayLike, weights: ArrayLike) -> float:
    """Return the exact multinomial p-value: the probability of all outcomes no likelier than this one.

    For two arms this is the exact binomial test. The number of outcomes grows fast with units and arms.

    >>> round(exact_p_value([1, 9], [1, 1]), 4)
    0.0215
    """
    units, shares = _planned(counts, weights)
    if units.ndim != 1:
        raise ValueError("counts must be one list of arms")
    observed = _log_probability(units, shares)
    outcomes = _log_probability(_compositions(int(units.sum()), units.size), shares)
    # Equal probabilities may differ in the last digits; ties count as no likelier.
    return float(min(1.0, np.exp(outcomes[outcomes <= observed + 1e-7]).sum()))


def log_bayes_factor(counts: ArrayLike, weights: ArrayLike, *, concentration: float = CONCENTRATION) -> FloatArray:
    """Return the log Bayes factor against the planned split, arms along the last axis.

    Under the alternative the split is Dirichlet(``concentration`` times the planned shares), so that the
    factor is ``B(a + counts) / (B(a) prod shares^counts)``, B being the multivariate beta function. It needs
    the totals only, not the order in which units came, and starts at 0 (no evidence) without units.
    """
    units, shares = _planned(counts, weights)
    prior = positive("concentration", concentration) * shares
    gained = (special.gammaln(prior + units) - special.gammaln(prior)).sum(axis=-1)
    size = special.gammaln(prior.sum(axis=-1)) - special.gammaln(prior.sum(axis=-1) + units.sum(axis=-1))
    return np.asarray(gained + size - (units * np.log(shares)).sum(axis=-1))


def sequential_p_value(counts: ArrayLike, weights: ArrayLike, *, concentration: float = CONCENTRATION) -> FloatArray:
    """Return the always-valid p-value of one look's totals, ``min(1, 1 / Bayes factor)``.

    Under the planned split the probability that it *ever* falls to alpha is at most alpha (Ville). The paper's
    running p-value is the minimum over the looks so far: keep the smaller of this and the last one.

    >>> round(float(sequential_p_value([10_000, 10_300], [1, 1])), 4)
    0.3942
    """
    return np.exp(np.minimum(-log_bayes_factor(counts, weights, concentration=concentration), 0.0))


def _planned(counts: ArrayLike, weights: ArrayLike) -> tuple[IntArray, FloatArray]:
    """Return checked counts and the shares that the weights ask for."""
    units, relative = whole_counts("counts", counts), positive("weights", weights)
    if units.ndim == 0 or units.shape[-1] < 2:
        raise ValueError("counts must hold at least two arms along the last axis")
    if relative.ndim == 0 or relative.shape[-1] != units.shape[-1]:
        raise ValueError("weights must hold one value per arm")
    return units, np.asarray(relative / relative.sum(axis=-1, keepdims=True))


def _log_probability(outcomes: IntArray, shares: FloatArray) -> FloatArray:
    """Return log multinomial probabilities, arms along the last axis."""
    total = special.gammaln(outcomes.sum(axis=-1) + 1.0)
    return np.asarray(total + (outcomes * np.log(shares) - special.gammaln(outcomes + 1.0)).sum(axis=-1))


def _compositions(total: int, arms: int) -> IntArray:
    """List all ways to put ``total`` units into ``arms`` arms, one per row."""
    left = np.array([total])
    columns: list[IntArray] = []
    for _ in range(arms - 1):
        sizes = left + 1
        origin = np.repeat(np.arange(left.size), sizes)
        first = np.repeat(np.cumsum(sizes) - sizes, sizes)
        here = np.arange(origin.size) - first
        columns = [column[origin] for column in columns] + [here]
        left = left[origin] - here
    return np.stack([*columns, left], axis=-1)
