"""Inference on sufficient statistics: values in, values out; numpy and scipy only; nothing random.

Reduce each arm to ``MeanStats``, ``ProportionStats`` or ``RatioStats``, then ask one method: ``fixed.compare``,
``sequential.compare`` or ``bayes.compare``. All answer with the same ``Comparison``, vectorised over whatever
grid the statistics have (metrics x variants x slices).
"""

from abplatform.stats.margins import Margin
from abplatform.stats.results import (
    Caution,
    Comparison,
    ComparisonCell,
    EffectCell,
    Interval,
    NonInferiority,
    NotComputable,
    RelativeInterval,
    SetKind,
)
from abplatform.stats.sufficient import (
    ArmStats,
    CappedStats,
    DurationStats,
    EstimateStats,
    JointStats,
    MeanStats,
    ProportionStats,
    QuantileStats,
    RatioStats,
    cap_from_history,
    cut_points,
)
from abplatform.stats.validation import Direction

__all__ = [
    "ArmStats",
    "CappedStats",
    "Caution",
    "Comparison",
    "ComparisonCell",
    "Direction",
    "DurationStats",
    "EffectCell",
    "EstimateStats",
    "Interval",
    "JointStats",
    "Margin",
    "MeanStats",
    "NonInferiority",
    "NotComputable",
    "ProportionStats",
    "QuantileStats",
    "RatioStats",
    "RelativeInterval",
    "SetKind",
    "cap_from_history",
    "cut_points",
]
