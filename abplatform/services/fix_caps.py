"""Fix the caps of an experiment's metrics before it starts, from what units were worth until then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.experiment import Experiment, MetricUse, Pin
from abplatform.domain.metric import Metric
from abplatform.errors import InvalidInput
from abplatform.services.aggregate import other_unit_type
from abplatform.storage.session import UnitOfWork
from abplatform.warehouse.lake import Lake


class History(Protocol):
    """The part of an engine that knows what units were worth."""

    def quantile_before(self, lake: Lake, request: AggregationRequest, *, quantile: float) -> Decimal | None:
        """See `engines.Engine`."""


def find_caps(
    uow: UnitOfWork,
    engine: History,
    lake: Lake,
    project: str,
    key: str,
    *,
    now: datetime,
    seal: Callable[[str], object],
) -> Mapping[str, Pin]:
    """The caps of the metrics of a draft whose cap is a quantile, by metric, with the versions that they are of.

    Args:
        uow: where definitions are kept.
        engine: reads the lake.
        lake: holds the events.
        project: key of the project.
        key: key of the experiment; one that has started has its caps.
        now: the start; later events say nothing about before.
        seal: brings what waits into the lake; asked only where something is to be read.

    Raises:
        NotFound: without such an experiment.
        InvalidInput: naming the metric where nobody was worth anything, so that there is nothing to take a quantile of.
        Unavailable: if the lake or the engine does not answer.
    """
    with uow.reading() as work:
        experiment = work.experiments.get(project, key)
        owner = work.projects.get(project)
        stored = [work.metrics.get(project, use.metric) for use in _uses(experiment)]
    if any(_needs_history(each.metric) for each in stored):
        seal(project)
    caps, missing = dict[str, Pin](), dict[str, list[str]]()
    for position, (metric, version) in enumerate((each.metric, each.version) for each in stored):
        if metric.cap is None or metric.cap.quantile is None:
            continue
        request = AggregationRequest(
            project=project,
            experiment=key,
            phase=1,
            variants=(),
            metrics=(metric,),
            as_of=now,
            unit_type=other_unit_type(owner, experiment),
            time_zone=owner.time_zone,
            state=lake.state(project),
        )
        cap = engine.quantile_before(lake, request, quantile=metric.cap.quantile)
        if cap is None or cap <= 0:
            missing[f"metrics.{position}.metric"] = [_nothing(metric)]
        else:
            caps[metric.key] = Pin(version, cap)
    if missing:
        raise InvalidInput(missing)
    return caps


def _uses(experiment: Experiment) -> tuple[MetricUse, ...]:
    return experiment.definition.metrics if experiment.status == "draft" else ()


def _needs_history(metric: Metric) -> bool:
    return metric.cap is not None and metric.cap.quantile is not None


def _nothing(metric: Metric) -> str:
    return (
        f"the cap of {metric.key!r} is a quantile of what units were worth before the start, and there is nothing: "
        "import history (abplatform import-events), or give its cap a value"
    )
