"""What everything that was shipped did together: units without a holdout against those that it holds out.

The field names are the public format (``GET /holdouts/{key}/results``). Nothing here decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from abplatform.assignment import BUCKETS
from abplatform.domain.events import HELD_OUT, OPEN, name_holdout
from abplatform.domain.experiment import ExperimentDefinition, MetricUse, Variant
from abplatform.domain.holdout import Holdout
from abplatform.domain.plan import AnalysisPlan, Method
from abplatform.domain.scorecard import Interval, MetricResult, Scorecard
from abplatform.domain.soundness import Health

ALPHA = 0.05
TUNED_TO = 1_000_000
"""Units of both groups at which confidence sequences are narrowest; fixed, since data must not choose it."""
NOBODY = "No unit was checked against the holdout yet: exposures of holdouts are sent by the SDKs, see docs/sdk.md."


@dataclass(frozen=True, slots=True, kw_only=True)
class PartEstimate:
    """What an experiment found of the variant that it shipped, on one metric.

    Attributes:
        metric: key of the metric.
        look: which look, of the phase that was shipped from: the one that the decision names, else the last one.
        absolute, relative, interval_kind: as in a scorecard, by the experiment's own plan.
    """

    metric: str
    look: int
    absolute: Interval
    relative: Interval
    interval_kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippedPart:
    """A variant that was shipped while the holdout was active, to all but those held out.

    Attributes:
        estimates: of the metrics asked for, those that the experiment had measured.
    """

    experiment: str
    variant: str
    shipped_at: datetime
    estimates: tuple[PartEstimate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartsSum:
    """The sum of the parts on one metric, to be compared with the whole.

    Attributes:
        relative: sum of the relative effects that the shipped parts had found; null if none had.
        measured: how many parts have such an estimate.
        not_measured: how many have none, and are missing from the sum.
    """

    metric: str
    relative: float | None
    measured: int
    not_measured: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldoutResults:
    """A holdout read out.

    Attributes:
        share: of the units that are held out.
        alpha: of the intervals.
        since: exposures count from here on, and until ``ended_at`` if there is one.
        health: of the data, as in a scorecard.
        metrics: ``open`` against the control ``held_out``, as in a scorecard; ``adjusted_p_value`` and the verdict hold
            over all metrics asked for (false discovery rate).
        shipped: in the order of shipping.
        sums: one per metric.
    """

    holdout: str
    name: str
    unit_type: str
    share: float
    method: str
    alpha: float
    since: datetime
    ended_at: datetime | None
    computed_at: datetime
    data_through: datetime | None
    health: Health
    metrics: tuple[MetricResult, ...]
    shipped: tuple[ShippedPart, ...]
    sums: tuple[PartsSum, ...]


def as_definition(holdout: Holdout, metrics: Sequence[str], method: Method) -> ExperimentDefinition:
    """A holdout as something that can be scored like an experiment: ``open`` against ``held_out``.

    Metrics are secondary: there is no decision, and no margin to keep.
    """
    low, high = holdout.buckets
    return ExperimentDefinition(
        key=name_holdout(holdout.key),
        name=holdout.name,
        variants=(Variant(key=HELD_OUT, weight=high - low), Variant(key=OPEN, weight=BUCKETS - (high - low))),
        control=HELD_OUT,
        metrics=tuple(MetricUse(metric=metric) for metric in metrics),
        plan=AnalysisPlan(method=method, alpha=ALPHA, planned_units=TUNED_TO),
        unit_type=holdout.unit_type,
    )


def read_part(scorecard: Scorecard | None, variant: str, metrics: Sequence[str]) -> Iterator[PartEstimate]:
    """What a look found of a variant on some metrics; nothing where there was no look, or it could not be computed."""
    if scorecard is None:
        return
    by_key = {result.metric: result for result in scorecard.metrics}
    for metric in metrics:
        comparisons = by_key[metric].comparisons if metric in by_key else ()
        for comparison in comparisons:
            if comparison.variant == variant and comparison.absolute.estimate is not None:
                yield PartEstimate(
                    metric=metric,
                    look=scorecard.look,
                    absolute=comparison.absolute,
                    relative=comparison.relative,
                    interval_kind=comparison.interval_kind,
                )


def sum_parts(shipped: Sequence[ShippedPart], metric: str) -> PartsSum:
    """The sum of the relative effects of all parts on one metric."""
    effects = [
        each.relative.estimate
        for part in shipped
        for each in part.estimates
        if each.metric == metric and each.relative.estimate is not None
    ]
    return PartsSum(
        metric=metric,
        relative=sum(effects) if effects else None,
        measured=len(effects),
        not_measured=len(shipped) - len(effects),
    )
