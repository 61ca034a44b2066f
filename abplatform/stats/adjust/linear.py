"""Linearised outcomes: what the delta method makes of a ratio."""

from __future__ import annotations

import numpy as np

from abplatform.stats.sufficient.centred import CONSTANT
from abplatform.stats.sufficient.ratios import RatioStats
from abplatform.stats.validation import FloatArray


def residual_moment(stats: RatioStats, ratio: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the sum of squared deviations of ``y - R d``, and how much of it could be rounding.

    Deng, Knoblich and Lu (2018): divided by n and the squared mean of d it is the variance of a ratio R of means.
    """
    spread = np.square(ratio) * stats.m2_d
    moment = stats.m2_y - 2 * ratio * stats.c_yd + spread
    means = np.square(CONSTANT * stats.mean_y) + np.square(ratio * CONSTANT * stats.mean_d)
    return moment, CONSTANT * (stats.m2_y + spread) + stats.n * means
