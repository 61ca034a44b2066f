"""Break results down by slices of units, and search for slices in which the effect differs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from abplatform.domain.aggregates import Aggregation
from abplatform.domain.breakdown import Breakdown, Differences, break_down, find_differences
from abplatform.domain.dimension import PERIODS, Dimension
from abplatform.domain.experiment import Experiment
from abplatform.domain.metric import Metric
from abplatform.domain.phase import judged_definition
from abplatform.domain.suggestions import Suggestions
from abplatform.errors import InvalidInput
from abplatform.services.choose import Question, choose, watchable_method
from abplatform.storage.session import UnitOfWork

AggregateSlices = Callable[[Experiment, Sequence[Metric], Sequence[Dimension]], Aggregation]
"""Reduces the events of an experiment, by slices of dimensions."""


def read_breakdown(
    uow: UnitOfWork, aggregate: AggregateSlices, project: str, key: str, *, by: str, question: Question, now: datetime
) -> Breakdown:
    """The results of a phase of an experiment by the slices of one dimension.

    Args:
        uow: where definitions are kept.
        aggregate: reduces the experiment's events.
        project: key of the project.
        key: key of the experiment.
        by: one of its dimensions, or of `PERIODS`.
        question: what to see; without a method one that may be watched.
        now: decides which windows have closed.

    Raises:
        NotFound: without such an experiment.
        NotAnalysable: before the experiment has started.
        InvalidInput: naming a part of the question that does not fit the experiment, or ``by``.
    """
    asked = choose(uow, project, key, question)
    definition, method = judged_definition(asked.experiment), watchable_method(asked, question)
    dimension = _find_dimension(by, definition.dimensions)
    aggregation = aggregate(asked.experiment, asked.metrics, [dimension])
    metrics = break_down(definition, asked.metrics, aggregation, dimension=by, method=method)
    differences = find_differences(definition, asked.metrics, aggregation)
    return Breakdown(
        experiment=key,
        phase=asked.experiment.phase,
        by=by,
        method=method,
        alpha=definition.plan.alpha,
        computed_at=now,
        data_through=aggregation.data_through,
        metrics=tuple(each for each in metrics if question.metric in {None, each.metric}),
        differences=tuple(each for each in differences if question.metric in {None, each.metric}),
    )


def search_differences(
    uow: UnitOfWork, aggregate: AggregateSlices, project: str, key: str, *, phase: int | None, now: datetime
) -> Differences:
    """Whether the effect on any metric differs between the slices of any dimension of an experiment.

    Args:
        uow, aggregate, project, key, now: see `read_breakdown`.
        phase: any that the experiment has had; the current one by default.

    Raises:
        NotFound: without such an experiment.
        NotAnalysable: before the experiment has started, or if it has no dimensions.
        InvalidInput: naming ``phase``.
    """
    asked = choose(uow, project, key, Question(phase=phase))
    definition = judged_definition(asked.experiment)
    dimensions = [Dimension(name=name) for name in definition.dimensions]
    aggregation = aggregate(asked.experiment, asked.metrics, dimensions)
    found = find_differences(definition, asked.metrics, aggregation)
    return Differences(
        experiment=key,
        phase=asked.experiment.phase,
        alpha=definition.plan.alpha,
        computed_at=now,
        data_through=aggregation.data_through,
        differences=tuple(sorted(found, key=lambda each: (not each.found, each.p_value is None, each.p_value or 0.0))),
    )


def _find_dimension(by: str, declared: Sequence[str]) -> Dimension:
    if by in declared:
        return Dimension(name=by)
    if by in PERIODS:
        return Dimension(name=by, period=PERIODS[by])
    options = (*declared, *PERIODS)
    hint = Suggestions().suggest(by, options)
    raise InvalidInput({"by": [f"must be one of {', '.join(options)}{hint}"]})
