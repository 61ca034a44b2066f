"""Probabilities about two beta distributed rates by fixed quadrature: exact to rounding, nothing random.

Every question is put as an event ``X > g(Y)``, written with one variable p between 0 and 1:

    X = shift + (1 - shift) p,   Y = (1 - gap) p

``gap = shift = d`` asks for ``X - Y > d``, and ``shift = 0, gap = 1 - c`` for ``Y < c X``. On the logit scale of p both
densities are analytic with exponential tails on both sides, whatever the counts and even where one rate is pressed
against the edge of the other, so that Gauss-Legendre sums converge fast. The nodes lie over the narrower of the two;
the distribution function of the wider one comes from its own density at the same nodes by spectral integration, one
product with a fixed matrix, from a start that a second panel adds up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import special

from abplatform.stats.bayes.beta import Beta
from abplatform.stats.validation import BoolArray, FloatArray, IntArray

_FAR = 300.0
BLOCK = 256
"""Cells at a time, so that the arrays of one block stay in the cache."""
_SIZES = ((32.0, 48, 32), (4.0, 80, 64), (1.0, 192, 160), (0.0, 400, 256))
"""From how many successes and failures on (the fewest of both arms, prior included) how many nodes suffice, over the
narrower distribution and beyond it. Chances stay within 1e-10 of those of three times the nodes."""


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """Gauss-Legendre points and weights on [-1, 1], and the matrix from values to running integrals at the points."""

    points: FloatArray
    weights: FloatArray
    running: FloatArray


@cache
def legendre_rule(nodes: int) -> Rule:
    """Return a rule; the running integral is that of the interpolating polynomial, by Legendre's series."""
    points, weights = special.roots_legendre(nodes)
    values = np.polynomial.legendre.legvander(points, nodes)
    degrees = np.arange(1, nodes)
    integrals = (values[:, 2:] - values[:, :-2]) / (2 * degrees + 1)
    integrals = np.column_stack([points + 1, integrals])
    coefficients = values[:, :nodes] * weights[:, None] * (np.arange(nodes) + 0.5)
    return Rule(points, weights, coefficients @ integrals.T)


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """A rate ``x = shift + scale p``, ``1 - x = gap + scale (1 - p)``; the upper one has no gap, the lower no shift."""

    rate: Beta
    shift: FloatArray
    gap: FloatArray
    scale: FloatArray

    def take(self, cells: BoolArray | IntArray | slice) -> Side:
        """Return some cells."""
        return Side(self.rate.take(cells), self.shift[cells], self.gap[cells], self.scale[cells])

    def where(self, mask: BoolArray, other: Side) -> Side:
        """Return these cells where the mask is true, the other's elsewhere."""
        pairs = (self.shift, other.shift), (self.gap, other.gap), (self.scale, other.scale)
        return Side(self.rate.where(mask, other.rate), *(np.where(mask, mine, theirs) for mine, theirs in pairs))

    def span(self) -> tuple[FloatArray, FloatArray]:
        """Return the support on the logit scale of p; very far where it reaches beyond what p can say."""
        low, high = (np.clip(self._logit(end), -_FAR, _FAR) for end in (self.rate.low, self.rate.high))
        return low, high

    def _logit(self, end: FloatArray) -> FloatArray:
        below, above = special.expit(end) - self.shift, special.expit(-end) - self.gap
        # Next to 1, a shift or a gap leaves few digits; then the other distance has more.
        below, above = (
            np.where(self.shift > 0.5, self.scale - above, below),
            np.where(self.gap > 0.5, self.scale - below, above),
        )
        return np.asarray(np.log(np.maximum(below, 0.0)) - np.log(np.maximum(above, 0.0)))

    def own_logit(self, theta: FloatArray) -> FloatArray:
        """Return the logit of the rate where the logit of p is theta."""
        x, rest = self.shift + self.scale * special.expit(theta), self.gap + self.scale * special.expit(-theta)
        return np.asarray(np.log(x) - np.log(rest))

    def density(self, p: FloatArray, q: FloatArray) -> FloatArray:
        """Return the density of the logit of p at p, given q = 1 - p with all its digits."""
        shift, gap, scale = self.shift[:, None], self.gap[:, None], self.scale[:, None]
        x, rest = shift + scale * p, gap + scale * q
        density = self.rate.logit_density(x, rest)
        if scale.min() < 1:
            x *= rest
            density *= scale * (p * q) / x
        return density


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """``upper > image of lower`` per cell along one axis, in the notation of this module."""

    upper: Side
    lower: Side

    @classmethod
    def above(cls, upper: Beta, lower: Beta) -> Event:
        """Return the event that one rate is higher than another."""
        none = np.zeros(upper.a.shape)
        return cls(Side(upper, none, none, none + 1), Side(lower, none, none, none + 1))

    @classmethod
    def beyond(cls, upper: Beta, lower: Beta, size: FloatArray, *, relative: BoolArray) -> Event:
        """Return the event ``upper - lower > size``, at least 0; where relative, of the logarithms."""
        none = np.zeros(upper.a.shape)
        shift = np.where(relative, 0.0, size)
        gap, scale = np.where(relative, -np.expm1(-size), size), np.where(relative, np.exp(-size), 1 - size)
        return cls(Side(upper, shift, none, 1 - shift), Side(lower, none, gap, scale))

    def take(self, cells: BoolArray | IntArray | slice) -> Event:
        """Return the events of some cells."""
        return Event(self.upper.take(cells), self.lower.take(cells))


