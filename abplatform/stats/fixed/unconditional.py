"""Two rates, exactly: unconditional intervals for difference and ratio at small sizes (Chan and Zhang, 1999).

A hypothetical difference (or ratio) leaves one rate open. The p-value is the largest probability, over that rate,
of outcomes at least as extreme as the observed one by the score statistic; the interval holds the hypotheses that
neither of two one-sided tests at ``alpha / 2`` rejects. All outcomes are enumerated, so that nothing is approximated
but the two searches: over the open rate (a grid, refined twice around its best point) and over the hypothesis
(steps of a hundredth, refined by bisection).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from abplatform.stats.fixed.restricted import Counts, Score, difference_score, ratio_score
from abplatform.stats.validation import FloatArray

MAX_OUTCOMES = 10_000
STEPS = 200
HALVINGS = 20
BESIDE = 1e-6
"""The p-value is taken just beyond the hypothesis too, where ties between outcomes break: else an interval could
begin at 0 and yet not hold it."""
TIE = 1e-9
BATCH = 200_000
"""Outcomes held at once."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A way to compare two rates, as positions from ``start`` to ``end``.

    ``value`` turns positions into differences or ratios, ``score`` tests them, ``rate`` gives the treatment's rate
    that belongs to a control's, and ``highest`` and ``lowest`` the range of the control's.
    """

    start: float
    null: float
    end: float
    value: Callable[[FloatArray], FloatArray]
    score: Callable[[Counts, FloatArray], Score]
    rate: Callable[[FloatArray, FloatArray], FloatArray]
    lowest: Callable[[FloatArray], FloatArray]
    highest: Callable[[FloatArray], FloatArray]


DIFFERENCE = Scale(
    start=-1.0,
    null=0.0,
    end=1.0,
    value=lambda position: position,
    score=difference_score,
    rate=lambda control, gap: np.clip(control + gap, 0.0, 1.0),
    lowest=lambda gap: np.maximum(0.0, -gap),
    highest=lambda gap: np.minimum(1.0, 1.0 - gap),
)
RATIO = Scale(
    start=0.0,
    null=0.5,
    end=1.0 - 1e-9,
    value=lambda position: position / (1 - position),
    score=ratio_score,
    rate=lambda control, ratio: np.minimum(control * ratio, 1.0),
    lowest=np.zeros_like,
    highest=lambda ratio: 1 / np.maximum(ratio, 1.0),
)


@dataclass(frozen=True, slots=True)
class Table:
    """Successes and units of two arms."""

    hits: int
    units: int
    control_hits: int
    control_units: int

    @property
    def outcomes(self) -> int:
        """How many tables these units could have given."""
        return (self.units + 1) * (self.control_units + 1)

    def swapped(self) -> Table:
        """Return the table with the arms in the other order."""
        return Table(self.control_hits, self.control_units, self.hits, self.units)


@np.errstate(all="ignore")
def lower_side(table: Table, scale: Scale, rate: float) -> tuple[float, float]:
    """Return the value that bounds the effect from below, and the p-value of "no effect" against a higher one.

    The p-value of a hypothesis may dip again further out, since the order of outcomes changes with it. The bound is
    the outermost value that is not rejected, and the p-value the largest of all values up to no effect: so the bound
    excludes no effect exactly when the p-value is at most ``rate``.
    """
    positions = np.unique([*np.linspace(scale.start, scale.end, STEPS + 1), scale.null, scale.null + BESIDE])
    parts = np.array_split(positions, min(positions.size, 1 + positions.size * table.outcomes // BATCH))
    tails = np.concatenate([_worst_tails(table, scale, part) for part in parts])
    p_value = tails[positions <= scale.null + BESIDE].max()
    kept = int((tails > rate).argmax())
    bound = scale.start
    if kept > 0:
        bound = _last_rejected(table, scale, rate, rejected=positions[kept - 1], kept=positions[kept])
    return float(scale.value(np.array(bound))), min(float(p_value), 1.0)


def _last_rejected(table: Table, scale: Scale, rate: float, *, rejected: float, kept: float) -> float:
    for _ in range(HALVINGS):
        middle = (rejected + kept) / 2
        if _worst_tails(table, scale, np.array([middle])).item() > rate:
            kept = middle
        else:
            rejected = middle
    return rejected


def _worst_tails(table: Table, scale: Scale, positions: FloatArray) -> FloatArray:
    """Return the largest probabilities, over the open rate, of outcomes at least as extreme as the table's."""
    values = scale.value(positions)[:, None]
    extreme = _extreme_outcomes(table, scale, values[:, :, None])
    low, high = scale.lowest(values), scale.highest(values)
    controls = low + (high - low) * (1 - np.cos(np.linspace(0, np.pi, 129))) / 2
    best = np.zeros(positions.shape)
    for _ in range(3):
        chances = _binomial(table.units, scale.rate(controls, values)) @ extreme
        tails = (chances * _binomial(table.control_units, controls)).sum(axis=-1)
        best = np.maximum(best, tails.max(axis=-1))
        peak = tails.argmax(axis=-1)[:, None]
        around = np.clip(np.concatenate([peak - 1, peak + 1], axis=-1), 0, controls.shape[-1] - 1)
        left, right = np.take_along_axis(controls, around, axis=-1).T
        controls = np.linspace(left, right, 33, axis=-1)
    return best


def _extreme_outcomes(table: Table, scale: Scale, values: FloatArray) -> FloatArray:
    """Return 1 for outcomes whose score is at least the table's, else 0: hypotheses x treatment x control."""
    outcomes, others = np.arange(table.units + 1.0)[:, None], np.arange(table.control_units + 1.0)
    sizes = np.array([table.units, table.control_units], dtype=np.float64)
    z = scale.score(Counts(outcomes, sizes[:1], others, sizes[1:]), values).z
    seen = z[:, table.hits, table.control_hits][:, None, None]
    slack = np.where(np.isfinite(seen), TIE * np.maximum(1.0, np.abs(seen)), 0.0)
    return np.asarray(z >= seen - slack, dtype=np.float64)


def _binomial(units: int, rates: FloatArray) -> FloatArray:
    """Return the probabilities of 0 to ``units`` successes along a new last axis."""
    hits = np.arange(units + 1.0)
    ways = special.gammaln(units + 1.0) - special.gammaln(hits + 1) - special.gammaln(units - hits + 1)
    # A floor keeps 0 log(0) at 0, and any other power of 0 at 1e-300 or less.
    win, lose = (np.log(np.maximum(chance, 1e-300))[..., None] for chance in (rates, 1 - rates))
    return np.asarray(np.exp(ways + hits * win + (units - hits) * lose))
