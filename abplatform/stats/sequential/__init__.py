"""Inference that may be watched: intervals and p-values that hold at every look at once."""

from abplatform.stats.sequential.asymptotic import (
    compare,
    critical_value,
    log_e_value,
    non_inferiority,
    one_sided_critical_value,
    one_sided_p_value,
    p_value,
    running_intersection,
    tune_rho2,
)
from abplatform.stats.sequential.counts import harm_p_value, log_harm_e_value
from abplatform.stats.sequential.guard import EfficacyBlock, efficacy_guard

__all__ = [
    "EfficacyBlock",
    "compare",
    "critical_value",
    "efficacy_guard",
    "harm_p_value",
    "log_e_value",
    "log_harm_e_value",
    "non_inferiority",
    "one_sided_critical_value",
    "one_sided_p_value",
    "p_value",
    "running_intersection",
    "tune_rho2",
]
