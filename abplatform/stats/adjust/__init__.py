"""Variance reduction by what was known before the exposure: covariates (CUPED) and strata.

Each function turns the statistics of two arms into two finished estimates, which go into any method:
``fixed.compare(*adjust.cuped(treatment, control))``, and the same for ``sequential`` and ``bayes``. Adjustment
does not change what is estimated, only how noisily.
"""

from abplatform.stats.adjust.adjusted import Adjusted
from abplatform.stats.adjust.cuped import Theta, cuped
from abplatform.stats.adjust.strata import post_stratify

__all__ = ["Adjusted", "Theta", "cuped", "post_stratify"]
