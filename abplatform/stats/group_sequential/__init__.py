"""Group sequential tests: few or many looks, at any shares of the planned information, at hardly any cost in power.

``compare`` and ``non_inferiority`` judge a look, ``at_stopping`` the end of a test; ``Design`` and its functions plan
one; ``conditional_power`` and ``futility_bounds`` say whether to go on.
"""

from abplatform.stats.group_sequential.analysis import compare, non_inferiority
from abplatform.stats.group_sequential.bounds import EfficacyBounds, critical_values, efficacy_bounds
from abplatform.stats.group_sequential.design import (
    Design,
    boundaries,
    detectable_effect,
    expected_share,
    inflation,
    power_at,
    required_drift,
)
from abplatform.stats.group_sequential.futility import Boundaries, Futility, futility_bounds
from abplatform.stats.group_sequential.interim import conditional_power, predictive_power
from abplatform.stats.group_sequential.recursion import Crossing, crossing_probabilities
from abplatform.stats.group_sequential.repeated import repeated_p_values
from abplatform.stats.group_sequential.spending import OBRIEN_FLEMING, POCOCK, Spending, spend
from abplatform.stats.group_sequential.stopping import StoppedInference, at_stopping

__all__ = [
    "OBRIEN_FLEMING",
    "POCOCK",
    "Boundaries",
    "Crossing",
    "Design",
    "EfficacyBounds",
    "Futility",
    "Spending",
    "StoppedInference",
    "at_stopping",
    "boundaries",
    "compare",
    "conditional_power",
    "critical_values",
    "crossing_probabilities",
    "detectable_effect",
    "efficacy_bounds",
    "expected_share",
    "futility_bounds",
    "inflation",
    "non_inferiority",
    "power_at",
    "predictive_power",
    "repeated_p_values",
    "required_drift",
    "spend",
]
