"""Relative lifts: ratios of two normal estimates, with the set of those that a test does not reject.

The relative lift is ``(treatment - control) / |control|``: dividing by the *magnitude* keeps the sign of the
difference for metrics with a negative mean (a loss per customer that shrinks is a positive lift), and changes nothing
for positive ones.

Its interval is Fieller's set: the lifts that the same test at the same critical value does not reject. It
therefore excludes 0 exactly when the absolute test rejects. Where the control mean itself is not significantly
away from 0 the set is unbounded: a half line, everything, or two rays with a gap (``disjoint``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from abplatform.stats.results import (
    Caution,
    Codes,
    NotComputable,
    RelativeInterval,
    SetKind,
    kind_code,
    named_kinds,
    named_reasons,
    reason_code,
)
from abplatform.stats.validation import FloatArray

RelativeMethod = Literal["fieller", "delta"]


@dataclass(frozen=True, slots=True, eq=False)
class Ratio:
    """A numerator and a denominator, jointly normal: two means, two variances, one covariance."""

    top: FloatArray
    bottom: FloatArray
    top_variance: FloatArray
    bottom_variance: FloatArray
    covariance: FloatArray


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
