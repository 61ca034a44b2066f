"""Two rates with beta priors: their posteriors on the cells that say more than the prior."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from abplatform.stats.bayes.beta import Beta
from abplatform.stats.bayes.priors import BetaPrior
from abplatform.stats.effects import difference
from abplatform.stats.results import Codes, NotComputable, reason_code
from abplatform.stats.sufficient import ProportionStats
from abplatform.stats.validation import BoolArray, FloatArray, instance_of, same_grid


@dataclass(frozen=True, slots=True, eq=False)
class RatePair:
    """Posteriors of treatment and control, along one axis, of the cells of a grid that have one.

    ``reasons`` and ``lift_reasons`` hold codes over the grid, 0 where there is an answer.
    """

    treatment: Beta
    control: Beta
    reasons: Codes
    lift_reasons: Codes

    @classmethod
    def of(
        cls, treatment: ProportionStats, control: ProportionStats, prior: BetaPrior, **asked: FloatArray
    ) -> RatePair:
        """Apply the prior to both arms.

        Args:
            treatment, control: counts, broadcast against each other, the prior and what is asked.
            prior: prior of each rate.
            asked: whatever else is given per cell, by the name of its parameter.

        Raises:
            ValueError: naming an arm that is not ``ProportionStats``, a prior that is not a ``BetaPrior``, or
                shapes that do not broadcast.
        """
        for name, arm in (("treatment", treatment), ("control", control)):
            if not isinstance(arm, ProportionStats):
                raise ValueError(f"{name} must be ProportionStats")
        instance_of("prior", prior, BetaPrior, "BetaPrior(1, 1)")
        reasons, lift_reasons = _reasons(treatment, control)
        shape = same_grid(arms=reasons, prior=prior.successes + prior.failures, **asked)
        reasons, lift_reasons = np.broadcast_to(reasons, shape), np.broadcast_to(lift_reasons, shape)
        first, second = (_posterior(arm, prior, reasons == 0) for arm in (treatment, control))
        return cls(first, second, reasons, lift_reasons)

    @property
    def with_lift(self) -> BoolArray:
        """Which of the posteriors have a relative lift."""
        return np.asarray(self.lift_reasons[self.reasons == 0] == 0)

    def spread(self, values: FloatArray) -> FloatArray:
        """Put one value per posterior back on the grid, NaN elsewhere."""
        return _spread(values, self.reasons)

    def spread_lift(self, values: FloatArray) -> FloatArray:
        """Put one value per posterior with a lift back on the grid, NaN elsewhere."""
        return _spread(values, self.lift_reasons)

    def pick(self, values: ArrayLike) -> FloatArray:
        """Return the values of the cells that have posteriors, of something asked over the grid."""
        grid = np.broadcast_to(np.asarray(values, dtype=np.float64), self.reasons.shape)
        return np.asarray(grid[self.reasons == 0])


def _reasons(treatment: ProportionStats, control: ProportionStats) -> tuple[Codes, Codes]:
    """Return why a cell shows nothing but the prior; two arms without variance that differ are fine."""
    diff, both = difference(treatment, control), treatment + control
    told_apart = (both.successes > 0) & (both.successes < both.n)
    zero_variance = diff.reasons == reason_code(NotComputable.ZERO_VARIANCE)
    reasons = np.where(zero_variance & told_apart, 0, diff.reasons).astype(np.int8)
    no_lift = (reasons == 0) & (diff.control == 0)
    return reasons, np.where(no_lift, reason_code(NotComputable.ZERO_CONTROL), reasons).astype(np.int8)


def _posterior(arm: ProportionStats, prior: BetaPrior, usable: BoolArray) -> Beta:
    successes = prior.successes + arm.successes
    failures = prior.failures + (arm.n - arm.successes)
    return Beta.of(*(np.broadcast_to(part, usable.shape)[usable] for part in (successes, failures)))


def _spread(values: FloatArray, reasons: Codes) -> FloatArray:
    grid = np.full(reasons.shape, np.nan)
    grid[reasons == 0] = values
    return grid
