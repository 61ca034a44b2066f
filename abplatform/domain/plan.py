"""The analysis plan: how an experiment will be judged, fixed before it starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from abplatform.domain.checks import Faults, is_number

Method = Literal["sequential", "group_sequential", "fixed", "bayesian"]
METHODS = ("sequential", "group_sequential", "fixed", "bayesian")
SpendingKind = Literal["obrien_fleming", "pocock"]
SPENDING_KINDS = ("obrien_fleming", "pocock")
MOST_UNITS = 10**12
LEAST_SCALE = 0.0001
MOST_SCALE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """A normal prior on the relative lift, centred on no effect.

    Attributes:
        scale: its standard deviation, as a share: 0.05 says that two of three effects lie within 5%.
    """

    scale: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisPlan:
    """How the decision will be made.

    Attributes:
        method: ``sequential`` (valid at every look), ``group_sequential`` (some looks, the last at ``planned_units``),
            ``fixed`` (one look at ``planned_units``) or ``bayesian``.
        alpha: two-sided level for primary metrics; guardrails use it one-sided.
        power: wanted probability of detecting the minimum detectable effect.
        planned_units: analysed units of all arms together.
        planned_clusters: of clustered experiments that are watched, by their method or by guardrails: analysed clusters
            of all arms together at which sequences are narrowest; None for others.
        cuped: adjust primaries and secondaries for what their units did before the first exposure: the same metric in
            its look-back. Guardrails never are.
        spending: of a group sequential plan: how looks use up alpha, ``obrien_fleming`` (little early, the default) or
            ``pocock`` (about as much at each).
        prior: of a Bayesian plan; without one, the relative ``mde`` of the first primary metric is its scale.
        loss_threshold: of a Bayesian plan: ship when the expected relative loss is below it.
        minimum_units: of a Bayesian plan: no verdict before that many analysed units.
    """

    method: Method = "sequential"
    alpha: float = 0.05
    power: float = 0.8
    planned_units: int
    planned_clusters: int | None = None
    cuped: bool = False
    spending: SpendingKind | None = None
    prior: Prior | None = None
    loss_threshold: float | None = None
    minimum_units: int | None = None

    @property
    def planned_members(self) -> int:
        """What sequences are tuned to: clusters where those were randomised, else units."""
        return self.planned_units if self.planned_clusters is None else self.planned_clusters


def check_plan(plan: AnalysisPlan, faults: Faults) -> None:
    """Note what is wrong with a plan, under ``plan.``."""
    faults.check(plan.method in METHODS, "plan.method", f"must be one of {', '.join(METHODS)}")
    faults.check(_between(plan.alpha, 1e-6, 0.49), "plan.alpha", "must be from 0.000001 to 0.49")
    faults.check(_between(plan.power, 0.01, 0.9999), "plan.power", "must be from 0.01 to 0.9999")
    faults.check(2 <= plan.planned_units <= MOST_UNITS, "plan.planned_units", f"must be from 2 to {MOST_UNITS}")
    if plan.planned_clusters is not None:
        rule = f"must be from 2 to {plan.planned_units}, the planned units, of which each has one"
        faults.check(2 <= plan.planned_clusters <= plan.planned_units, "plan.planned_clusters", rule)
    if plan.spending is not None:
        own = plan.method == "group_sequential"
        faults.check(own, "plan.spending", "belongs to the group_sequential method only")
        known = plan.spending in SPENDING_KINDS
        faults.check(known, "plan.spending", f"must be one of {', '.join(SPENDING_KINDS)}")
    _check_bayesian_fields(plan, faults)


def _check_bayesian_fields(plan: AnalysisPlan, faults: Faults) -> None:
    named = {"prior": plan.prior, "loss_threshold": plan.loss_threshold, "minimum_units": plan.minimum_units}
    if plan.method != "bayesian":
        for name, value in named.items():
            faults.check(value is None, f"plan.{name}", "belongs to the bayesian method only")
        return
    for name in ("loss_threshold", "minimum_units"):
        faults.check(named[name] is not None, f"plan.{name}", "a bayesian plan must name it")
    if plan.prior is not None:
        good = _between(plan.prior.scale, LEAST_SCALE, MOST_SCALE)
        faults.check(good, "plan.prior.scale", f"must be from {LEAST_SCALE} to {MOST_SCALE}")
    if plan.loss_threshold is not None:
        faults.check(_between(plan.loss_threshold, 1e-9, 1), "plan.loss_threshold", "must be from 0.000000001 to 1")
    if plan.minimum_units is not None:
        faults.check(2 <= plan.minimum_units <= MOST_UNITS, "plan.minimum_units", f"must be from 2 to {MOST_UNITS}")


def _between(value: float, low: float, high: float) -> bool:
    return is_number(value) and low <= value <= high
