"""How paths of a test statistic leave their bounds: the recursive integration of group sequential analysis.

The score ``S = Z sqrt(I)`` has independent normal increments of mean ``theta dI`` and variance ``dI``. Its density
among the paths still inside the bounds follows look by look from a one-dimensional integral (Armitage, McPherson
and Rowe, 1969; Jennison and Turnbull, 1999, ch. 19). The integrand is a Gaussian times an analytic function, so that
a Gauss-Legendre rule as dense as its narrowest scale asks converges to rounding error.

One pass serves many drifts: ``dP_theta / dP_0 = exp(theta S_k - theta^2 I_k / 2)`` on the paths up to look k.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from abplatform.stats.validation import FloatArray, IntArray, finite_values, positive

REACH = 9.0
"""Standard deviations after which an unbounded side is cut off; 1e-19 of the paths lie beyond."""
FURTHEST = 38.0
"""No normal density beyond this many standard deviations is above the smallest double."""
LEAST_STEP = 1e-8
"""Looks closer than this share of their information cannot be told apart."""

# Denser rules change nothing above 1e-13. Kernels of more entries than _WHOLE are worth cutting to terms
# that are above exp(-_NEGLIGIBLE) of the largest.
_PANEL_SPAN, _PANEL_NODES, _NODES_PER_SCALE = 30.0, 6, 1.6
_NEGLIGIBLE, _BLOCK, _WHOLE = 60.0, 64, 40_000
# Drifts this far (in standard deviations at the last look) on either side share a pass.
_TILT = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Crossing:
    """Probabilities of leaving through the upper or lower bound for the first time, by look (last axis)."""

    upper: FloatArray
    lower: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Paths:
    """Scores of the paths still inside all bounds so far: nodes and their probabilities, along the last axis.

    ``information`` (the leading axes, one problem each) is that of the last look, ``drift`` what holds for them.
    """

    information: FloatArray
    nodes: FloatArray
    mass: FloatArray
    drift: float = 0.0

    def tilted(self, drift: FloatArray) -> FloatArray:
        """Return the probabilities of the nodes under other drifts, which become the leading axes."""
        extra = (drift - self.drift)[..., None]
        centred = self.nodes - self.drift * self.information
        return self.mass * np.exp(extra * centred - np.square(extra) * (self.information / 2))


def start(shape: tuple[int, ...] = (), drift: float = 0.0) -> Paths:
    """Return the start of all paths, at score 0 and information 0."""
    return Paths(np.zeros(shape), np.zeros((*shape, 1)), np.ones((*shape, 1)), drift)


def advance(
    paths: Paths, information: FloatArray, following: FloatArray, lower: FloatArray, upper: FloatArray
) -> Paths:
    """Move paths to the next look and keep those inside its bounds.

    Args:
        paths: at the look before.
        information: of this look, one per problem.
        following: information of the look after, for which the nodes must be dense enough.
        lower: finite bounds on the z scale.
        upper: finite bounds on the z scale, above ``lower``.
    """
    step, root = information - paths.information, np.sqrt(information)
    half, middle = (upper - lower) / 2 * root, (upper + lower) / 2 * root
    span = 2 * half * np.sqrt(1 / step + 1 / (following - information))
    nodes, weights = _rule(float(np.max(span)))
    targets = middle[..., None] + half[..., None] * nodes
    scale = 1 / np.sqrt(2 * step)[..., None]
    density = _convolve((paths.nodes + paths.drift * step[..., None]) * scale, paths.mass, targets * scale)
    return Paths(information, targets, density * weights * (half[..., None] * scale / np.sqrt(np.pi)), paths.drift)


@np.errstate(divide="ignore")
def _convolve(sources: FloatArray, mass: FloatArray, targets: FloatArray) -> FloatArray:
    """Return the sums of ``mass exp(-(target - source)^2)``; where these are very many, without negligible terms."""
    if sources.size * targets.shape[-1] <= _WHOLE:
        return _gauss_sum(sources, mass, targets)
    parts, weight = [], np.log(mass)
    for begin in range(0, targets.shape[-1], _BLOCK):
        block = targets[..., begin : begin + _BLOCK]
        # What matters at the ends of a block encloses what matters between them.
        terms = weight[..., None, :] - np.square(block[..., [0, -1], None] - sources[..., None, :])
        matters = terms >= terms.max(axis=-1, keepdims=True) - _NEGLIGIBLE
        used = np.flatnonzero(matters.reshape(-1, sources.shape[-1]).any(axis=0))
        cut = slice(used[0], used[-1] + 1)
        parts.append(_gauss_sum(sources[..., cut], mass[..., cut], block))
    return np.concatenate(parts, axis=-1)


def _gauss_sum(sources: FloatArray, mass: FloatArray, targets: FloatArray) -> FloatArray:
    kernel = targets[..., None, :] - sources[..., :, None]
    np.square(kernel, out=kernel)
    np.negative(kernel, out=kernel)
    np.exp(kernel, out=kernel)
    return np.asarray((mass[..., None, :] @ kernel)[..., 0, :])


def _rule(span: float) -> tuple[FloatArray, FloatArray]:
    """Return a rule on (-1, 1) for an interval that is ``span`` scales of its integrand wide."""
    panels = max(int(np.ceil(span / _PANEL_SPAN)), 1)
    return _panels(panels, _PANEL_NODES + int(np.ceil(_NODES_PER_SCALE * span / panels)))


@lru_cache(maxsize=512)
def _panels(panels: int, each: int) -> tuple[FloatArray, FloatArray]:
    nodes, weights = np.polynomial.legendre.leggauss(each)
    centres = (2 * np.arange(panels) + 1) / panels - 1
    return (centres[:, None] + nodes / panels).ravel(), np.tile(weights / panels, panels)


def above(paths: Paths, mass: FloatArray, drift: FloatArray, information: FloatArray, bound: FloatArray) -> FloatArray:
    """Return the probability that paths (their ``mass`` under ``drift``) lie above a z bound at the next look."""
    step = information - paths.information
    ahead = (paths.nodes + (drift * step - bound * np.sqrt(information))[..., None]) / np.sqrt(step)[..., None]
    return np.asarray((mass * special.ndtr(ahead)).sum(axis=-1))


def below(paths: Paths, mass: FloatArray, drift: FloatArray, information: FloatArray, bound: FloatArray) -> FloatArray:
    """Return the probability that paths lie below a z bound at the next look."""
    step = information - paths.information
    ahead = (paths.nodes + (drift * step - bound * np.sqrt(information))[..., None]) / np.sqrt(step)[..., None]
    return np.asarray((mass * special.ndtr(-ahead)).sum(axis=-1))


def crossing_probabilities(
    information: ArrayLike, lower: ArrayLike, upper: ArrayLike, *, drift: ArrayLike = 0.0
) -> Crossing:
    """Return, look by look, the probabilities that a test statistic first leaves its bounds there.

    Assumes that the statistics are jointly normal with ``E[Z_k] = drift sqrt(information_k)`` and
    ``Corr(Z_j, Z_k) = sqrt(information_j / information_k)``, as estimates from accumulating data are (Jennison and
    Turnbull, 1999, eq. 3.1). Accurate to about 1e-12.

    Args:
        information: statistical information at each look (K,), above 0 and increasing; for drift 0 only ratios
            matter, so that fractions do.
        lower: lower bounds on the z scale (K,); ``-inf`` for none.
        upper: upper bounds on the z scale (K,), not below ``lower``; ``inf`` for none.
        drift: effect in units of one over the root of an information unit; any shape.

    Returns:
        A ``Crossing`` whose arrays have the shape of ``drift`` and K at the end. Paths that are still inside at the
        last look are what is missing to a sum of 1.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> five = crossing_probabilities([1, 2, 3, 4, 5], [-1.96] * 5, [1.96] * 5)
    >>> round(float((five.upper + five.lower).sum()), 3)
    0.142
    """
    times, low, high = _checked(information, lower, upper)
    drifts = finite_values("drift", drift)
    exits = np.zeros((2, drifts.size, times.size))
    flat = drifts.ravel()
    for members in _neighbours(flat * np.sqrt(times[-1])):
        exits[:, members] = _exits(times, low, high, flat[members])
    return Crossing(*exits.reshape(2, *drifts.shape, times.size))


def _checked(information: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    times = positive("information", information)
    if times.ndim != 1 or times.size == 0:
        raise ValueError("information must have one axis, the looks")
    if (np.diff(times) < LEAST_STEP * times[1:]).any():
        raise ValueError(f"information must increase by at least {LEAST_STEP:g} of itself from look to look")
    low, high = _bounds("lower", lower, times), _bounds("upper", upper, times)
    if (low > high).any():
        raise ValueError("lower must not exceed upper")
    return times, low, high


def _bounds(name: str, values: ArrayLike, times: FloatArray) -> FloatArray:
    bounds = np.asarray(values, dtype=np.float64)
    if bounds.shape != times.shape:
        raise ValueError(f"{name} must have one bound for each look of information")
    if np.isnan(bounds).any():
        raise ValueError(f"{name} must not be NaN")
    return bounds


def _neighbours(ends: FloatArray) -> Iterator[IntArray]:
    """Group drifts, given as expected z at the last look, that one pass can serve without loss of digits."""
    order = np.argsort(ends, kind="stable")
    while order.size:
        count = int(np.searchsorted(ends[order], ends[order[0]] + 2 * _TILT, side="right"))
        yield order[:count]
        order = order[count:]


def _exits(times: FloatArray, lower: FloatArray, upper: FloatArray, drifts: FloatArray) -> FloatArray:
    """Return first exits (upper and lower, drifts, looks) from one pass at the middle of the drifts."""
    centre, spread = (drifts.max() + drifts.min()) / 2, (drifts.max() - drifts.min()) / 2
    paths = start(drift=float(centre))
    exits = np.empty((2, drifts.size, times.size))
    for look, now in enumerate(times):
        mass = paths.tilted(drifts)
        exits[0, :, look] = above(paths, mass, drifts, now, upper[look])
        exits[1, :, look] = below(paths, mass, drifts, now, lower[look])
        if look + 1 < times.size:
            reach = REACH + spread * np.sqrt(now)
            middle = centre * np.sqrt(now)
            # Bounds may lie wholly outside what the paths reach; then no path is left, or all are.
            low, high = np.clip([lower[look], upper[look]], middle - reach, middle + reach)
            paths = advance(paths, now, times[look + 1], low, high)
    return exits
