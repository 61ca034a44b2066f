"""Decide who can be in an experiment: slots of its layer, and the holdouts that cover it.

The caller holds the project's lock, so that two experiments of one layer never take the same slot.
"""

from __future__ import annotations

from abplatform.assignment import BUCKETS
from abplatform.domain.experiment import UNDER_WAY, Experiment, ExperimentDefinition
from abplatform.domain.life import Enrolment
from abplatform.domain.slots import Ranges, count_slots, free_slots, join_slots, take_slots, wanted_slots
from abplatform.errors import InvalidInput, LayerFull
from abplatform.storage.session import Work


def enrol(work: Work, project: str, experiment: Experiment) -> Enrolment:
    """What a starting experiment gets: the lowest free slots of its layer, and the active holdouts, oldest first.

    An external experiment gets none of them: it is not served here.

    Raises:
        LayerFull: its layer has too few free slots.
    """
    definition = experiment.definition
    if definition.assignment == "external":
        return Enrolment(layer_salt=experiment.layer_salt, slots=(), holdouts=())
    layer_salt = experiment.layer_salt
    if definition.layer is not None:
        layer_salt = work.layers.get(project, definition.layer).salt
    return Enrolment(
        layer_salt=layer_salt,
        slots=lay_slots(work, project, definition),
        holdouts=_covering(work, project, definition),
    )


def lay_slots(work: Work, project: str, definition: ExperimentDefinition) -> Ranges:
    """The lowest slots that an experiment can have for its coverage; those that it holds itself count as free.

    Raises:
        LayerFull: its layer has too few free slots.
    """
    return _take(definition, free_slots(_held_by_others(work, project, definition)), wanted_slots(definition.coverage))


def append_slots(work: Work, project: str, experiment: Experiment, coverage: float) -> Ranges:
    """The slots of an experiment and the lowest free ones, up to a larger coverage.

    Raises:
        InvalidInput: naming ``coverage``, which adds nothing.
        LayerFull: its layer has too few free slots.
    """
    definition = experiment.definition
    more = wanted_slots(coverage) - count_slots(experiment.slots)
    if more <= 0:
        raise InvalidInput({"coverage": [f"must be above {definition.coverage:g}, which it is now: it only grows"]})
    free = free_slots((*experiment.slots, *_held_by_others(work, project, definition)))
    return join_slots((*experiment.slots, *_take(definition, free, more)))


def _held_by_others(work: Work, project: str, definition: ExperimentDefinition) -> Ranges:
    """The slots of its layer that other experiments hold; nobody is with it in a layer of its own."""
    if definition.layer is None:
        return ()
    neighbours = (each for each in work.experiments.all(project) if each.definition.layer == definition.layer)
    under_way = (each for each in neighbours if each.status in UNDER_WAY and each.key != definition.key)
    return tuple(slot for each in under_way for slot in each.slots)


def _take(definition: ExperimentDefinition, free: Ranges, count: int) -> Ranges:
    try:
        return take_slots(free, count)
    except ValueError:
        raise LayerFull(
            f"{definition.key} needs {count} more slots of the layer {definition.layer}, which has "
            f"{count_slots(free)} of {BUCKETS} free; lower the coverage, or wait until another experiment stops"
        ) from None


def _covering(work: Work, project: str, definition: ExperimentDefinition) -> tuple[str, ...]:
    active = [stored for stored in work.holdouts.all(project) if stored.ended_at is None]
    covering = [stored for stored in active if stored.holdout.covers(definition.unit_type, definition.layer)]
    return tuple(stored.key for stored in sorted(covering, key=lambda stored: (stored.created_at, stored.key)))
