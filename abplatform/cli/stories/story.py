"""What a story is: an experiment, customers who are simulated, and the truth that is planted in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from abplatform.domain.experiment import ExperimentDefinition
from abplatform.domain.metric import Metric

if TYPE_CHECKING:
    from abplatform.bootstrap import Platform

CONTROL, TREATMENT = "control", "treatment"

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """Customers, in the order of their ids.

    Attributes:
        ids: of the customers; each story has its own, so that several can share a home.
        arrival: when each meets the experiment, in days from its start.
        attributes: what the product knows of each.
        units: ids of other unit types, such as the circle of friends of each.
    """

    ids: Sequence[str]
    arrival: Floats
    attributes: Mapping[str, Sequence[Scalar]] = field(default_factory=dict)
    units: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deeds:
    """Events of one name.

    Attributes:
        event: its name.
        who: positions in the crowd, one for each event.
        after: days from the arrival of the customer to the event; of a past, from the start.
        value: of each event, in whole cents of a yuan; None for events without a value.
        properties: the same for all of them.
    """

    event: str
    who: Positions
    after: Floats
    value: Positions | None = None
    properties: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A truth that the readout must recover.

    Attributes:
        metric: whose.
        scale: whether ``effect`` is a share of the control's number, or a difference of rates or means.
        effect: of the treatment against the control.
        note: the same in words.
    """

    metric: str
    scale: Literal["relative", "absolute"]
    effect: float
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """An experiment from its idea to its decision.

    Attributes:
        key: of the story and of its experiment.
        title: for people.
        units: how many customers there are unless the user says.
        looks: days after the start on which somebody looks; the last one ends the story.
        metrics: that it needs and that the project may lack.
        define: the experiment for so many planned units.
        gather: draws customers.
        behave: draws what customers do, given who of them gets the treatment.
        planted: the truth.
        compare: another analysis of the same events, beside the first: an experiment whose variants come from that one.
        remember: draws what customers did before the start, whose days are then negative.
        recruit: what the product does with that before the start: the crowd as it knows it then.
        packages: that it needs beside the platform's own.
    """

    key: str
    title: str
    units: int
    looks: tuple[int, ...]
    metrics: tuple[Metric, ...]
    define: Callable[[int], ExperimentDefinition]
    gather: Callable[[np.random.Generator, int], Crowd]
    behave: Callable[[np.random.Generator, Crowd, Mask], Sequence[Deeds]]
    planted: tuple[Planted, ...]
    compare: Callable[[int], ExperimentDefinition] | None = None
    remember: Callable[[np.random.Generator, Crowd], Sequence[Deeds]] | None = None
    recruit: Callable[[Platform, Crowd], Crowd] | None = None
    packages: tuple[str, ...] = ()

    @property
    def days(self) -> int:
        """How long it lasts."""
        return self.looks[-1]

    def define_all(self, units: int) -> tuple[ExperimentDefinition, ...]:
        """Its experiment, and the one beside it."""
        return (self.define(units), *(() if self.compare is None else (self.compare(units),)))


def happens(rng: np.random.Generator, rate: float | Floats, count: int) -> Positions:
    """Who of ``count`` customers does something that each does by chance.

    Args:
        rng: draws.
        rate: the chance of all, or of each.
        count: of customers.
    """
    return np.flatnonzero(rng.random(count) < rate)


def either(treated: Mask, control: float, treatment: float) -> Floats:
    """One number for who gets the treatment, another one for the rest."""
    return np.where(treated, treatment, control)


def name_customers(prefix: str, count: int) -> list[str]:
    """Ids that no other story uses."""
    return [f"{prefix}-{number:06d}" for number in range(count)]
