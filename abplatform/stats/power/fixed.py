"""One look at the planned size: power of the fixed tests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from scipy import special

from abplatform.stats.power.baseline import Baseline
from abplatform.stats.power.evidence import Evidence
from abplatform.stats.power.noncentral import claim_probability
from abplatform.stats.validation import FloatArray, probability


@dataclass(frozen=True, slots=True)
class FixedTest:
    """A single test at the planned size: t for means and ratios, z for rates (``abplatform.stats.fixed``).

    Means: noncentral t with Welch's degrees of freedom at the planned variances. The test has to estimate these,
    which costs it up to .03 of the stated power at 5 units per arm, .006 at 10 and nothing to speak of beyond.
    Rates: normal, with the variance of each arm under the alternative.

    Args:
        alpha: error rate below 0.5, two-sided for superiority and one-sided for margins.
        one_sided: whether superiority is tested one-sided, too.

    Raises:
        ValueError: naming ``alpha`` outside 0 to 0.5.
    """

    method: ClassVar[str] = "fixed"
    exact: ClassVar[bool] = False
    assumptions: ClassVar[tuple[str, ...]] = (
        "one look, at the planned size",
        "units behave as in history",
    )

    alpha: float = 0.05
    one_sided: bool = False

    def __post_init__(self) -> None:
        probability("alpha", self.alpha, below=0.5)

    def power(self, evidence: Evidence) -> FloatArray:
        """Return the power of the t test, or of the z test where degrees of freedom are infinite."""
        # Of two tails only the one in the right direction counts as power.
        tail = self.alpha / 2 if evidence.kind == "superiority" and not self.one_sided else self.alpha
        critical = np.where(
            np.isinf(evidence.freedom),
            -special.ndtri(tail),
            # stdtrit knows no infinite degrees of freedom.
            -special.stdtrit(np.where(np.isinf(evidence.freedom), 1.0, evidence.freedom), tail),
        )
        return claim_probability(evidence.near, evidence.far, critical, evidence.freedom)

    def expected_share(self, evidence: Evidence) -> FloatArray:
        """There is no early stop."""
        return np.ones(evidence.near.shape)

    def least_units(self, baseline: Baseline) -> FloatArray:  # noqa: ARG002 - the guard of other methods needs it
        """A variance needs two units."""
        return np.asarray(2.0)

    def at_level(self, alpha: float) -> FixedTest:
        """Return the same test at another error rate."""
        return replace(self, alpha=alpha)

    def at_last_look(self) -> FixedTest:
        """It is read at the planned size only."""
        return self
