"""Which of several variants is best: probabilities and expected losses by one-dimensional quadrature.

With independent posteriors of densities f and distribution functions F,

    P(i is best) = integral of f_i prod_{j != i} F_j
    E[max_j theta_j - theta_i] = integral of F_i (1 - prod_{j != i} F_j)

The line is cut where any posterior has fallen by given amounts from its mode, so that each is smooth on every panel
however different their widths are; each panel has the same Gauss-Legendre rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from abplatform.stats.bayes.beta import Beta, reach
from abplatform.stats.bayes.priors import BetaPrior, NormalPrior
from abplatform.stats.bayes.quadrature import legendre_rule
from abplatform.stats.results import Codes, NotComputable, Objects, named_reasons, reason_code
from abplatform.stats.sufficient import ArmStats, ProportionStats
from abplatform.stats.validation import Direction, FloatArray, instance_of, known_direction, same_grid

MOST_VARIANTS = 20
_CUTS = (1.5, 3.0, 4.5, 6.25, 8.5)
"""Where the panels end, in standard deviations, or in roots of twice the fall of the log density."""
_NODES = 12
_BLOCK = 100_000
"""Numbers per array at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """One entry per cell and, along the last axis, per variant; NaN where ``not_computable`` (per cell) says why.

    ``chance_best`` sums to 1; ``expected_loss`` is how much the best variant is expected to beat this one by.
    """

    chance_best: FloatArray
    expected_loss: FloatArray
    not_computable: Objects


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Posteriors on shared nodes.

    Densities, lower and upper tails have the shape (cells, variants, nodes); the weights of integrals over the
    densities' variable, and over the mean itself (``length``), have (cells, 1, nodes).
    """

    density: FloatArray
    lower: FloatArray
    upper: FloatArray
    weight: FloatArray
    length: FloatArray


@np.errstate(all="ignore")
def rank_variants(
    arms: Sequence[ArmStats], *, prior: NormalPrior | BetaPrior, direction: Direction = "increase"
) -> Ranking:
    """Return each variant's probability of being the best of all, and its expected loss against the best.

    Args:
        arms: 2 to 20 variants of the same class, control included; grids broadcast.
        prior: of each variant's mean, independently: ``NormalPrior`` (absolute) for any metric, ``BetaPrior`` for
            ``ProportionStats``.
        direction: whether the best variant has the highest or the lowest mean.

    Returns:
        A ``Ranking``. A cell has no answer where a variant has fewer than two units or, for normal posteriors, no
        variation; with a ``BetaPrior``, where nobody or everybody converted in all variants.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> from abplatform.stats import ProportionStats
    >>> arms = [ProportionStats(1000, successes) for successes in (100, 120, 125)]
    >>> [round(float(chance), 3) for chance in rank_variants(arms, prior=BetaPrior()).chance_best]
    [0.014, 0.361, 0.625]
    """
    known_direction(direction)
    _check_arms(arms, prior)
    rates = isinstance(prior, BetaPrior)
    belief = prior.successes + prior.failures if isinstance(prior, BetaPrior) else prior.mean + prior.scale
    shape = same_grid(**{f"arms[{index}]": arm.estimate for index, arm in enumerate(arms)}, prior=belief)
    reasons = np.broadcast_to(_reasons(arms, rates=rates), shape)
    usable = reasons == 0
    parameters = _beta_parameters(arms, prior) if isinstance(prior, BetaPrior) else _normal_parameters(arms, prior)
    first, second = (
        np.stack([np.broadcast_to(part, shape)[usable] for part in parts], axis=-1) for parts in parameters
    )
    if direction == "decrease":
        first, second = (second, first) if rates else (-first, second)
    chance, loss = (np.full((*shape, len(arms)), np.nan) for _ in range(2))
    chance[usable], loss[usable] = _rank(first, second, rates=rates)
    return Ranking(chance, loss, named_reasons(reasons))


def _check_arms(arms: Sequence[ArmStats], prior: NormalPrior | BetaPrior) -> None:
    if not 2 <= len(arms) <= MOST_VARIANTS:
        raise ValueError(f"arms must be 2 to {MOST_VARIANTS}")
    if any(type(arm) is not type(arms[0]) for arm in arms):
        raise ValueError("arms must be of one class")
    if not isinstance(prior, BetaPrior):
        instance_of("prior", prior, NormalPrior, "NormalPrior(0, 0.1)")
    elif not isinstance(arms[0], ProportionStats):
        raise ValueError("prior must be a NormalPrior unless arms are ProportionStats")
    if isinstance(prior, NormalPrior) and prior.relative:
        raise ValueError("prior must be absolute")


def _reasons(arms: Sequence[ArmStats], *, rates: bool) -> Codes:
    fewest = np.minimum.reduce(np.broadcast_arrays(*(arm.n for arm in arms)))
    causes = [(fewest == 0, NotComputable.NO_UNITS), (fewest == 1, NotComputable.ONE_UNIT)]
    if rates:
        spread = np.add.reduce(np.broadcast_arrays(*(arm.estimate for arm in arms)))
        causes.append(((spread == 0) | (spread == len(arms)), NotComputable.ZERO_VARIANCE))
    else:
        causes += [(np.isnan(arm.estimate), arm.missing) for arm in arms]
        causes += [(arm.variance == 0, NotComputable.ZERO_VARIANCE) for arm in arms]
        causes += [(~np.isfinite(np.square(arm.estimate) + arm.variance), NotComputable.OVERFLOW) for arm in arms]
    masks = np.broadcast_arrays(*(mask for mask, _ in causes))
    return np.select(masks, [reason_code(reason) for _, reason in causes], 0).astype(np.int8)


def _normal_parameters(arms: Sequence[ArmStats], prior: NormalPrior) -> tuple[list[FloatArray], list[FloatArray]]:
    """Return means and standard deviations of the posteriors."""
    weights = [1 / (1 + arm.variance / np.square(prior.scale)) for arm in arms]
    means = [prior.mean + weight * (arm.estimate - prior.mean) for arm, weight in zip(arms, weights, strict=True)]
    return means, [np.sqrt(weight * arm.variance) for arm, weight in zip(arms, weights, strict=True)]


def _beta_parameters(arms: Sequence[ArmStats], prior: BetaPrior) -> tuple[list[FloatArray], list[FloatArray]]:
    counts = [(arm.successes, arm.n - arm.successes) for arm in arms if isinstance(arm, ProportionStats)]
    return [prior.successes + hits for hits, _ in counts], [prior.failures + rest for _, rest in counts]


def _rank(first: FloatArray, second: FloatArray, *, rates: bool) -> tuple[FloatArray, FloatArray]:
    """Rank cells in blocks; parameters have the shape (cells, variants)."""
    cells, variants = first.shape
    block = max(1, _BLOCK // (variants * variants * (2 * len(_CUTS) + 1) * _NODES))
    chance, loss = np.empty(first.shape), np.empty(first.shape)
    for start in range(0, cells, block):
        here = slice(start, start + block)
        curves = _beta_curves(first[here], second[here]) if rates else _normal_curves(first[here], second[here])
        chance[here], loss[here] = _integrate(curves)
    return chance, loss


def _integrate(curves: Curves) -> tuple[FloatArray, FloatArray]:
    logs = np.where(curves.lower < 0.5, np.log(curves.lower), np.log1p(-curves.upper))
    others = np.zeros(logs.shape)
    # Sums over all other variants without subtracting, since a logarithm may be minus infinity.
    others[:, 1:] += np.cumsum(logs[:, :-1], axis=1)
    others[:, :-1] += np.cumsum(logs[:, :0:-1], axis=1)[:, ::-1]
    chance = (curves.density * np.exp(others) * curves.weight).sum(axis=-1)
    loss = (curves.lower * -np.expm1(others) * curves.length).sum(axis=-1)
    return np.clip(chance, 0.0, 1.0), loss


def _panels(cuts: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return nodes, middles and half-lengths, of shapes (cells, panels, nodes) and twice (cells, panels, 1)."""
    ends = np.sort(cuts.reshape(cuts.shape[0], -1), axis=-1)
    half = np.diff(ends)[..., None] / 2
    middle = ends[:, :-1, None] + half
    return middle + half * legendre_rule(_NODES).points, middle, half


