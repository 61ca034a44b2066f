"""Power of group sequential plans: scheduled looks, with error spent at each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar

import numpy as np

from abplatform.stats.group_sequential.bounds import Sides, efficacy_bounds
from abplatform.stats.group_sequential.spending import OBRIEN_FLEMING, Spending
from abplatform.stats.power.baseline import Baseline
from abplatform.stats.power.evidence import Evidence
from abplatform.stats.power.goal import Kind
from abplatform.stats.power.watched import Boundaries, either_margin, scheduled_fractions, stopping_share
from abplatform.stats.validation import FloatArray, finite_values, probability


@lru_cache(maxsize=256)
def _spent_boundaries(alpha: float, fractions: tuple[float, ...], spending: Spending, sides: Sides) -> Boundaries:
    upper = efficacy_bounds(fractions, alpha=alpha, spending=spending, sides=sides).critical
    lower = -upper if sides == 2 else np.full(upper.shape, -np.inf)
    return Boundaries(fractions, tuple(lower.tolist()), tuple(upper.tolist()))


@dataclass(frozen=True, slots=True)
class GroupSequentialTest:
    """Scheduled looks with an alpha spending function (``abplatform.stats.group_sequential``; Lan and DeMets, 1983).

    Power is the probability that the upper bound is crossed first, by the exact recursion of the joint normal
    distribution of the looks (Jennison and Turnbull, 1999, ch. 19); crossings in the wrong direction are not counted.

    Args:
        alpha: error rate over all looks, below 0.5: two-sided for superiority (half on each side), one-sided for
            margins.
        looks: how many equally spaced looks, or their shares of the planned units, increasing up to 1.
        spending: how alpha is spent; the O'Brien-Fleming type costs least.
        futility: z bounds of all looks but the last, below which the plan stops without a claim; ``-inf`` for none.
            They are not binding: alpha is spent as if they were not there, while power pays for them.
        one_sided: whether superiority is tested one-sided, too.

    Raises:
        ValueError: naming the argument that does not fit.
    """

    method: ClassVar[str] = "group_sequential"
    exact: ClassVar[bool] = False

    alpha: float
    looks: tuple[float, ...]
    spending: Spending
    futility: tuple[float, ...]
    one_sided: bool

    def __init__(
        self,
        alpha: float = 0.05,
        *,
        looks: int | Sequence[float] = 5,
        spending: Spending = OBRIEN_FLEMING,
        futility: Sequence[float] = (),
        one_sided: bool = False,
    ) -> None:
        probability("alpha", alpha, below=0.5)
        shares = scheduled_fractions(looks)
        if futility and len(futility) != len(shares) - 1:
            raise ValueError("futility must have one bound for each look but the last")
        finite_values("futility", [bound for bound in futility if bound != -np.inf])
        fields = (alpha, shares, spending, tuple(futility), one_sided)
        for name, value in zip(GroupSequentialTest.__slots__, fields, strict=True):
            object.__setattr__(self, name, value)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the power rests on."""
        return (
            f"{len(self.looks)} looks at the scheduled shares of the planned units",
            f"alpha is spent by {self.spending.kind}",
            "normal estimates; units behave as in history",
        )

    def power(self, evidence: Evidence) -> FloatArray:
        """Return the probability of the claim at some look; for equivalence a lower bound (Bonferroni)."""
        return either_margin(self._boundaries(evidence.kind), evidence)

    def expected_share(self, evidence: Evidence) -> FloatArray:
        """Return the share of the plan at which it stops on average, for whatever reason."""
        return stopping_share(self._boundaries(evidence.kind), np.minimum(evidence.near, evidence.far))

    def least_units(self, baseline: Baseline) -> FloatArray:  # noqa: ARG002 - the guard of other methods needs it
        """A variance needs two units at the first look."""
        return np.asarray(2.0 / self.looks[0])

    def at_level(self, alpha: float) -> GroupSequentialTest:
        """Return the same test at another error rate."""
        return GroupSequentialTest(
            alpha, looks=self.looks, spending=self.spending, futility=self.futility, one_sided=self.one_sided
        )

    def at_last_look(self) -> GroupSequentialTest:
        """Return the same plan with power for the claim at its last look only."""
        return _LastLook(
            self.alpha, looks=self.looks, spending=self.spending, futility=self.futility, one_sided=self.one_sided
        )

    def _boundaries(self, kind: Kind) -> Boundaries:
        sides: Sides = 2 if kind == "superiority" and not self.one_sided else 1
        bounds = _spent_boundaries(self.alpha, self.looks, self.spending, sides)
        if not self.futility:
            return bounds
        lower = np.maximum(bounds.lower, [*self.futility, -np.inf])
        return replace(bounds, lower=tuple(np.minimum(lower, bounds.upper).tolist()))


class _LastLook(GroupSequentialTest):
    """A plan whose earlier looks spend alpha, and stop for futility, and claim nothing."""

    __slots__ = ()

    def _boundaries(self, kind: Kind) -> Boundaries:
        bounds = super()._boundaries(kind)
        before = len(self.looks) - 1
        lower = self.futility or (-np.inf,) * before
        return replace(bounds, lower=(*lower, bounds.lower[-1]), upper=((np.inf,) * before + bounds.upper[-1:]))
