"""A scorecard: everything that one look at an experiment found, as data.

The field names are the public result format (``GET /experiments/{key}/results``). A null bound is unbounded or
not computed; ``not_computable`` says which. Readers ignore fields that they do not know.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from abplatform.domain.experiment import DecisionRecord
from abplatform.domain.maturity import LateOutcome, Maturity
from abplatform.domain.soundness import Health

Verdict = Literal["better", "worse", "non_inferior", "inconclusive", "not_computable"]
Recommendation = Literal["ship", "roll_back", "continue", "inconclusive", "invalid"]
IntervalKind = Literal["fixed", "confidence_sequence", "repeated", "credible"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate with its bounds; a null bound is unbounded."""

    estimate: float | None
    lower: float | None
    upper: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """How much worse a guardrail may be: as defined, and on the absolute scale of this look."""

    relative: float | None
    absolute: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FunnelStep:
    """How many units of a variant came how far.

    Attributes:
        event: of the step.
        units: that took it and all steps before, in order.
        rate: share of the analysed units.
        rate_of_previous: share of those who took the step before; for description.
    """

    event: str
    units: int
    rate: float | None
    rate_of_previous: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepComparison:
    """One step of a funnel in one treatment against the control: the share of analysed units that took it.

    Attributes:
        absolute, relative, p_value: as in `ComparisonResult`; not adjusted for the number of steps.
    """

    event: str
    absolute: Interval
    relative: Interval
    p_value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantResult:
    """One metric in one variant.

    Attributes:
        units: analysed units.
        open_units: units that are not in yet, since their window is still open.
        open_share: of the variant's units; null without any, and in looks from before it was told.
        sum: exact sum of the values, as decimal text.
        mean, sd: per unit.
        value: what is compared, where that is not the mean: the ratio of two sums, a quantile, a time in seconds.
        denominator_sum: of a ratio: exact sum below the line, as decimal text.
        clusters: randomised clusters, where they are not the units.
        uncapped_mean: of a capped metric: per unit, of the values as they are.
        steps: of a funnel. Of times to an event, ``sum``, ``mean`` and ``sd`` are of those who got there.
    """

    variant: str
    units: int
    open_units: int
    sum: str
    mean: float | None
    sd: float | None
    value: float | None = None
    denominator_sum: str | None = None
    clusters: int | None = None
    uncapped_mean: float | None = None
    steps: tuple[FunnelStep, ...] | None = None
    open_share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonResult:
    """One metric of one treatment against the control.

    Attributes:
        absolute, relative, p_value: at the experiment's alpha, not adjusted for the number of comparisons.
        simultaneous: the absolute interval that holds for all primaries and treatments together.
        adjusted_p_value: Bonferroni for primaries, Benjamini-Hochberg for secondaries; with ``simultaneous`` it
            gives the verdict.
        chance_to_win: posterior probability that the treatment is better, in the metric's direction.
        expected_loss: posterior mean of what is lost by choosing the treatment, on the absolute scale.
        probability_worse_than_margin: posterior probability of harm beyond a guardrail's margin.
        information_fraction: share of the planned units that are in.
        information_fractions: of a group sequential plan: the same at all looks that tested, this one last.
        boundary: of a group sequential plan: how many standard errors decide at this look.
        variance_reduction: of a plan with CUPED: the share of the variance of the difference that adjusting for what
            units did before took away (below 0 if it added some); null where nothing is adjusted. The variants' means
            are those of the data, whatever this is.
        steps: of a funnel.
        not_computable: why there are no numbers, or null.
    """

    variant: str
    control: str
    absolute: Interval
    relative: Interval
    interval_kind: IntervalKind
    p_value: float | None
    adjusted_p_value: float | None
    holm_p_value: float | None = None
    simultaneous: Interval | None = None
    chance_to_win: float | None = None
    expected_loss: float | None = None
    margin: Margin | None = None
    probability_worse_than_margin: float | None = None
    information_fraction: float | None = None
    information_fractions: tuple[float, ...] | None = None
    boundary: float | None = None
    variance_reduction: float | None = None
    steps: tuple[StepComparison, ...] | None = None
    exploratory: bool = False
    verdict: Verdict
    not_computable: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricResult:
    """One metric in all variants.

    Attributes:
        maturity: how far its windows have closed; null in looks from before it was told.
        outcome: what it is an early sign of, or null.
        version: of the metric, which the start pinned; null in looks from before it was told.
        newer_version: the newest version of the metric, where that is a later one; null where it is this one, and in
            looks as they were recorded.
    """

    metric: str
    kind: str
    role: str
    direction: str
    always_valid: bool
    variants: tuple[VariantResult, ...]
    comparisons: tuple[ComparisonResult, ...]
    maturity: Maturity | None = None
    outcome: LateOutcome | None = None
    version: int | None = None
    newer_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the plan recommends, and why.

    Attributes:
        variant: that ships, or to which to roll back; with ``awaits`` the one that waits.
        awaits: late outcomes that nobody knows yet, while ``variant`` would ship by everything else.
    """

    recommendation: Recommendation
    variant: str | None
    reasons: tuple[str, ...]
    awaits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CutOff:
    """What a look was computed from, so that it can be computed again.

    Attributes:
        exposures, conversions: number of the state of each table of the lake, as text since such numbers pass 2^53;
            null where there was nothing in the table.
        as_of: decided which windows had closed.
        engine: name and version of what read the lake.
        version: of this program.
    """

    exposures: str | None
    conversions: str | None
    as_of: datetime
    engine: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Staleness:
    """Why a scorecard is not of now: a newer one cannot be had, and the latest look that was recorded stands in.

    Attributes:
        since: when that look was computed; nothing that came later is in it.
        reason: what does not work.
    """

    since: datetime
    reason: str

    @property
    def warning(self) -> str:
        """The same as a sentence for people."""
        since = f"{self.since:%Y-%m-%d %H:%M:%S} UTC"
        return f"Not fresh: nothing that came after {since} is in these results ({self.reason})."


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorecard:
    """One look.

    Attributes:
        look: number of the look within the phase, from 1; 0 where it is not recorded (exploratory).
        computed_at: when; ``data_through``: latest receipt of an event that it has seen.
        preregistered: whether the plan was frozen before the first exposure.
        planned_units, planned_clusters: of the plan, analysed units of all arms, and clusters where it names some (null
            too in looks from before they were told).
        decision: what the plan recommends by the data, whatever people decided.
        phase_ended_at: when the next phase began; null for the phase that is the current one.
        decision_taken: what people decided last about the experiment; null before, and in looks as they were recorded.
        cut_off: what it was computed from; null in looks from before it was recorded.
        stale: set where it is an earlier look, given since a newer one cannot be had; null where it is of now.
    """

    experiment: str
    name: str
    phase: int
    status: str
    method: str
    alpha: float
    planned_units: int
    planned_clusters: int | None = None
    look: int
    computed_at: datetime
    data_through: datetime | None
    preregistered: bool
    health: Health
    metrics: tuple[MetricResult, ...]
    decision: Decision
    phase_ended_at: datetime | None = None
    decision_taken: DecisionRecord | None = None
    cut_off: CutOff | None = None
    stale: Staleness | None = None
