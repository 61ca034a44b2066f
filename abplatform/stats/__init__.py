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
from abplatform.stats.sufficient import ArmStats, EstimateStats, MeanStats, ProportionStats, RatioStats
from abplatform.stats.validation import Direction

__all__ = [
    "ArmStats",
    "Caution",
    "Comparison",
    "ComparisonCell",
    "Direction",
    "EffectCell",
    "EstimateStats",
    "Interval",
    "Margin",
    "MeanStats",
    "NonInferiority",
    "NotComputable",
    "ProportionStats",
    "RatioStats",
    "RelativeInterval",
    "SetKind",
]
