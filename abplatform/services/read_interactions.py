"""Look for experiments at the same time that change each other's effect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from abplatform.domain.aggregates import Aggregation
from abplatform.domain.arm_cell import ArmCell
from abplatform.domain.experiment import Experiment
from abplatform.domain.interactions import Interactions, count_crossed, cross
from abplatform.domain.phase import judged_definition
from abplatform.errors import NotAnalysable
from abplatform.services.break_down import AggregateSlices
from abplatform.services.choose import Asked, Question, choose
from abplatform.services.choose_others import as_dimension, choose_other, find_others
from abplatform.storage.session import UnitOfWork

AT_ONCE = 10
"""Other experiments that are asked about in one pass over the events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """What to ask about.

    Attributes:
        other: key of one other experiment; None for all that ran at the same time.
        phase: of this experiment; the current one by default. Of the others it is always the current one.
    """

    other: str | None = None
    phase: int | None = None


def read_interactions(
    uow: UnitOfWork, aggregate: AggregateSlices, project: str, key: str, *, crossing: Crossing, now: datetime
) -> Interactions:
    """Check the effect of an experiment for interactions with others. Nothing is recorded, and nothing decided.

    Others are those that `choose_others.find_others` finds.

    Args:
        uow: where definitions are kept.
        aggregate: reduces the experiment's events.
        project: key of the project.
        key: key of the experiment.
        crossing: what to ask about.
        now: decides which windows have closed.

    Raises:
        NotFound: without such an experiment.
        NotAnalysable: before the experiment has started, and of clustered ones.
        InvalidInput: naming ``phase``, or ``with`` where that experiment does not exist or did not run beside it.
    """
    asked = choose(uow, project, key, Question(phase=crossing.phase))
    if asked.experiment.definition.clustered:
        raise NotAnalysable("interactions of clustered experiments are not supported yet")
    with uow.reading() as work:
        everything = work.experiments.all(project)
    others = (
        find_others(asked.experiment, everything)
        if crossing.other is None
        else [choose_other(asked.experiment, everything, crossing.other, field="with")]
    )
    definition = judged_definition(asked.experiment)
    aggregation = _aggregate(asked, aggregate, others)
    by_key = {other.key: other.definition for other in others}
    return Interactions(
        experiment=key,
        phase=asked.experiment.phase,
        alpha=definition.plan.alpha,
        computed_at=now,
        data_through=None if aggregation is None else aggregation.data_through,
        experiments=tuple(
            count_crossed(definition, other.definition, other.phase, _of_one_metric(aggregation, other.key))
            for other in others
        ),
        interactions=() if aggregation is None else cross(definition, asked.metrics, by_key, aggregation),
    )


def _aggregate(asked: Asked, aggregate: AggregateSlices, others: Sequence[Experiment]) -> Aggregation | None:
    """Cells of all others, a few at a time; None without others."""
    found: Aggregation | None = None
    for position in range(0, len(others), AT_ONCE):
        dimensions = [as_dimension(other, name=other.key) for other in others[position : position + AT_ONCE]]
        part = aggregate(asked.experiment, asked.metrics, dimensions)
        found = part if found is None else replace(found, slices={**found.slices, **part.slices})
    return found


def _of_one_metric(aggregation: Aggregation | None, other: str) -> list[ArmCell]:
    cells = () if aggregation is None else aggregation.slices[other]
    return [cell for cell in cells if cell.name == cells[0].name]