def _normal_curves(mean: FloatArray, sd: FloatArray) -> Curves:
    steps = np.array([*(-cut for cut in _CUTS), 0.0, *_CUTS])
    x, _, half = _panels(mean[..., None] + sd[..., None] * steps)
    weight = (half * legendre_rule(_NODES).weights).reshape(x.shape[0], 1, -1)
    z = (x.reshape(x.shape[0], 1, -1) - mean[..., None]) / sd[..., None]
    density = np.exp(-np.square(z) / 2) / (np.sqrt(2 * np.pi) * sd[..., None])
    return Curves(density, special.ndtr(z), special.ndtr(-z), weight, weight)


def _beta_curves(a: FloatArray, b: FloatArray) -> Curves:
    """On the logit scale; tails are running integrals of the densities, panel by panel."""
    cells, variants = a.shape
    mode, rule = np.log(a) - np.log(b), legendre_rule(_NODES)
    falls = [np.square(cut) / 2 for cut in _CUTS]
    cuts = [mode, *(mode - reach(a, b, fall) for fall in falls), *(mode + reach(b, a, fall) for fall in falls)]
    logits, middle, half = _panels(np.stack(cuts, axis=-1))
    x, rest = special.expit(logits), special.expit(-logits)
    flat = (np.repeat(part.reshape(cells, -1), variants, axis=0) for part in (x, rest))
    density = Beta.of(a.ravel(), b.ravel()).logit_density(*flat).reshape(cells, variants, *x.shape[1:])
    mass, running = density @ rule.weights * half[:, None, :, 0], density @ rule.running * half[:, None]
    before = np.zeros(mass.shape)
    before[..., 1:] = np.cumsum(mass[..., :-1], axis=-1)
    after = np.cumsum(mass[..., ::-1], axis=-1)[..., ::-1]
    lower, upper = np.maximum(before[..., None] + running, 0.0), np.maximum(after[..., None] - running, 0.0)
    weight = (half * rule.weights).reshape(cells, 1, -1)
    shape = cells, variants, -1
    length = half * rule.weights * x * rest
    # Between distant supports only the length changes, too fast for one rule; its sum over a panel is known.
    known = -np.expm1(-2 * half) * special.expit(middle + half) * special.expit(half - middle)
    added = length.sum(axis=-1, keepdims=True)
    length *= np.where(added > 0, known / added, 1.0)
    return Curves(
        density.reshape(shape), lower.reshape(shape), upper.reshape(shape), weight, length.reshape(cells, 1, -1)
    )
