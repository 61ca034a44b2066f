"""Follow an experiment day by day: what looks at the end of each day would have found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from abplatform.domain.aggregates import Aggregation
from abplatform.domain.experiment import Experiment
from abplatform.domain.metric import Metric
from abplatform.domain.phase import judged_definition
from abplatform.domain.timeseries import Timeseries, score_days
from abplatform.services.choose import Question, choose, watchable_method
from abplatform.storage.session import UnitOfWork

AggregateDays = Callable[[Experiment, Sequence[Metric]], Aggregation]
"""Reduces the events of an experiment, day by day."""


def read_timeseries(
    uow: UnitOfWork, aggregate: AggregateDays, project: str, key: str, *, question: Question, now: datetime
) -> Timeseries:
    """The results of a phase of an experiment by day, up to now.

    Args:
        uow: where definitions are kept.
        aggregate: reduces the experiment's events.
        project: key of the project.
        key: key of the experiment.
        question: what to see; without a method the plan's, if that may be watched, else one that may.
        now: the end of the last day, which may not be over.

    Raises:
        NotFound: without such an experiment.
        NotAnalysable: before the experiment has started.
        InvalidInput: naming a part of the question that does not fit the experiment.
    """
    asked = choose(uow, project, key, question)
    definition = judged_definition(asked.experiment)
    method = watchable_method(asked, question)
    aggregation = aggregate(asked.experiment, asked.metrics)
    series = score_days(definition, asked.metrics, aggregation, method=method)
    return Timeseries(
        experiment=key,
        phase=asked.experiment.phase,
        method=method,
        alpha=definition.plan.alpha,
        computed_at=now,
        data_through=aggregation.data_through,
        metrics=tuple(each for each in series if question.metric in {None, each.metric}),
    )
