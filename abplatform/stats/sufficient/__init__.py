"""Sufficient statistics of one arm: frozen, additive, vectorised over any grid of cells.

Every field is a numpy array (0-d for a single cell) and all fields of one object broadcast against each
other. ``a + b`` merges disjoint sets of units, in any order and grouping. Each class is an ``ArmStats``: it offers
``estimate`` and ``variance`` (*of that estimate*, not of the units), with NaN where they do not exist.
"""

from abplatform.stats.sufficient.arm import ArmStats
from abplatform.stats.sufficient.capped import CappedStats, cap_from_history
from abplatform.stats.sufficient.durations import DurationStats
from abplatform.stats.sufficient.estimates import EstimateStats
from abplatform.stats.sufficient.joint import JointStats
from abplatform.stats.sufficient.means import MeanStats
from abplatform.stats.sufficient.proportions import ProportionStats
from abplatform.stats.sufficient.quantiles import QuantileStats, cut_points
from abplatform.stats.sufficient.ratios import RatioStats

__all__ = [
    "ArmStats",
    "CappedStats",
    "DurationStats",
    "EstimateStats",
    "JointStats",
    "MeanStats",
    "ProportionStats",
    "QuantileStats",
    "RatioStats",
    "cap_from_history",
    "cut_points",
]
