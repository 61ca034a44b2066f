"""Two adjusted arms, and how the covariance of their estimates is handed to the methods.

Adjusted arms are moved towards a mean that belongs to both (of a covariate, or of the strata's shares). Their
estimates therefore covary. Every method asks an arm for its *own* variance and for the variance that is
*shared*, such that

    Var(treatment - control) = own_t + own_c,    Var(arm) = own + shared,    shared = Cov(treatment, control),

so that own is ``Var(arm) - Cov``. Then tests of the difference, and Fieller's sets of the relative lift, which
need ``Cov(treatment - control, control) = -own_c``, are the same as for independent arms.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from abplatform.stats.sufficient.estimates import EstimateStats
from abplatform.stats.validation import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Adjusted:
    """Two adjusted arms; unpacks into them, treatment first.

    ``variance_ratio`` is the variance of the adjusted difference over that of the plain one: 0.51 means that
    51% of the units give the precision that the plain difference has. NaN where either is missing.
    """

    treatment: EstimateStats
    control: EstimateStats
    variance_ratio: FloatArray

    def __iter__(self) -> Iterator[EstimateStats]:
        """Give treatment and control."""
        return iter((self.treatment, self.control))


@dataclass(frozen=True, slots=True, eq=False)
class Common:
    """What two adjusted estimates have in common, as variances.

    With arm effects ``f_t(x)`` and ``f_c(x)`` of what is known of a unit beforehand, taken at the mean of all
    N units: ``heterogeneity`` is ``Var(f_t - f_c) / N``, which belongs to the difference; ``lean`` is
    ``Cov(f_c, f_t - f_c) / N``; ``covariance`` is the covariance of both estimates.
    """

    heterogeneity: FloatArray
    lean: FloatArray
    covariance: FloatArray


def own_and_shared(
    treatment: FloatArray, control: FloatArray, common: Common
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Split variances into the treatment's own, the control's own, and the shared one.

    Args:
        treatment: variance of the treatment's estimate given what is known of all units beforehand.
        control: the same of the control's.
        common: what both have in common.

    The variance of the difference, ``treatment + control + heterogeneity``, is kept to the last digit. Where
    slopes differ much a part can come out negative; it is then 0, which keeps the variance of the control's
    estimate as well unless the covariance is negative (then it is a little too large).
    """
    total = treatment + control + common.heterogeneity
    exact = control - common.lean
    own = np.clip(exact, 0.0, total)
    return total - own, own, np.maximum(common.covariance + exact - own, 0.0)


def finite_or_nan(values: FloatArray) -> FloatArray:
    """Return NaN for what has overflowed; the comparison then says so."""
    return np.where(np.isfinite(values), values, np.nan)
