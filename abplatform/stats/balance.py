"""Were the arms alike before the experiment? A test of a covariate's means across all arms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from abplatform.stats.results import NotComputable, Objects, named_reasons, reason_code
from abplatform.stats.sufficient import ArmStats
from abplatform.stats.validation import FloatArray, same_grid


@dataclass(frozen=True, slots=True, eq=False)
class Balance:
    """P-value of equal covariate means in all arms, or why there is none."""

    p_value: FloatArray
    not_computable: Objects


@np.errstate(all="ignore")
def check_balance(arms: Sequence[ArmStats]) -> Balance:
    """Test that a covariate measured before the exposure has the same mean in every arm.

    Welch's (1951) F test for k means with unequal variances; with two arms it is Welch's t test. A small
    p-value says that assignment, logging or the population differ between arms, which no outcome survives.

    Args:
        arms: statistics of the covariate per arm (of clusters, where those were randomised), at least two,
            broadcast against each other.

    Raises:
        ValueError: naming ``arms`` when there are fewer than two or their shapes do not fit.

    >>> from abplatform.stats import MeanStats
    >>> arms = [MeanStats(100, 5.0, 400.0), MeanStats(100, 5.2, 400.0), MeanStats(100, 5.1, 400.0)]
    >>> round(float(check_balance(arms).p_value), 4)
    0.7816
    """
    if len(arms) < 2:
        raise ValueError("arms must hold at least two arms")
    fields = ("n", "estimate", "variance")
    shape = same_grid(**{f"arms[{i}].{name}": getattr(arm, name) for i, arm in enumerate(arms) for name in fields})
    n, mean, variance = (np.stack([np.broadcast_to(getattr(arm, name), shape) for arm in arms]) for name in fields)
    codes = np.select(
        [(n == 0).any(axis=0), (n == 1).any(axis=0), (variance == 0).any(axis=0)],
        [reason_code(reason) for reason in list(_REASONS)],
        0,
    ).astype(np.int8)
    return Balance(np.where(codes == 0, _welch_anova(n, mean, variance), np.nan), named_reasons(codes))


_REASONS = (NotComputable.NO_UNITS, NotComputable.ONE_UNIT, NotComputable.ZERO_VARIANCE)


def _welch_anova(n: FloatArray, mean: FloatArray, variance: FloatArray) -> FloatArray:
    """Return p-values of Welch's F from arms along the first axis."""
    k = n.shape[0]
    weight = 1 / variance
    share = weight / weight.sum(axis=0)
    # Means are taken from the first arm's, lest a large common level eat the digits.
    centred = mean - mean[0]
    grand = (share * centred).sum(axis=0)
    between = (weight * np.square(centred - grand)).sum(axis=0) / (k - 1)
    excess = (np.square(1 - share) / (n - 1)).sum(axis=0)
    statistic = between / (1 + 2 * (k - 2) / (k**2 - 1) * excess)
    return np.asarray(special.fdtrc(k - 1, (k**2 - 1) / (3 * excess), statistic))
