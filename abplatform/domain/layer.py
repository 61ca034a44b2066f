"""A layer: experiments in it share out its buckets, so that no unit is in two of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from abplatform.assignment import BUCKETS
from abplatform.domain.access import DEFAULT_UNIT_TYPE
from abplatform.domain.checks import Faults
from abplatform.domain.experiment import UNDER_WAY, Experiment, Status
from abplatform.domain.slots import count_slots


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What the author of a layer writes.

    Attributes:
        key: name in this project.
        unit_type: what its experiments randomise.
    """

    key: str
    name: str
    unit_type: str = DEFAULT_UNIT_TYPE
    description: str = ""


def check_layer(layer: Layer) -> None:
    """Refuse a layer that could not be stored or named.

    Raises:
        InvalidInput: naming each field.
    """
    faults = Faults()
    faults.key(layer.key, "key")
    faults.text(layer.name, "name", most=200, least=1)
    faults.unit_type(layer.unit_type, "unit_type")
    faults.text(layer.description, "description")
    faults.raise_any()


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupant:
    """An experiment in a layer.

    Attributes:
        slots: how many of the layer's slots it holds now; none unless it is running, paused or closed.
    """

    experiment: str
    status: Status
    slots: int

    @property
    def share(self) -> float:
        """Share of the layer that it holds."""
        return self.slots / BUCKETS


def find_occupants(key: str, experiments: Iterable[Experiment]) -> tuple[Occupant, ...]:
    """The experiments that name the layer, except archived ones."""
    return tuple(
        Occupant(
            experiment=experiment.key,
            status=experiment.status,
            slots=count_slots(experiment.slots) if experiment.status in UNDER_WAY else 0,
        )
        for experiment in experiments
        if experiment.definition.layer == key and experiment.status != "archived"
    )


def free_share(occupants: Iterable[Occupant]) -> float:
    """Share of a layer that none of its occupants holds."""
    return (BUCKETS - sum(occupant.slots for occupant in occupants)) / BUCKETS
