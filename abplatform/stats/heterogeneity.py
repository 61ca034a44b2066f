"""Does an effect differ between groups of units: channels, risk classes, weeks of the first exposure?

Each group gives an estimate of the effect with its own variance. Under the null hypothesis that all groups have the
same effect, the weighted squares of their distances from the common one are Cochran's (1954) Q; with estimated
variances Welch's (1951) form of it keeps its level where groups are small, and is the analysis of variance of his name
where the estimates are means.

That a group's own interval leaves out 0 while another's does not is no evidence of a difference: this test is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from abplatform.stats.effects import same_estimand
from abplatform.stats.results import NotComputable, Objects, named_reasons, reason_code
from abplatform.stats.sufficient import ArmStats
from abplatform.stats.validation import FloatArray, IntArray, instance_of, same_grid


@dataclass(frozen=True, slots=True, eq=False)
class Heterogeneity:
    """How much the effects of groups differ; one entry per cell, the axis of the groups taken away.

    Attributes:
        effect: the common effect, weighted by precision: what there would be if there were only one.
        groups: how many could be compared; the others are too small.
        statistic: Welch's F of ``groups - 1`` and ``freedom`` degrees; 1 is what equal effects give on average.
        freedom: denominator's degrees of freedom.
        p_value: of equal effects.
        share: of the variation between the groups' effects that is not chance, 0 to 1 (Higgins and Thompson's I^2,
            2002).
        not_computable: why there is nothing, or None.
    """

    effect: FloatArray
    groups: IntArray
    statistic: FloatArray
    freedom: FloatArray
    p_value: FloatArray
    share: FloatArray
    not_computable: Objects


@np.errstate(all="ignore")
def check_heterogeneity(treatment: ArmStats, control: ArmStats, *, axis: int = -1) -> Heterogeneity:
    """Test that the absolute effect (treatment less control) is the same in all groups.

    Args:
        treatment, control: statistics of one class, with the groups along ``axis``, broadcast against each other.
            Groups are disjoint; those with an arm of fewer than two units, or without variation in both, are left out.
        axis: of the groups.

    Returns:
        A ``Heterogeneity`` over the rest of the grid; fewer than two groups leave nothing to compare.

    Raises:
        ValueError: naming ``treatment`` or ``control`` of several classes, levels or caps, or without that axis.

    >>> from abplatform.stats import ProportionStats
    >>> treatment, control = ProportionStats([1000, 1000], [150, 100]), ProportionStats([1000, 1000], [100, 100])
    >>> found = check_heterogeneity(treatment, control)
    >>> round(float(found.effect), 4), round(float(found.statistic), 3), round(float(found.p_value), 4)
    (0.0226, 6.289, 0.0121)
    """
    instance_of("control", control, type(treatment), "the arms of treatment")
    same_estimand(treatment, control, "control")
    shape = same_grid(treatment=treatment.estimate, control=control.estimate)
    if not shape:
        raise ValueError("treatment must have the groups along an axis")
    effect, variance = _groups(treatment, control, shape, axis)
    freedom = _freedom(treatment, control, shape, axis)
    fewest = np.moveaxis(np.broadcast_to(np.minimum(treatment.n, control.n), shape), axis, -1)
    usable = np.isfinite(effect) & (variance > 0) & (fewest > 1)
    weight = np.where(usable, 1 / variance, 0.0)
    total = weight.sum(axis=-1, keepdims=True)
    groups = usable.sum(axis=-1)
    common = (weight * np.where(usable, effect, 0.0)).sum(axis=-1, keepdims=True) / total
    q = (weight * np.square(np.where(usable, effect - common, 0.0))).sum(axis=-1)
    lack = np.where(usable, np.square(1 - weight / total) / freedom, 0.0).sum(axis=-1)
    between = groups - 1.0
    statistic = q / between / (1 + 2 * (groups - 2) * lack / (groups**2 - 1))
    within = np.where(lack > 0, (groups**2 - 1) / (3 * lack), np.inf)
    p_value = np.where(
        np.isinf(within), special.chdtrc(between, q), special.fdtrc(between, np.minimum(within, 1e15), statistic)
    )
    enough = groups >= 2
    codes = np.where(enough, 0, reason_code(NotComputable.TOO_FEW_GROUPS))

    def shown(values: FloatArray) -> FloatArray:
        return np.asarray(np.where(enough, values, np.nan))

    return Heterogeneity(
        effect=shown(common[..., 0]),
        groups=np.asarray(groups),
        statistic=shown(statistic),
        freedom=shown(within),
        p_value=shown(p_value),
        share=shown(np.clip(1 - between / q, 0.0, 1.0)),
        not_computable=named_reasons(codes),
    )


def _groups(treatment: ArmStats, control: ArmStats, shape: tuple[int, ...], axis: int) -> tuple[FloatArray, FloatArray]:
    effect = np.broadcast_to(treatment.estimate - control.estimate, shape)
    variance = np.broadcast_to(treatment.variance + control.variance, shape)
    return np.moveaxis(effect, axis, -1), np.moveaxis(variance, axis, -1)


def _freedom(treatment: ArmStats, control: ArmStats, shape: tuple[int, ...], axis: int) -> FloatArray:
    """Satterthwaite's (1946) degrees of freedom of each group's difference; infinite where tests are normal."""
    lack = np.zeros(shape)
    whole = np.square(treatment.variance + control.variance)
    for arm in (treatment, control):
        if arm.freedom is not None:
            lack = lack + np.square(arm.variance) / arm.freedom / whole
    return np.moveaxis(np.where(lack > 0, 1 / lack, np.inf), axis, -1)
