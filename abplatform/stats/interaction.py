"""Do two experiments that run at once change each other's effect? The interaction of a 2 x 2 table of arms.

Units in both experiments fall into four groups: neither treatment, a's only, b's only, both. Without interaction a's
effect is the same with and without b. "The same" has two meanings, the same difference and the same lift, and an
interaction may exist on one scale only; both are given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from abplatform.stats.effects import same_estimand
from abplatform.stats.fixed.alternatives import critical_value, tail_p_value, tail_rate
from abplatform.stats.multiplicity import benjamini_hochberg
from abplatform.stats.results import Codes, Interval, NotComputable, Objects, named_reasons, reason_code
from abplatform.stats.sufficient import ArmStats
from abplatform.stats.validation import BoolArray, FloatArray, instance_of, probability, same_grid

_SIGNS = np.array([1.0, -1.0, -1.0, 1.0])


class CrossedArms(NamedTuple):
    """Statistics of units by their variants in two experiments, all of one class, broadcast against each other."""

    neither: ArmStats
    first_only: ArmStats
    second_only: ArmStats
    both: ArmStats


@dataclass(frozen=True, slots=True, eq=False)
class Interaction:
    """How the effect of one treatment differs with the other one.

    ``absolute`` is the difference of differences, ``relative`` the ratio of ratios less 1: the factor that the
    treatments' lifts gain or lose together. Each has its own p-value and its own reason to be missing. ``warnings``
    holds the ``Caution`` flags of all four arms.
    """

    absolute: Interval
    relative: Interval
    p_value: FloatArray
    relative_p_value: FloatArray
    not_computable: Objects
    relative_not_computable: Objects
    warnings: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class InteractionScan:
    """Interactions of many pairs, with Benjamini and Hochberg's adjusted p-values and what they find."""

    interaction: Interaction
    adjusted_p_value: FloatArray
    found: BoolArray


@np.errstate(all="ignore")
def check_interaction(arms: CrossedArms, *, alpha: ArrayLike = 0.05) -> Interaction:
    """Test that two treatments do not interact, on the absolute and on the relative scale.

    Absolute: ``both - second_only - first_only + neither``, its variance the sum of the four, against Student's t with
    Satterthwaite's (1946) degrees of freedom or the normal. Relative: the same contrast of the logarithms, each of
    variance ``variance / estimate^2`` by the delta method; its interval is turned back by ``exp``. Needs four
    estimates of one sign, well away from 0. It takes about sixteen times the units of a main effect to find an
    interaction half its size (Gelman, Hill and Vehtari, 2020, ch. 16).

    Args:
        arms: the four groups; those that shared a randomisation count clusters.
        alpha: two-sided error rate, scalar or one per cell.

    Returns:
        An ``Interaction`` over the arms' grid. Cells with an arm of fewer than two units, or without variation in
        all of them, carry a reason; ``MIXED_SIGNS`` where only the ratios are missing.

    Raises:
        ValueError: naming ``arms`` of several classes, levels or caps, or shapes that do not broadcast, or ``alpha``.

    >>> from abplatform.stats import ProportionStats
    >>> sizes = (1_000, 1_200, 1_100, 1_600)
    >>> found = check_interaction(CrossedArms(*(ProportionStats(10_000, hits) for hits in sizes)))
    >>> round(float(found.absolute.estimate), 4), round(float(found.p_value), 8)
    (0.03, 4.51e-06)
    >>> round(float(found.relative.estimate), 4), round(float(found.relative_p_value), 5)
    (0.2121, 0.00041)
    """
    instance_of("arms", arms, CrossedArms, "CrossedArms(neither, first, second, both)")
    tail = tail_rate(alpha, "two_sided")
    shape = _common_grid(arms)
    grid = same_grid(arms=np.empty(shape), alpha=tail)
    mean, variance = (_stacked(arms, name, shape) for name in ("estimate", "variance"))
    freedom = None if arms[0].freedom is None else _stacked(arms, "freedom", shape)
    codes = _reasons(arms, mean, variance, shape)
    absolute, p_value = _contrast(mean, variance, freedom, tail, codes=codes)
    shared = np.broadcast_to(arms[0].shared_variance, shape) * np.square(_summed(1 / mean))
    lift_codes = _ratio_reasons(mean, codes)
    logarithms, relative_p_value = _contrast(
        np.log(np.abs(mean)), variance / np.square(mean), freedom, tail, codes=lift_codes, shared=shared
    )
    return Interaction(
        absolute=absolute,
        relative=Interval(*(np.expm1(part) for part in (logarithms.estimate, logarithms.lower, logarithms.upper))),
        p_value=p_value,
        relative_p_value=relative_p_value,
        not_computable=np.broadcast_to(named_reasons(codes), grid),
        relative_not_computable=np.broadcast_to(named_reasons(lift_codes), grid),
        warnings=np.broadcast_to(_cautions(arms), grid),
    )


