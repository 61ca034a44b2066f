"""Effects of a treatment: the absolute difference and the relative lift, at any critical value.

P-values always come from the absolute difference; see `lifts` for the relative one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from abplatform.stats.lifts import Ratio, RelativeMethod, relative_interval
from abplatform.stats.results import (
    Codes,
    Comparison,
    Interval,
    IntervalKind,
    NotComputable,
    named_reasons,
    reason_code,
)
from abplatform.stats.sufficient import ArmStats
from abplatform.stats.validation import BoolArray, FloatArray, IntArray, same_grid

_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Difference:
    """Two independent arms side by side: estimates, the variances of these estimates, and their quality.

    ``shared_variance`` is variance that both estimates have in common, beside their own; it cancels in the
    difference and matters to the relative lift only. ``reasons`` holds codes (0 where the difference can be
    tested), ``cautions`` flags. All have the shape of the grid, but for ``shared_variance`` and ``cautions``, which
    only broadcast to it.
    """

    treatment: FloatArray
    control: FloatArray
    treatment_variance: FloatArray
    control_variance: FloatArray
    shared_variance: FloatArray
    treatment_n: FloatArray
    control_n: FloatArray
    reasons: Codes
    cautions: NDArray[np.int64]

    @cached_property
    def estimate(self) -> FloatArray:
        """Treatment minus control."""
        return self.treatment - self.control

    @cached_property
    def variance(self) -> FloatArray:
        """Variance of the difference."""
        return self.treatment_variance + self.control_variance

    @cached_property
    def standard_error(self) -> FloatArray:
        """Standard error of the difference; NaN where it cannot be tested."""
        return self.known(np.sqrt(self.variance))

    @cached_property
    def testable(self) -> BoolArray:
        """True where the difference has a positive, finite standard error."""
        return np.asarray(self.reasons == 0)

    @cached_property
    def complete(self) -> bool:
        """Whether every cell can be tested."""
        return not self.reasons.any()

    def known(self, values: FloatArray) -> FloatArray:
        """Return values where the difference can be tested, NaN elsewhere."""
        return values if self.complete else np.where(self.testable, values, np.nan)

    @cached_property
    def units(self) -> FloatArray:
        """Analysed units (clusters for ratios) of both arms."""
        return self.treatment_n + self.control_n

    @cached_property
    def z(self) -> FloatArray:
        """Estimate in standard errors."""
        return self.estimate / self.standard_error


@np.errstate(all="ignore")
def difference(treatment: ArmStats, control: ArmStats) -> Difference:
    """Set two arms of the same class side by side.

    Args:
        treatment: statistics of the treatment; any shape, broadcast against control.
        control: statistics of the control.

    Raises:
        ValueError: naming the argument whose class or shape does not fit.
    """
    if not hasattr(treatment, "estimand"):
        kind = type(treatment).__name__
        raise ValueError(f"treatment must be statistics of an arm, such as MeanStats.of(values), not {kind}")
    if type(treatment) is not type(control):
        raise ValueError(f"control must be {type(treatment).__name__} like treatment")
    same_estimand(control, treatment, "control")
    first, second = treatment.estimate, control.estimate
    first_variance, second_variance = treatment.variance, control.variance
    # The estimate of an arm may have fewer axes than its other fields.
    shape = same_grid(treatment=first + first_variance, control=second + second_variance)
    size = first, second, first_variance + second_variance
    return Difference(
        treatment=spread(first, shape),
        control=spread(second, shape),
        treatment_variance=spread(first_variance, shape),
        control_variance=spread(second_variance, shape),
        shared_variance=np.asarray(control.shared_variance, dtype=np.float64),
        treatment_n=spread(treatment.n.astype(np.float64), shape),
        control_n=spread(control.n.astype(np.float64), shape),
        reasons=spread(_reasons(np.minimum(treatment.n, control.n), *size, missing=treatment.missing), shape),
        cautions=np.asarray(treatment.cautions | control.cautions),
    )


def same_estimand(arm: ArmStats, other: ArmStats, name: str) -> None:
    """Refuse arms of different levels or caps, naming the parameter: they estimate different things."""
    for field in arm.estimand:
        if np.any(getattr(arm, field) != getattr(other, field)):
            raise ValueError(f"{name} must have the same {field}")


def spread(values: NDArray[_Scalar], shape: tuple[int, ...]) -> NDArray[_Scalar]:
    """Return values over the whole grid; as they are where they have its shape already."""
    return values if values.shape == shape else np.broadcast_to(values, shape)


def _reasons(
    fewest: IntArray, first: FloatArray, second: FloatArray, variance: FloatArray, *, missing: NotComputable
) -> Codes:
    # Fieller's set needs products of squares and variances.
    size = (np.square(first) + np.square(second) + variance) * variance
    fine = (size > 0) & (size < np.inf) & (fewest > 1)
    if fine.all():
        return np.zeros(fine.shape, dtype=np.int8)
    causes = [
        (fewest == 0, NotComputable.NO_UNITS),
        (fewest == 1, NotComputable.ONE_UNIT),
        (np.isnan(first - second), missing),
        (variance == 0, NotComputable.ZERO_VARIANCE),
        (~np.isfinite(size), NotComputable.OVERFLOW),
    ]
    codes = np.select([mask for mask, _ in causes], [reason_code(reason) for _, reason in causes], 0)
    return codes.astype(np.int8)


def lift_ratio(diff: Difference) -> Ratio:
    """Return difference over control; the two share the control's noise, hence the covariance."""
    bottom = diff.control_variance + diff.shared_variance
    return Ratio(diff.estimate, diff.control, diff.variance, bottom, -diff.control_variance)


@np.errstate(all="ignore")
def compare_at(
    diff: Difference,
    critical: FloatArray,
    *,
    p_value: FloatArray,
    method: str,
    interval_kind: IntervalKind,
    relative: RelativeMethod = "fieller",
) -> Comparison:
    """Assemble a frequentist answer from a difference, a critical value and a p-value."""
    grid = np.broadcast_shapes(diff.estimate.shape, np.shape(critical))
    half = critical * diff.standard_error
    lift = relative_interval(lift_ratio(diff), critical, reasons=diff.reasons, method=relative).over(grid)
    missing = np.broadcast_to(np.nan, grid)
    return Comparison(
        method=method,
        interval_kind=interval_kind,
        absolute=Interval(spread(diff.estimate, grid), diff.estimate - half, diff.estimate + half),
        relative=lift,
        p_value=spread(diff.known(p_value), grid),
        chance_to_win=missing,
        expected_loss=missing,
        probability_worse_than_margin=missing,
        not_computable=spread(named_reasons(diff.reasons), grid),
        warnings=diff.cautions | lift.cautions,
    )