class Overlap:
    """Both densities of a block of events on shared nodes."""

    def __init__(self, event: Event, main: int, edge: int) -> None:
        (x_low, x_high), (y_low, y_high) = event.upper.span(), event.lower.span()
        below = x_high - x_low <= y_high - y_low
        # Below either's support, or above the upper one's, the event has no mass.
        low = np.where(below, np.maximum(x_low, y_low), y_low)
        high = np.maximum(np.where(below, x_high, np.minimum(x_high, y_high)), low)
        self._rule, self._scale = legendre_rule(main), event.lower.scale
        self._p, self._q, self._half = nodes(low, high, self._rule)
        self._wide = event.lower.where(below, event.upper)
        self._sign = np.where(below, 1.0, -1.0)
        self._narrow_density = event.upper.where(below, event.lower).density(self._p, self._q)
        self._wide_density = self._wide.density(self._p, self._q)
        self._tail = self._wide_tail(np.where(below, low, high), legendre_rule(edge))

    def _wide_tail(self, end: FloatArray, rule: Rule) -> FloatArray:
        """Return the mass of the wider distribution on the event's side of each node: below it, or above.

        Args:
            end: first or last node's side, beyond which the mass is added up.
            rule: for that mass, on the rate's own logit scale, where no event bends its density.
        """
        rate, start = self._wide.rate, self._wide.own_logit(end)
        low, high = np.where(self._sign > 0, rate.low, start), np.where(self._sign > 0, start, rate.high)
        p, q, half = nodes(low, np.minimum(high, rate.high), rule)
        beyond = rate.logit_density(p, q) @ rule.weights * half
        tail = self._wide_density @ self._rule.running
        tail *= (self._sign * self._half)[:, None]
        tail += np.where(self._sign > 0, beyond, beyond + self._sum(self._wide_density))[:, None]
        return np.asarray(tail)

    def _sum(self, values: FloatArray) -> FloatArray:
        return np.asarray(values @ self._rule.weights * self._half)

    def chance(self) -> FloatArray:
        """P(event)."""
        return np.asarray(np.clip(self._sum(self._narrow_density * self._tail), 0.0, 1.0))

    def slope(self, relative: BoolArray) -> FloatArray:
        """Minus the derivative of the chance by d = shift = gap, or, where relative, its derivative by log c."""
        scale = np.where(relative, 0.0, self._scale)[:, None] * self._p
        scale += relative[:, None]
        scale *= self._q
        return self._sum(self._narrow_density * self._wide_density / scale)

    def gain(self) -> FloatArray:
        """E[max(0, X - Y)] of an event without shift and gap.

        Given the narrower rate at x, the mean of what the wider one W falls short of it is
        ``(x - E[W]) P(W < x) + h(x) / n``, with h the density of its logit and n its size.
        """
        rate = self._wide.rate
        gain = (self._p - rate.mean[:, None]) * self._sign[:, None] * self._tail
        gain += self._wide_density / rate.size[:, None]
        return self._sum(self._narrow_density * np.maximum(gain, 0.0, out=gain))


@np.errstate(all="ignore")
def summarise(
    event: Event, ask: Callable[[Overlap, IntArray], tuple[FloatArray, ...]], *, parts: int
) -> list[FloatArray]:
    """Answer per cell, in blocks of the cache's size that need the same number of nodes.

    Args:
        event: events along one axis.
        ask: what to compute of an overlap; also gets the indices of its cells.
        parts: how many arrays ``ask`` returns.
    """
    answers = [np.empty(event.upper.shift.shape) for _ in range(parts)]
    for cells, main, edge in _blocks(event):
        found = ask(Overlap(event.take(cells), main, edge), cells)
        for answer, values in zip(answers, found, strict=True):
            answer[cells] = values
    return answers


def _blocks(event: Event) -> Iterator[tuple[IntArray, int, int]]:
    upper, lower = event.upper.rate, event.lower.rate
    fewest = np.minimum.reduce([upper.a, upper.b, lower.a, lower.b])
    ceiling = np.inf
    for floor, main, edge in _SIZES:
        members = np.flatnonzero((fewest >= floor) & (fewest < ceiling))
        for start in range(0, members.size, BLOCK):
            yield members[start : start + BLOCK], main, edge
        ceiling = floor


def nodes(low: FloatArray, high: FloatArray, rule: Rule) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return p and 1 - p at the nodes between two logits, and half the distance, which is 0 where they are crossed."""
    half = np.maximum(high - low, 0.0) / 2
    odds = half[:, None] * rule.points
    odds += ((low + high) / 2)[:, None]
    np.exp(odds, out=odds)
    q = 1 / (1 + odds)
    odds *= q
    return odds, q, half
