"""Decide who can be in an experiment: slots of its layer, and the holdouts that cover it.

The caller holds the project's lock, so that two experiments of one layer never take the same slot.
"""

from __future__ import annotations

from collections.abc import Sequence

from abplatform.assignment import BUCKETS, join_slots
from abplatform.domain.experiment import UNDER_WAY, Experiment, ExperimentDefinition
from abplatform.domain.life import Enrolment
from abplatform.domain.slots import Ranges, count_slots, free_slots, take_slots, wanted_slots
from abplatform.errors import InvalidInput, LayerFull
from abplatform.storage.session import Work

_MOST_NAMED = 5


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
    return _take(definition, wanted_slots(definition.coverage), _neighbours(work, project, definition))


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
    taken = _take(definition, more, _neighbours(work, project, definition), held=experiment.slots)
    return join_slots((*experiment.slots, *taken))


def _neighbours(work: Work, project: str, definition: ExperimentDefinition) -> tuple[Experiment, ...]:
    """The other experiments that hold slots of its layer; nobody is with it in a layer of its own."""
    if definition.layer is None:
        return ()
    neighbours = (each for each in work.experiments.all(project) if each.definition.layer == definition.layer)
    return tuple(each for each in neighbours if each.status in UNDER_WAY and each.key != definition.key)


def _take(
    definition: ExperimentDefinition, count: int, neighbours: Sequence[Experiment], *, held: Ranges = ()
) -> Ranges:
    """The lowest ``count`` slots that are neither its neighbours' nor ``held`` by itself."""
    free = free_slots((*held, *(slot for each in neighbours for slot in each.slots)))
    try:
        return take_slots(free, count)
    except ValueError:
        asked = f"{_percent(count)} more" if held else _percent(count)
        room = _percent(count_slots(free))
        raise LayerFull(
            f"{definition.key} asks for {asked} of the layer {definition.layer}, which has {room} free "
            f"({_name_holders(neighbours)}); lower the coverage, or wait until another experiment stops"
        ) from None


def _name_holders(neighbours: Sequence[Experiment]) -> str:
    """Who holds how much of a layer, the largest first."""
    holders = sorted(neighbours, key=lambda each: (-count_slots(each.slots), each.key))
    named = [f"{each.key} holds {_percent(count_slots(each.slots))}" for each in holders[:_MOST_NAMED]]
    if len(holders) > _MOST_NAMED:
        rest = sum(count_slots(each.slots) for each in holders[_MOST_NAMED:])
        named.append(f"{len(holders) - _MOST_NAMED} others hold {_percent(rest)}")
    return ", ".join(named)


def _percent(slots: int) -> str:
    """A number of slots as a share of their layer, exactly: four decimals name each slot."""
    return f"{slots * 100 / BUCKETS:g}%"


def _covering(work: Work, project: str, definition: ExperimentDefinition) -> tuple[str, ...]:
    active = [stored for stored in work.holdouts.all(project) if stored.ended_at is None]
    covering = [stored for stored in active if stored.holdout.covers(definition.unit_type, definition.layer)]
    return tuple(stored.key for stored in sorted(covering, key=lambda stored: (stored.created_at, stored.key)))
