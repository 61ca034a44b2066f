"""What a look rests on, as one name: while it is the same, so is the look."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, cast

import msgspec

from abplatform.domain.aggregates import Aggregation
from abplatform.domain.arm_cell import ArmCell
from abplatform.domain.experiment import Experiment, MetricUse
from abplatform.domain.metric import Metric
from abplatform.domain.plan import AnalysisPlan

_COUNTS_OF_CLUSTERS = ("cluster_nonzero", "cluster_short")
_LATER_OF_CELLS = ("m3", "uncapped", "denominator", "steps", "below", "lifetimes", "watch", *_COUNTS_OF_CLUSTERS)
"""Fields of cells that looks of earlier versions did not have: their names must not change by them."""
_LATER_OF_METRICS = {
    name: value
    for name, value in msgspec.to_builtins(Metric(key="", name="", kind="sum")).items()
    if name not in {"key", "name", "kind", "event", "where", "direction", "window", "cuped_lookback"}
}


def fingerprint(experiment: Experiment, metrics: Sequence[Metric], aggregation: Aggregation) -> str:
    """Names what a look rests on: definition (but for its texts), state and data.

    A ramp changes who will be in, not what was found; and what becomes of an experiment after a phase has ended is no
    news of that phase. Without CUPED nothing about it is in the name: looks from before there was any are known again.

    Args:
        experiment: as it was in the phase.
        metrics: that it uses.
        aggregation: what an engine found.
    """
    covariates = [replace(cell, total=Decimal(0)) for cell in aggregation.covariates]  # their sums are doubles too
    cells = [_rounded(cell) for cell in (*aggregation.cells, *covariates)]
    counts = msgspec.to_builtins(replace(aggregation, cells=(), covariates=(), data_through=None))
    # Those who come back change nothing; days and slices say nothing new.
    del counts["earlier_phase_units"], counts["days"], counts["slices"]
    uses = tuple(map(_without_version, experiment.definition.metrics))
    plan = _without_clusters(experiment.definition.plan)
    definition = replace(experiment.definition, name="", hypothesis="", coverage=1.0, metrics=uses, plan=plan)
    status = experiment.status if experiment.phase_ended_at is None else None
    judged = [_judged(metric, cuped=definition.plan.cuped) for metric in metrics]
    content = (definition, status, judged, counts, cells)
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()


def _without_version(use: MetricUse) -> MetricUse:
    """A use as it was written before metrics had versions; what the pinned one says is in the name by itself."""
    return replace(use, version=cast("None", msgspec.UNSET), cap=cast("None", msgspec.UNSET))


def _without_clusters(plan: AnalysisPlan) -> AnalysisPlan:
    """A plan as it was written before clusters were planned, if none are."""
    return replace(plan, planned_clusters=plan.planned_clusters or cast("None", msgspec.UNSET))


def _rounded(cell: ArmCell) -> dict[str, Any]:
    """A cell whose moments have nine digits; counts and sums stay exact.

    An engine adds doubles in whatever order its threads finish.
    """
    # What is left out here changes with the moments that are in.
    fields: dict[str, Any] = msgspec.to_builtins(replace(cell, m3=None, cluster_nonzero=None, cluster_short=None))
    if fields["watch"] is not None:
        fields["watch"] = {name: value for name, value in fields["watch"].items() if value is not None}
    for name in _LATER_OF_CELLS:
        if fields[name] is None:
            del fields[name]
    if cell.before_m2 is None or cell.before_c is None:
        del fields["before_mean"], fields["before_m2"], fields["before_c"]
    else:
        # A product near 0 is a difference of large numbers: nine places of the correlation.
        size = math.sqrt(cell.m2) * math.sqrt(cell.before_m2)
        fields["before_c"] = round(cell.before_c / size, 9) + 0.0 if size else 0.0
    return {name: _nine_digits(value) for name, value in fields.items()}


def _nine_digits(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.9g}"
    if isinstance(value, dict):
        return {name: _nine_digits(part) for name, part in value.items()}
    return [_nine_digits(part) for part in value] if isinstance(value, list) else value


def _judged(metric: Metric, *, cuped: bool) -> msgspec.Raw:
    """What a metric is, in the order of its fields; what was not asked for before there was any is not in it."""
    fields = msgspec.to_builtins(replace(metric, description=""))
    if not cuped:
        del fields["cuped_lookback"]
    fields["where"] = dict(sorted(fields["where"].items()))
    if fields["window"] is not None and not fields["window"]["calendar"]:
        del fields["window"]["calendar"]
    for name, default in _LATER_OF_METRICS.items():
        if fields[name] == default:
            del fields[name]
    return msgspec.Raw(msgspec.json.encode(fields))
