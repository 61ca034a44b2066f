"""Effects of a treatment: the absolute difference and the relative lift, at any critical value.

P-values always come from the absolute difference. The relative lift is ``(treatment - control) / |control|``:
dividing by the *magnitude* keeps the sign of the difference for metrics with a negative mean (a loss per
customer that shrinks is a positive lift), and changes nothing for positive ones.

Its interval is Fieller's set: the lifts that the same test at the same critical value does not reject. It
therefore excludes 0 exactly when the absolute test rejects. Where the control mean itself is not significantly
away from 0 the set is unbounded: a half line, everything, or two rays with a gap (``disjoint``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from abplatform.stats.results import (
    Caution,
    Codes,
    Comparison,
    Interval,
    IntervalKind,
    NotComputable,
    RelativeInterval,
    SetKind,
    kind_code,
    named_kinds,
    named_reasons,
    reason_code,
)
from abplatform.stats.sufficient import ArmStats
from abplatform.stats.validation import BoolArray, FloatArray, IntArray, same_grid

RelativeMethod = Literal["fieller", "delta"]
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


@dataclass(frozen=True, slots=True, eq=False)
class Ratio:
    """A numerator and a denominator, jointly normal: two means, two variances, one covariance."""

    top: FloatArray
    bottom: FloatArray
    top_variance: FloatArray
    bottom_variance: FloatArray
    covariance: FloatArray


def lift_ratio(diff: Difference) -> Ratio:
    """Return difference over control; the two share the control's noise, hence the covariance."""
    bottom = diff.control_variance + diff.shared_variance
    return Ratio(diff.estimate, diff.control, diff.variance, bottom, -diff.control_variance)


@np.errstate(all="ignore")
def fieller(ratio: Ratio, critical: ArrayLike) -> tuple[FloatArray, FloatArray, Codes]:
    """Return lower bound, upper bound and set-kind codes of Fieller's set for ``top / bottom``.

    The set is ``{x: (top - x bottom)^2 <= z^2 Var(top - x bottom)}`` (Fieller, 1954), a quadratic in x:
    ``a x^2 - 2 b x + c <= 0``. The discriminant is expanded so that nothing cancels, and the second root
    comes from ``c``, whose sign is the absolute test; hence an interval that excludes 0 exactly with it.
    """
    z2 = np.square(np.asarray(critical, dtype=np.float64))
    a = np.square(ratio.bottom) - z2 * ratio.bottom_variance
    b = ratio.top * ratio.bottom - z2 * ratio.covariance
    c = np.square(ratio.top) - z2 * ratio.top_variance
    inner = (
        np.square(ratio.bottom) * ratio.top_variance
        - 2 * ratio.top * ratio.bottom * ratio.covariance
        + np.square(ratio.top) * ratio.bottom_variance
        - z2 * (ratio.top_variance * ratio.bottom_variance - np.square(ratio.covariance))
    )
    larger = b + np.copysign(np.sqrt(np.maximum(z2 * inner, 0.0)), b)
    first, second = larger / a, c / larger
    if not larger.all():
        second = np.where(larger == 0, 0.0, second)
    bounded = a > 0
    if bounded.all():
        return np.minimum(first, second), np.maximum(first, second), np.zeros(first.shape, dtype=np.int8)
    half, line = c / (2 * b), (a == 0) & (b != 0)
    lower = np.where(bounded, np.minimum(first, second), np.where(line & (b > 0), half, np.nan))
    upper = np.where(bounded, np.maximum(first, second), np.where(line & (b < 0), half, np.nan))
    codes = np.select(
        [bounded, line, (a < 0) & (inner > 0)],
        [kind_code(kind) for kind in (SetKind.BOUNDED, SetKind.HALF_LINE, SetKind.DISJOINT)],
        kind_code(SetKind.WHOLE_LINE),
    )
    return lower, upper, codes.astype(np.int8)


def lift_set(ratio: Ratio, critical: ArrayLike) -> tuple[FloatArray, FloatArray, Codes]:
    """Return Fieller's set for ``top / |bottom|``: mirrored where the denominator is negative."""
    lower, upper, codes = fieller(ratio, critical)
    flip = ratio.bottom < 0
    if not flip.any():
        return lower, upper, codes
    return np.where(flip, -upper, lower), np.where(flip, -lower, upper), codes


def _delta(ratio: Ratio, critical: ArrayLike) -> tuple[FloatArray, FloatArray, Codes]:
    """Return the symmetric interval by a first-order expansion, for parity with other tools."""
    size = np.abs(ratio.bottom)
    centre, signed = ratio.top / size, ratio.top / ratio.bottom
    spread = (
        ratio.top_variance - 2 * signed * ratio.covariance + np.square(signed) * ratio.bottom_variance
    ) / np.square(size)
    half = np.asarray(critical, dtype=np.float64) * np.sqrt(spread)
    return centre - half, centre + half, np.full(np.shape(half), kind_code(SetKind.BOUNDED), dtype=np.int8)


@np.errstate(all="ignore")
def relative_interval(
    ratio: Ratio, critical: ArrayLike, *, reasons: Codes, method: RelativeMethod = "fieller"
) -> RelativeInterval:
    """Return the relative lift ``top / |bottom|`` with its set at a critical value.

    Args:
        ratio: difference and control mean with their (co)variances.
        critical: critical value of the absolute test, scalar or one per cell.
        reasons: codes of cells whose absolute inference does not exist; they get no bounds.
        method: ``fieller``, or ``delta`` for parity (it may disagree with the absolute test).

    Raises:
        ValueError: for an unknown method.
    """
    if method not in get_args(RelativeMethod):
        raise ValueError(f"relative must be 'fieller' or 'delta', not {method!r}")
    lower, upper, codes = lift_set(ratio, critical) if method == "fieller" else _delta(ratio, critical)
    zero = ratio.bottom == 0
    why = reasons
    if zero.any():
        why = np.where((reasons == 0) & zero, reason_code(NotComputable.ZERO_CONTROL), reasons).astype(np.int8)
    outside = np.abs(ratio.top) > np.asarray(critical) * np.sqrt(ratio.top_variance)
    if method == "delta":
        outside = (lower > 0) | (upper < 0)
    estimate = ratio.top / np.abs(ratio.bottom)
    if why.any():
        lost = why != 0
        lower, upper = np.where(lost, np.nan, lower), np.where(lost, np.nan, upper)
        estimate, outside = np.where(zero, np.nan, estimate), outside & ~lost
        codes = np.where(lost, kind_code(SetKind.UNDEFINED), codes)
    return RelativeInterval(
        estimate=estimate,
        lower=lower,
        upper=upper,
        kind=named_kinds(codes),
        excludes_zero=outside,
        not_computable=named_reasons(why),
        cautions=_SHAPE_CAUTIONS[codes],
    )


_SHAPE_CAUTIONS = np.array(
    [
        {
            SetKind.DISJOINT: Caution.RELATIVE_DISJOINT,
            SetKind.HALF_LINE: Caution.RELATIVE_UNBOUNDED,
            SetKind.WHOLE_LINE: Caution.RELATIVE_UNBOUNDED,
        }.get(kind, 0)
        for kind in SetKind
    ],
    dtype=np.int64,
)
"""The warning that each form of a relative set calls for."""


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
