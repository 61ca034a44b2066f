"""Bets on one unit at a time against "the first arm's rate is higher, by so much or more".

A unit goes to the first arm with its planned share w, whatever its outcome y will be. Let (a, c) be rates of the two
arms on the border of the null hypothesis: ``a = c + x`` for a difference x, ``a = x c`` for a ratio x. With ``r = 1``
for a difference and ``r = x`` for a ratio, a stake of s turns one unit of wealth into

    1 - s (y - a) / (r w)       at a unit of the first arm,
    1 + s (y - c) / (1 - w)     at a unit of the second.

On average that is ``1 - s ((p_first - a) / r - (p_second - c))``: 1 on the border and less inside of the null
hypothesis, whatever the rates are, and even if they drift. The wealth is therefore a non-negative supermartingale
(betting: Waudby-Smith and Ramdas, 2024; two rates: Turner, Ly and Grünwald, 2024). Of the four payoffs of a unit, being
fair on the whole border fixes all but two numbers, s and c: there are no other fair bets.

Wealth depends on four counts only, and its average over several s and c, fixed beforehand, is an e-process as well.
The centre c removes noise, the better, the closer to the true rate. Wealth grows with x; hence one root is the
confidence bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from abplatform.stats.sufficient import ProportionStats
from abplatform.stats.validation import FloatArray

OCTAVES = np.arange(-8.0, 5.0)
"""Stakes are the tuned one times these powers of two."""

OCTAVE_WEIGHTS = 1 / (1 + np.square(OCTAVES)) / np.sum(1 / (1 + np.square(OCTAVES)))

BOLDEST = 0.999
"""No stake risks a larger part of the wealth on one unit."""


@dataclass(frozen=True, slots=True, eq=False)
class Border:
    """The null hypothesis ``p_first >= p_second + x``, or ``p_first >= x p_second`` if ``relative``."""

    x: FloatArray
    relative: bool

    def first_rate(self, centre: FloatArray) -> FloatArray:
        """Return the first arm's rate on the border where the second arm's is ``centre``."""
        return np.asarray(centre * self.x if self.relative else centre + self.x)

    @property
    def nothing(self) -> float:
        """The border of no difference."""
        return 1.0 if self.relative else 0.0

    @property
    def scale(self) -> FloatArray:
        """The factor r above."""
        return self.x if self.relative else np.ones(())


@dataclass(frozen=True, slots=True, eq=False)
class Bets:
    """Stakes and centres with their weights; the first two axes are octaves and centres, the others the grid."""

    stake: FloatArray
    centre: FloatArray
    weight: FloatArray
    share: FloatArray


@np.errstate(all="ignore")
def place_bets(
    border: Border, stake: FloatArray, *, share: FloatArray, centres: FloatArray, weights: FloatArray
) -> Bets:
    """Return bets around a stake, at most as bold as the border that the plan wants to exclude allows.

    Args:
        border: what the plan wants to exclude.
        stake: the one tuned to the plan, for each centre, above 0.
        share: planned share w of the first arm.
        centres: rates of the second arm along the first axis, the grid's axes behind.
        weights: of the centres, adding up to 1 along the first axis, of as many axes.
    """
    worst = np.maximum((1 - border.first_rate(centres)) / (border.scale * share), centres / (1 - share))
    behind = (-1, *[1] * centres.ndim)
    # Harmonic, so that large stakes saturate at the boldest.
    stakes = 1 / (np.exp2(-OCTAVES).reshape(behind) / stake + np.maximum(worst, 0.0) / BOLDEST)
    return Bets(stakes, centres, weights * OCTAVE_WEIGHTS.reshape(behind), share)


@np.errstate(all="ignore")
def second_wealth(bets: Bets, second: ProportionStats) -> FloatArray:
    """Return the log wealth won at the units of the second arm, which does not depend on the border."""
    risk = bets.stake / (1 - bets.share)
    failures = second.n - second.successes
    return np.asarray(
        second.successes * _log_gain(risk * (1 - bets.centre)) + failures * _log_gain(-risk * bets.centre)
    )


@np.errstate(all="ignore")
def log_wealth(bets: Bets, first: ProportionStats, border: Border, second: FloatArray) -> FloatArray:
    """Return the log of the average wealth against ``border``.

    A stake that is too bold for this border is dropped, with its weight: an e-value below what it could be is
    still one, and stakes come back as the border moves up, so that wealth keeps growing with it.

    Args:
        bets: as placed.
        first: counts of the first arm, any shape that broadcasts against the grid.
        border: any, not only the one for which the bets were placed.
        second: from ``second_wealth``.
    """
    risk, rate = bets.stake / (border.scale * bets.share), border.first_rate(bets.centre)
    lost, kept = -risk * (1 - rate), risk * rate
    failures = first.n - first.successes
    log = second + first.successes * _log_gain(lost) + failures * _log_gain(kept)
    log = np.where((lost > -1) & (kept > -1) & (bets.weight > 0), log, -np.inf)
    top = log.max(axis=(0, 1))
    shift = np.where(np.isfinite(top), top, 0.0)
    # Cut off where exp is slow, and nothing against the largest.
    part = np.exp(np.maximum(log - shift, -700.0))
    return np.asarray(shift + np.log(np.sum(bets.weight * part, axis=(0, 1))))


def _log_gain(gain: FloatArray) -> FloatArray:
    """Return ln(1 + gain), 0 where that is no number: such a bet is dropped by the caller."""
    return np.asarray(np.log1p(np.where(gain > -1, gain, 0.0)))