def scan_interactions(arms: CrossedArms, *, alpha: float = 0.05, axis: int = -1) -> InteractionScan:
    """Check many pairs of experiments at once and keep the false discovery rate at ``alpha``.

    Pairs lie along ``axis``; their absolute p-values are adjusted by Benjamini and Hochberg (1995), and pairs that
    could not be computed still count. Intervals stay at ``1 - alpha`` each.

    Raises:
        ValueError: as ``check_interaction``.

    >>> from abplatform.stats import ProportionStats
    >>> counts = ([1_000, 990], [1_200, 1_010], [1_100, 1_000], [1_600, 1_025])
    >>> scan = scan_interactions(CrossedArms(*(ProportionStats(10_000, hits) for hits in counts)))
    >>> scan.found.tolist(), [round(p, 5) for p in scan.adjusted_p_value.tolist()]
    ([True, False], [1e-05, 0.93377])
    """
    rate = probability("alpha", alpha)
    interaction = check_interaction(arms, alpha=alpha)
    if interaction.p_value.ndim == 0:
        raise ValueError("arms must have the pairs along an axis")
    adjusted = benjamini_hochberg(interaction.p_value, axis=axis)
    return InteractionScan(interaction, adjusted, adjusted < rate)


def _common_grid(arms: CrossedArms) -> tuple[int, ...]:
    """Return the shape of arms that estimate one thing, or refuse them."""
    if len({type(arm) for arm in arms}) > 1 or not hasattr(arms.neither, "estimand"):
        raise ValueError("arms must be statistics of one class, such as MeanStats.of(values)")
    shape = same_grid(
        **{
            f"arms.{arm_name}.{name}": getattr(arm, name)
            for arm_name, arm in zip(arms._fields, arms, strict=True)
            for name in ("n", "estimate", "variance")
        }
    )
    for arm in arms[1:]:
        same_estimand(arm, arms.neither, "arms")
    return shape


def _cautions(arms: CrossedArms) -> NDArray[np.int64]:
    first, second, third, fourth = (np.asarray(arm.cautions, dtype=np.int64) for arm in arms)
    return np.asarray(first | second | third | fourth)


def _stacked(arms: CrossedArms, name: str, shape: tuple[int, ...]) -> FloatArray:
    return np.stack([np.broadcast_to(np.asarray(getattr(arm, name), dtype=np.float64), shape) for arm in arms], axis=-1)


def _summed(parts: FloatArray) -> FloatArray:
    return np.asarray((parts * _SIGNS).sum(axis=-1))


def _contrast(
    parts: FloatArray,
    variances: FloatArray,
    freedom: FloatArray | None,
    tail: FloatArray,
    *,
    codes: Codes,
    shared: FloatArray | float = 0.0,
) -> tuple[Interval, FloatArray]:
    """Return the signed sum of four independent parts with its interval and p-value."""
    own = variances.sum(axis=-1)
    degrees = None if freedom is None else 1 / (np.square(variances / own[..., None]) / freedom).sum(axis=-1)
    error = np.where(codes == 0, np.sqrt(own + shared), np.nan)
    estimate = _summed(parts)
    half = critical_value(tail, degrees) * error
    p_value = tail_p_value(estimate / error, degrees, "two_sided")
    seen = np.broadcast_to(np.where(codes == 0, estimate, np.nan), half.shape)
    return Interval(seen, estimate - half, estimate + half), np.broadcast_to(p_value, half.shape)


def _reasons(arms: CrossedArms, mean: FloatArray, variance: FloatArray, shape: tuple[int, ...]) -> Codes:
    fewest = _stacked(arms, "n", shape).min(axis=-1)
    total = variance.sum(axis=-1)
    causes = [
        (fewest == 0, NotComputable.NO_UNITS),
        (fewest == 1, NotComputable.ONE_UNIT),
        (np.isnan(mean).any(axis=-1), arms[0].missing),
        (total == 0, NotComputable.ZERO_VARIANCE),
        (~np.isfinite(np.square(mean).sum(axis=-1) * total), NotComputable.OVERFLOW),
    ]
    codes = np.select([mask for mask, _ in causes], [reason_code(reason) for _, reason in causes], 0)
    return codes.astype(np.int8)


def _ratio_reasons(mean: FloatArray, codes: Codes) -> Codes:
    """Return the codes of the absolute test, or of means that are not all on one side of 0."""
    one_sign = (mean > 0).all(axis=-1) | (mean < 0).all(axis=-1)
    return np.where((codes == 0) & ~one_sign, reason_code(NotComputable.MIXED_SIGNS), codes).astype(np.int8)
