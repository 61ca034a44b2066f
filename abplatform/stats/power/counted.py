"""Power of the exact test of a margin on rates, from counts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from abplatform.stats.power.baseline import Baseline
from abplatform.stats.power.critical_counts import CountDesign, claim_chance
from abplatform.stats.power.evidence import Evidence, ExpectedRates
from abplatform.stats.power.goal import round_up
from abplatform.stats.validation import FloatArray, probability


@dataclass(frozen=True, slots=True)
class CountTest:
    """Non-inferiority of a rate by its exact e-process (``sequential.count_non_inferiority``), tuned to the plan.

    The test of every guardrail that is a rate. Power is that of the claim at the planned units themselves, exact over
    the binomial counts of both arms, however rare the outcome; looks on the way add to it (a dashboard that is always
    open finds up to .1 more). Counts are whole, so that power falls a little between the sizes at which one more
    bad outcome is forgiven: by about .002 at 25 outcomes per arm, and less with more of them.

    Args:
        alpha: one-sided error rate over all looks, below 0.5.
        base_rate: rate of the control that the test is told to expect, between 0 and 1. None as guardrails of an
            experiment are judged, which takes a fifth more units.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> from abplatform.stats import Margin
    >>> from abplatform.stats.power import Goal, required_units
    >>> goal = Goal.non_inferiority(Margin(0.001), direction="decrease")
    >>> required_units(Baseline.rate(0.001), goal, test=CountTest()).cell().total
    63086
    >>> required_units(Baseline.rate(0.001), goal, test=CountTest(base_rate=0.001)).cell().total
    53922
    """

    method: ClassVar[str] = "count_e_process"
    exact: ClassVar[bool] = True
    assumptions: ClassVar[tuple[str, ...]] = (
        "read at the planned units; looks on the way add power",
        "the test is tuned to the planned units and to the planned shares of the arms",
        "units behave as in history, independently of each other",
    )

    alpha: float = 0.05
    base_rate: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        probability("alpha", self.alpha, below=0.5)
        if self.base_rate is not None:
            probability("base_rate", self.base_rate)

    def power(self, evidence: Evidence) -> FloatArray:
        """Return the probability of the claim at the planned units, arms rounded up to whole ones.

        Raises:
            ValueError: naming ``goal`` when it is not non-inferiority, ``baseline`` when it is not of plain rates.
        """
        if evidence.kind != "non_inferiority":
            raise ValueError(f"goal must be non_inferiority for CountTest, not {evidence.kind}")
        rates = evidence.rates
        if rates is None:
            raise ValueError(
                "baseline must be a rate for CountTest; plan guardrails on other metrics with SequenceTest"
            )
        if (rates.inflation != 1).any():
            raise ValueError(
                "baseline must have no variance_factor and no clustering for CountTest, which counts units"
            )
        grid = np.broadcast_arrays(
            round_up(rates.treatment_units), round_up(rates.control_units), rates.treatment, rates.control, rates.margin
        )
        return np.array(
            [self._chance(rates, *cell) for cell in zip(*(part.flat for part in grid), strict=True)]
        ).reshape(grid[0].shape)

    def expected_share(self, evidence: Evidence) -> FloatArray:
        """There is no early stop: it is read with all other verdicts, at the planned units."""
        return np.ones(evidence.near.shape)

    def least_units(self, baseline: Baseline) -> FloatArray:  # noqa: ARG002 - the guard of other methods needs it
        """Counts may speak from the first unit on."""
        return np.asarray(1.0)

    def at_level(self, alpha: float) -> CountTest:
        """Return the same test at another error rate."""
        return replace(self, alpha=alpha)

    def at_last_look(self) -> CountTest:
        """It is read at the planned size only."""
        return self

    def _chance(self, rates: ExpectedRates, treatment_units: float, control_units: float, *truth: float) -> float:
        treatment, control, margin = (float(value) for value in truth)
        if not (np.isfinite(treatment_units + control_units + margin) and 0 <= treatment <= 1 and 0 < control < 1):
            return np.nan
        design = CountDesign(
            treatment_units=int(treatment_units),
            control_units=int(control_units),
            share=rates.share,
            margin=margin,
            relative=rates.relative,
            direction=rates.direction,
            alpha=self.alpha,
            base_rate=self.base_rate,
        )
        return claim_chance(design, treatment, control)
