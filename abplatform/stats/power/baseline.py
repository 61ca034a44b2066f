"""What history says about a metric: its mean and the variance of one unit, which all planning starts from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from abplatform.stats.sufficient import ArmStats, ProportionStats
from abplatform.stats.validation import FloatArray, finite_values, non_negative, positive, probability


def design_effect(cluster_size: ArrayLike, correlation: ArrayLike, *, size_variation: ArrayLike = 0.0) -> FloatArray:
    """Return how much more variance the mean has because whole clusters are randomised.

    ``1 + ((1 + v^2) m - 1) r`` (Eldridge, Ashby and Kerry, 2006), for clusters of m units on average whose
    sizes have the coefficient of variation v and whose units correlate by r.

    Args:
        cluster_size: mean units per cluster, above 0.
        correlation: intra-cluster correlation, 0 to 1.
        size_variation: standard deviation of the cluster sizes divided by their mean, at least 0.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> round(float(design_effect(5, 0.1)), 2)
    1.4
    """
    size, spread = positive("cluster_size", cluster_size), non_negative("size_variation", size_variation)
    shared = non_negative("correlation", correlation)
    if (shared > 1).any():
        raise ValueError("correlation must not exceed 1")
    return np.asarray(1 + ((1 + np.square(spread)) * size - 1) * shared)


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """A metric before the experiment, per unit of the control; build it with ``of``, ``rate`` or ``normal``.

    Attributes:
        mean: mean, rate, ratio or quantile of the control; NaN where history has none.
        unit_variance: variance of the estimate times its units, adjustment and clustering included; NaN or 0
            where history has none.
        treatment_ratio: unit variance of the treatment over that of the control (not for rates, whose variance
            follows from their rate).
        freedom_share: degrees of freedom per unit; infinite where tests are normal.
        inflation: what adjustment and clustering do to the variance; already in ``unit_variance``.
        binary: whether the metric is a rate, so that the treatment's variance changes with its effect.
    """

    mean: FloatArray
    unit_variance: FloatArray
    treatment_ratio: FloatArray
    freedom_share: FloatArray
    inflation: FloatArray
    binary: bool

    @classmethod
    @np.errstate(all="ignore")
    def of(
        cls,
        history: ArmStats,
        *,
        variance_factor: ArrayLike = 1.0,
        clustering: ArrayLike = 1.0,
        units_per_cluster: ArrayLike = 1.0,
    ) -> Self:
        """Take mean and unit variance from an arm of past data, of any kind and shape.

        Args:
            history: statistics of past units; what its ``n`` counts (units, or clusters of a ratio) is what
                plans count.
            variance_factor: share of the variance that adjustment leaves, ``1 - R^2`` for CUPED with
                correlation R; above 0.
            clustering: design effect where the experiment randomises clusters but history knows units only; above 0.
            units_per_cluster: the units of history in a cluster, for the degrees of freedom; above 0.

        Raises:
            ValueError: naming the argument that does not fit.

        >>> from abplatform.stats import MeanStats
        >>> past = Baseline.of(MeanStats(401, 10.0, 3600.0), variance_factor=0.5)
        >>> float(past.mean), float(past.unit_variance)
        (10.0, 4.5)
        """
        inflation = positive("variance_factor", variance_factor) * positive("clustering", clustering)
        size = positive("units_per_cluster", units_per_cluster)
        known = history.n > 1
        # n - 1 degrees of freedom become n - 1 at any other size, and n / 2 - 1 stay half of it.
        freedom = np.inf if history.freedom is None else (history.freedom + 1) / np.maximum(history.n, 1) / size
        return cls(
            mean=np.asarray(history.estimate),
            unit_variance=np.where(known, history.variance * history.n * inflation, np.nan),
            treatment_ratio=np.ones(()),
            freedom_share=np.asarray(freedom, dtype=np.float64),
            inflation=inflation,
            binary=isinstance(history, ProportionStats),
        )

    @classmethod
    def rate(cls, rate: ArrayLike, *, variance_factor: ArrayLike = 1.0) -> Self:
        """State a conversion rate strictly between 0 and 1.

        >>> float(Baseline.rate(0.5).unit_variance)
        0.25
        """
        share, factor = probability("rate", rate), positive("variance_factor", variance_factor)
        one = np.ones(())
        return cls(share, share * (1 - share) * factor, one, np.asarray(np.inf), factor, binary=True)

    @classmethod
    def normal(cls, mean: ArrayLike, sd: ArrayLike, *, treatment_sd: ArrayLike | None = None) -> Self:
        """State mean and standard deviation per unit, that of the treatment being the same if not given.

        >>> float(Baseline.normal(10.0, 3.0).unit_variance)
        9.0
        """
        spread = positive("sd", sd)
        other = spread if treatment_sd is None else positive("treatment_sd", treatment_sd)
        ratio = np.square(other / spread)
        one = np.ones(())
        return cls(finite_values("mean", mean), np.square(spread), ratio, one, one, binary=False)

    def treatment_variance(self, mean: FloatArray) -> FloatArray:
        """Return the unit variance of a treatment with this mean; NaN for a rate outside 0 to 1."""
        if not self.binary:
            return self.unit_variance * self.treatment_ratio
        return np.where((mean >= 0) & (mean <= 1), mean * (1 - mean) * self.inflation, np.nan)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the grid of metrics."""
        return np.broadcast_shapes(self.mean.shape, self.unit_variance.shape, self.treatment_ratio.shape)
