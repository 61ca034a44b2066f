"""Post-stratification: arms compared within strata known before the exposure, and averaged over these.

Both arms take the strata's shares from all units together (Miratrix, Sekhon and Yu, 2013):

    estimate_a = sum_s p_s mean_as,    p_s = (n_ts + n_cs) / N.

Given the shares its variance is ``sum_s p_s^2 var(mean_as)``. The shares are those of a sample of units, which
adds ``sum_s p_s (m_as - m_a)^2 / N`` to each arm; what both arms share of that cancels in the difference, and
``sum_s p_s (effect_s - effect)^2 / N`` remains. This is Lin's (2013) regression on indicators of the strata.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from abplatform.stats.adjust.adjusted import Adjusted, Common, finite_or_nan, own_and_shared
from abplatform.stats.adjust.collapse import FEWEST, collapsed, merged, strata_last
from abplatform.stats.results import Caution
from abplatform.stats.sufficient.centred import CONSTANT
from abplatform.stats.sufficient.estimates import EstimateStats
from abplatform.stats.sufficient.means import MeanStats
from abplatform.stats.sufficient.proportions import ProportionStats
from abplatform.stats.sufficient.ratios import RatioStats
from abplatform.stats.validation import BoolArray, FloatArray, IntArray, same_grid

StratifiedStats = MeanStats | ProportionStats | RatioStats | EstimateStats


@dataclass(frozen=True, slots=True, eq=False)
class _Arm:
    """One arm: estimates per stratum on the last axis, and what holds for the arm as a whole.

    ``level`` is added to the average over strata, ``plain_variance`` is that of the arm without strata.
    """

    n: IntArray
    estimate: FloatArray
    variance: FloatArray
    shared: FloatArray
    freedom: FloatArray | None
    level: FloatArray
    plain_variance: FloatArray
    cautions: NDArray[np.int64] | int


@np.errstate(all="ignore")
def post_stratify(treatment: StratifiedStats, control: StratifiedStats, *, axis: int = -1) -> Adjusted:
    """Average the strata's estimates with the same shares in both arms.

    Means and rates are averaged. A ratio keeps its estimand, the ratio of the totals: numerator and denominator
    are averaged, the variance is that of the linearised outcome. Finished estimates (arms adjusted by ``cuped``
    within strata, say) are averaged as they are.

    Small strata (fewer than two units in an arm, or fewer than five expected in the smaller arm) are merged into
    one, with the next smallest if that is not enough, so that no unit is lost and the estimand stays. Finished
    estimates cannot be merged: without two units in each arm a stratum is left out with ``STRATUM_DROPPED``,
    and the estimand is then the effect in the strata that remain.

    Assumes strata that the treatment cannot have changed. Choose it for a few strata that predict the outcome;
    many strata with few units each cost precision instead (Miratrix, Sekhon and Yu, 2013).

    Args:
        treatment: statistics of the treatment by stratum; means, rates, ratios or finished estimates.
        control: those of the control, of the same class, broadcast against treatment.
        axis: the axis of the strata, in the shape of both arms together.

    Returns:
        ``Adjusted``, which unpacks into two ``EstimateStats`` without that axis. ``variance_ratio`` is NaN for
        finished estimates.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> from abplatform.stats import MeanStats, fixed
    >>> treatment = MeanStats([60, 40], [10.5, 30.5], [59.0, 39.0])
    >>> control = MeanStats([40, 60], [10.0, 30.0], [39.0, 59.0])
    >>> adjusted = post_stratify(treatment, control)
    >>> round(float(fixed.compare(*adjusted).absolute.estimate), 6)
    0.5
    >>> round(float(adjusted.variance_ratio), 4)
    0.0106
    """
    if not isinstance(treatment, StratifiedStats):
        raise ValueError(
            "treatment must be means, rates, ratios or finished estimates: one object with the strata along an axis, "
            f"such as MeanStats([60, 40], [10.5, 30.5], [59.0, 39.0]), not {type(treatment).__name__}"
        )
    if type(treatment) is not type(control):
        raise ValueError(f"control must be {type(treatment).__name__} like treatment")
    shape = same_grid(treatment=_grid(treatment), control=_grid(control))
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"axis must be one of the {len(shape)} axes of the statistics")
    if shape[axis] == 0:
        raise ValueError("axis must have at least one stratum")
    if isinstance(treatment, EstimateStats) or isinstance(control, EstimateStats):
        finished = _finished(treatment, shape, axis), _finished(control, shape, axis)
        return _averaged(*finished, _usable(finished[0]) & _usable(finished[1]))
    whole = [strata_last(_as_mean(arm), shape, axis) for arm in (treatment, control)]
    parts = collapsed(*whole)
    units = parts[0].n + parts[1].n
    arms = [_additive(part, merged(arm), _shares(units)) for part, arm in zip(parts, whole, strict=True)]
    return _averaged(arms[0], arms[1], units > 0)


def _grid(arm: StratifiedStats) -> FloatArray:
    return np.asarray(arm.n + arm.estimate + arm.variance)


def _as_mean(arm: MeanStats | ProportionStats | RatioStats) -> MeanStats | RatioStats:
    """Rates are means of zeros and ones, whose variance has the divisor n - 1: strata may be small."""
    if isinstance(arm, ProportionStats):
        rate = np.nan_to_num(arm.estimate)
        return MeanStats(arm.n, rate, arm.successes * (1 - rate))
    return arm


def _additive(part: MeanStats | RatioStats, whole: MeanStats | RatioStats, share: FloatArray) -> _Arm:
    level, values, variance = np.zeros(()), part.estimate, part.variance
    if isinstance(part, RatioStats):
        level, values, variance = _linearised(part, share)
    return _Arm(
        n=part.n,
        estimate=values,
        variance=variance,
        shared=np.zeros(()),
        freedom=part.freedom,
        level=level,
        plain_variance=whole.variance,
        cautions=whole.cautions,
    )


def _linearised(part: RatioStats, share: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the ratio R of averaged means, and means and variances of ``(y - R d) / mean(d)`` by stratum."""
    top, bottom = _sum(share * part.mean_y), _sum(share * part.mean_d)
    ratio = np.where(bottom != 0, top / bottom, np.nan)
    each, size = ratio[..., None], bottom[..., None]
    moment, rounding = part.residual_moment(each)
    moment = np.where(moment <= rounding, 0.0, moment)
    variance = np.where(part.n > 1, moment / (part.n - 1) / (part.n * np.square(size)), np.nan)
    return ratio, (part.mean_y - each * part.mean_d) / size, variance


