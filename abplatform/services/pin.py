"""Pin the versions of metrics that an experiment is judged by: from its start on they never change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from abplatform.domain.experiment import Experiment, ExperimentDefinition, Pin, pin_metrics
from abplatform.domain.metric import Cap, Metric
from abplatform.errors import Conflict
from abplatform.storage.metrics import StoredMetric
from abplatform.storage.session import Work

FIRST = 1
"""What experiments use that started before metrics had versions."""


def pin_newest(
    work: Work, project: str, definition: ExperimentDefinition, caps: Mapping[str, Pin]
) -> ExperimentDefinition:
    """The definition of an experiment that starts now, with the newest version of each of its metrics.

    Args:
        work: the transaction.
        project: key of the project.
        definition: of the draft.
        caps: what caps by quantile come to, of which versions; see `fix_caps.find_caps`.

    Raises:
        NotFound: the project lacks one of them.
        Conflict: a cap is missing, or of another version.
    """
    return pin_metrics(
        definition, {use.metric: _pin(work.metrics.get(project, use.metric), caps) for use in definition.metrics}
    )


def pin_first(definition: ExperimentDefinition) -> ExperimentDefinition:
    """The definition of an experiment that has started, with the versions that it uses without having said so."""
    return pin_metrics(definition, {use.metric: Pin(FIRST) for use in definition.metrics})


def pinned_metrics(work: Work, project: str, definition: ExperimentDefinition) -> list[Metric]:
    """The metrics that a started experiment is judged by, in declared order.

    Raises:
        NotFound: the project lacks one of them.
    """
    return [
        _capped(work.metrics.get_version(project, use.metric, use.version or FIRST).metric, use.cap)
        for use in definition.metrics
    ]


def uses_version(experiment: Experiment, key: str, version: int) -> bool:
    """Whether an experiment that has started is judged by that version of a metric."""
    if experiment.status == "draft":
        return False
    return any(use.metric == key and (use.version or FIRST) == version for use in experiment.definition.metrics)


def _pin(stored: StoredMetric, caps: Mapping[str, Pin]) -> Pin:
    if stored.metric.cap is None or stored.metric.cap.quantile is None:
        return Pin(stored.version)
    found = caps.get(stored.key)
    if found is None or found.version != stored.version:
        raise Conflict(f"the cap of {stored.key} was not fixed, since the metric has just changed; start again")
    return found


def _capped(metric: Metric, cap: Decimal | None) -> Metric:
    return metric if cap is None else replace(metric, cap=Cap(value=cap))
