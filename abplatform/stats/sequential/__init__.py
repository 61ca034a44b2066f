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
from abplatform.stats.sequential.count_margins import count_non_inferiority, log_margin_e_value
from abplatform.stats.sequential.counts import harm_p_value, log_harm_e_value
from abplatform.stats.sequential.guard import (
    MIN_EVEN_CLUSTERS,
    MIN_EVEN_NONZERO_CLUSTERS,
    MIN_NONZERO,
    MIN_UNITS,
    MOST_UNEVEN,
    EfficacyBlock,
    cluster_guard,
    clusters_needed,
    efficacy_guard,
)
from abplatform.stats.sequential.rates import rate_interval
from abplatform.stats.sequential.regression import compare_regression, log_t_e_value, t_critical_value

__all__ = [
    "MIN_EVEN_CLUSTERS",
    "MIN_EVEN_NONZERO_CLUSTERS",
    "MIN_NONZERO",
    "MIN_UNITS",
    "MOST_UNEVEN",
    "EfficacyBlock",
    "cluster_guard",
    "clusters_needed",
    "compare",
    "compare_regression",
    "count_non_inferiority",
    "critical_value",
    "efficacy_guard",
    "harm_p_value",
    "log_e_value",
    "log_harm_e_value",
    "log_margin_e_value",
    "log_t_e_value",
    "non_inferiority",
    "one_sided_critical_value",
    "one_sided_p_value",
    "p_value",
    "rate_interval",
    "running_intersection",
    "t_critical_value",
    "tune_rho2",
]