def _finished(arm: StratifiedStats, shape: tuple[int, ...], axis: int) -> _Arm:
    def last(values: ArrayLike) -> NDArray[Any]:
        return np.moveaxis(np.broadcast_to(values, shape), axis, -1)

    return _Arm(
        n=last(arm.n),
        estimate=last(arm.estimate),
        variance=last(arm.variance),
        shared=last(arm.shared_variance),
        freedom=None if arm.freedom is None else last(arm.freedom),
        level=np.zeros(()),
        plain_variance=np.full((), np.nan),
        cautions=np.bitwise_or.reduce(last(arm.cautions), axis=-1),
    )


def _shares(units: IntArray) -> FloatArray:
    """Return the strata's shares of all units; 0 without any."""
    return np.asarray(units / np.maximum(_sum(units)[..., None], 1))


def _usable(arm: _Arm) -> BoolArray:
    return np.asarray((arm.n >= FEWEST) & np.isfinite(arm.estimate) & np.isfinite(arm.variance))


def _averaged(treatment: _Arm, control: _Arm, used: BoolArray) -> Adjusted:
    """Average the strata in use; of the others only the caution remains."""
    units = np.where(used, treatment.n + control.n, 0)
    share, total = _shares(units), _sum(units)
    weight = share * (share - (1 - share) / np.maximum(total, 1)[..., None])
    first, second = (_average(arm, used, share) for arm in (treatment, control))
    given = [_given_shares(arm, used, weight) for arm in (treatment, control)]
    common = _common((first, second), share, total)
    shared = _sum(np.where(used, weight * control.shared, 0.0))
    common = Common(common.heterogeneity, common.lean, common.covariance + shared)
    own_t, own_c, shared = own_and_shared(given[0][0], given[1][0], common)
    left_out = (~used & (treatment.n + control.n > 0)).any(axis=-1)
    dropped = np.where(left_out, Caution.STRATUM_DROPPED.value, 0)

    def arm(part: _Arm, mean: FloatArray, own: FloatArray, freedom: FloatArray | None) -> EstimateStats:
        return EstimateStats(
            _sum(np.where(used, part.n, 0)),
            finite_or_nan(np.where(total > 0, mean, np.nan)),
            finite_or_nan(own),
            shared_variance=finite_or_nan(shared),
            freedom=freedom,
            cautions=part.cautions | dropped,
        )

    return Adjusted(
        arm(treatment, first.mean, own_t, given[0][1]),
        arm(control, second.mean, own_c, given[1][1]),
        finite_or_nan((own_t + own_c) / (treatment.plain_variance + control.plain_variance)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Average:
    """An arm's average over strata, and how far each stratum is from it (0 where it is not in use)."""

    mean: FloatArray
    apart: FloatArray


def _average(arm: _Arm, used: BoolArray, share: FloatArray) -> _Average:
    mean = _sum(np.where(used, share * arm.estimate, 0.0))
    return _Average(arm.level + mean, np.where(used, arm.estimate - mean[..., None], 0.0))


def _given_shares(arm: _Arm, used: BoolArray, weight: FloatArray) -> tuple[FloatArray, FloatArray | None]:
    """Return the variance of an arm's average given the shares, and its degrees of freedom (Satterthwaite, 1946).

    The noise of the strata's means inflates the plug-in variance between strata; ``weight`` has taken
    its mean off, and is not negative.
    """
    parts = np.where(used, weight * arm.variance, 0.0)
    variance = _sum(parts)
    if arm.freedom is None:
        return variance, None
    freedom = np.where(used, np.maximum(arm.freedom, 0.0), 0.0)
    portion = parts / variance[..., None]
    spread = _sum(np.where(parts > 0, np.square(portion) / freedom, 0.0))
    return variance, np.where(variance > 0, 1 / spread, _sum(freedom))


def _common(averages: tuple[_Average, _Average], share: FloatArray, total: IntArray) -> Common:
    first, second = averages
    effect = first.apart - second.apart

    def between(left: FloatArray, right: FloatArray) -> FloatArray:
        return _sum(share * left * right) / np.maximum(total, 1)

    spread = between(first.apart, first.apart) + between(second.apart, second.apart)
    # Effects that are equal but for rounding.
    noise = CONSTANT * spread + np.square(CONSTANT) * (np.square(first.mean) + np.square(second.mean)) / total
    heterogeneity = between(effect, effect)
    return Common(
        heterogeneity=np.where(heterogeneity <= noise, 0.0, heterogeneity),
        lean=between(second.apart, effect),
        covariance=between(first.apart, second.apart),
    )


def _sum(values: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(values.sum(axis=-1))
