"""Fixed-horizon inference: one look, at the size that was planned.

Means: Welch's t test (Welch, 1947), which does not assume equal variances. Clustered ratios: the same t with
the delta-method variance and ``clusters - 1`` degrees of freedom per arm. Rates: a z test with the *unpooled*
standard error, the one of its interval, so that the interval excludes 0 exactly when p < alpha; at small counts the
score test (``compare_rates``) and its exact version (``compare_exactly``). Looking repeatedly at these p-values
breaks their promise (.142 false alarms at 5 looks): use ``abplatform.stats.sequential`` for that.
"""

from abplatform.stats.fixed.alternatives import Alternative
from abplatform.stats.fixed.differences import compare, pooled_z_test
from abplatform.stats.fixed.exact import compare_exactly
from abplatform.stats.fixed.fisher import fisher_p_value
from abplatform.stats.fixed.intervals import clopper_pearson_interval, newcombe_interval, wilson_interval
from abplatform.stats.fixed.margins import Equivalence, Superiority, equivalence, non_inferiority, superiority
from abplatform.stats.fixed.score_margins import rate_non_inferiority
from abplatform.stats.fixed.scores import compare_rates

__all__ = [
    "Alternative",
    "Equivalence",
    "Superiority",
    "clopper_pearson_interval",
    "compare",
    "compare_exactly",
    "compare_rates",
    "equivalence",
    "fisher_p_value",
    "newcombe_interval",
    "non_inferiority",
    "pooled_z_test",
    "rate_non_inferiority",
    "superiority",
    "wilson_interval",
]
