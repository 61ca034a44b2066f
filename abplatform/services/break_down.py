"""Break results down by slices of units, and search for slices in which the effect differs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from abplatform.domain.aggregates import Aggregation
from abplatform.domain.breakdown import Breakdown, break_down
from abplatform.domain.differences import Differences, find_differences
from abplatform.domain.dimension import Dimension
from abplatform.domain.experiment import Experiment
from abplatform.domain.metric import Metric
from abplatform.domain.phase import judged_definition
from abplatform.errors import NotAnalysable
from abplatform.services.choose import Question, choose, watchable_method
from abplatform.services.choose_dimension import choose_dimension
from abplatform.services.choose_others import OTHER_MARK, as_dimension, choose_other
from abplatform.storage.session import UnitOfWork, Work

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
        by: see `choose_dimension`, or ``experiment:KEY``, which is one that ran beside it: see `choose_others`.
        question: what to see; without a method one that may be watched.
        now: decides which windows have closed.

    Raises:
        NotFound: without such an experiment.
        NotAnalysable: before the experiment has started.
        InvalidInput: naming a part of the question that does not fit the experiment, or ``by``.
    """
    asked = choose(uow, project, key, question)
    definition, method = judged_definition(asked.experiment), watchable_method(asked, question)
    with uow.reading() as work:
        dimension = _choose_dimension(work, project, by, asked.experiment)
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
    if not definition.dimensions:
        raise NotAnalysable(f"{key} has no dimensions, so there is nothing to search; slice by exposure_week instead")
    with uow.reading() as work:
        dimensions = [choose_dimension(work, project, name, definition.dimensions) for name in definition.dimensions]
    aggregation = aggregate(asked.experiment, asked.metrics, dimensions)
    found = find_differences(definition, asked.metrics, aggregation)
    return Differences(
        experiment=key,
        phase=asked.experiment.phase,
        alpha=definition.plan.alpha,
        computed_at=now,
        data_through=aggregation.data_through,
        differences=tuple(sorted(found, key=lambda each: 2.0 if each.p_value is None else each.p_value)),
    )


def _choose_dimension(work: Work, project: str, by: str, experiment: Experiment) -> Dimension:
    declared = experiment.definition.dimensions
    if by.startswith(OTHER_MARK) and by not in declared:
        key = by.removeprefix(OTHER_MARK)
        return as_dimension(choose_other(experiment, work.experiments.all(project), key, field="by"), name=by)
    return choose_dimension(work, project, by, declared)
