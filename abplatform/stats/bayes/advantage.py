"""Chance that one beta distributed rate exceeds another, and by how much on average, with full relative precision."""

from __future__ import annotations

import numpy as np
from scipy import special

from abplatform.stats.bayes.beta import Beta
from abplatform.stats.bayes.quadrature import BLOCK, Event, Overlap, legendre_rule, nodes, summarise
from abplatform.stats.validation import FloatArray, IntArray

_APART = 3.0
_APART_NODES = 64


@np.errstate(all="ignore")
def chance_and_loss(better: Beta, lesser: Beta) -> tuple[FloatArray, FloatArray]:
    """Return P(better > lesser) and E[max(0, lesser - better)] per cell along one axis.

    Only the rate with the lower mean is integrated; the other's answers are complements, so that small numbers
    keep their digits in the far tail.
    """
    behind = better.mean <= lesser.mean
    low, high = better.where(behind, lesser), lesser.where(behind, better)
    chance, gain = _upset(low, high)
    # Where the better one is behind, E[max(0, high - low)] is E[max(0, low - high)] + E[high - low].
    return np.where(behind, chance, 1 - chance), np.where(behind, gain + (high.mean - low.mean), gain)


def _upset(low: Beta, high: Beta) -> tuple[FloatArray, FloatArray]:
    """Return P(low > high) and E[max(0, low - high)] of the rate with the lower mean."""
    distance = np.log(high.a) - np.log(high.b) - np.log(low.a) + np.log(low.b)
    apart = np.square(distance) > _APART**2 * (1 / high.a + 1 / high.b + 1 / low.a + 1 / low.b)
    chance, gain = np.empty(apart.shape), np.empty(apart.shape)
    near, far = np.flatnonzero(~apart), np.flatnonzero(apart)

    def ask(overlap: Overlap, _: IntArray) -> tuple[FloatArray, FloatArray]:
        return overlap.chance(), overlap.gain()

    chance[near], gain[near] = summarise(Event.above(low.take(near), high.take(near)), ask, parts=2)
    for start in range(0, far.size, BLOCK):
        cells = far[start : start + BLOCK]
        chance[cells], gain[cells] = _far_upset(low.take(cells), high.take(cells))
    return chance, gain


def _far_upset(low: Beta, high: Beta) -> tuple[FloatArray, FloatArray]:
    """Integrate where two distant densities meet.

    The product of both is that of a beta distribution with added parameters; there the nodes lie. In the far tail
    the distribution function at every node is cheap, and unlike a running sum it keeps its relative precision.
    """
    # The tail is to be the wider one's, since a narrow one would jump; if that is the lower rate, 1 - rate has it the
    # other way round.
    swap = 1 / low.a + 1 / low.b > 1 / high.a + 1 / high.b
    low, high = high.mirrored().where(swap, low), low.mirrored().where(swap, high)
    meeting = Beta.of(low.a + high.a, low.b + high.b)
    x, rest, half = nodes(meeting.low, meeting.high, legendre_rule(_APART_NODES))
    tail = special.betainc(high.a[:, None], high.b[:, None], x)
    # The mean of what the higher rate falls short of x, as in Overlap.gain.
    shortfall = (x - high.mean[:, None]) * tail + high.logit_density(x, rest) / high.size[:, None]
    weight = low.logit_density(x, rest) * legendre_rule(_APART_NODES).weights * half[:, None]
    return np.asarray((tail * weight).sum(axis=-1)), np.asarray((np.maximum(shortfall, 0.0) * weight).sum(axis=-1))
