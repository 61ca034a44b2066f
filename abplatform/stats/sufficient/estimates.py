"""An estimate with its variance, already made: what adjustment and other reductions hand to every method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from abplatform.stats.results import NotComputable
from abplatform.stats.validation import FloatArray, IntArray, same_grid, whole_counts


@dataclass(frozen=True, slots=True, eq=False)
class EstimateStats:
    """An arm's estimate with its own variance; not additive, since it is the end of a reduction.

    Args:
        n: independent units behind the estimate, whole and not negative.
        estimate: the estimate; NaN where it does not exist.
        variance: variance of the estimate that is the arm's own, at least 0; NaN where it does not exist.
        shared_variance: variance that both arms share and that cancels in their difference.
        freedom: degrees of freedom of ``variance``; ``None`` for normal tests.
        cautions: ``Caution`` flags.
        missing: why ``estimate`` is NaN where there are units.

    Raises:
        ValueError: naming the field that is negative, infinite or of another shape.

    >>> arm = EstimateStats(100, 2.5, 0.01)
    >>> float(arm.estimate), float(arm.variance)
    (2.5, 0.01)
    """

    fixed_method: ClassVar[str] = "adjusted_t"
    estimand: ClassVar[tuple[str, ...]] = ()

    n: IntArray
    estimate: FloatArray
    variance: FloatArray
    shared_variance: FloatArray
    freedom: FloatArray | None
    cautions: NDArray[np.int64]
    missing: NotComputable

    def __init__(
        self,
        n: ArrayLike,
        estimate: ArrayLike,
        variance: ArrayLike,
        *,
        shared_variance: ArrayLike = 0.0,
        freedom: ArrayLike | None = None,
        cautions: ArrayLike = 0,
        missing: NotComputable = NotComputable.ZERO_DENOMINATOR,
    ) -> None:
        units = whole_counts("n", n)
        parts = {
            "estimate": _number_or_nan("estimate", estimate),
            "variance": _number_or_nan("variance", variance),
            "shared_variance": _number_or_nan("shared_variance", shared_variance),
        }
        if freedom is not None:
            parts["freedom"] = _number_or_nan("freedom", freedom)
        for name in ("variance", "shared_variance", "freedom"):
            if name in parts and (parts[name] < 0).any():
                raise ValueError(f"{name} must not be negative")
        flags = whole_counts("cautions", cautions)
        # The grid of an arm is that of its estimate and variance.
        parts["estimate"] = np.broadcast_to(parts["estimate"], same_grid(n=units, cautions=flags, **parts))
        object.__setattr__(self, "n", units)
        object.__setattr__(self, "freedom", parts.pop("freedom", None))
        object.__setattr__(self, "cautions", flags)
        object.__setattr__(self, "missing", missing)
        for name, values in parts.items():
            object.__setattr__(self, name, values)


def _number_or_nan(name: str, values: ArrayLike) -> FloatArray:
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} must be numbers") from None
    if np.isinf(array).any():
        raise ValueError(f"{name} must be finite, or NaN where it does not exist")
    array.setflags(write=False)
    return array
