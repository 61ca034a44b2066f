"""An experiment to repeat: two populations, a split, and when one looks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from abplatform.stats.simulate.populations import Population, Watched
from abplatform.stats.validation import IntArray, whole_counts

CELLS = 200_000
"""Looks (of all repetitions together) that are analysed at once."""
DRAWS = 4_000_000
"""Values drawn between two reports of progress, nearly."""


def equally_spaced(planned_units: int, looks: int) -> IntArray:
    """Return the units at each of ``looks`` looks, the last at ``planned_units``.

    Raises:
        ValueError: naming ``looks`` where it is below 1 or there are more looks than units.

    >>> equally_spaced(1000, 4).tolist()
    [250, 500, 750, 1000]
    """
    if not 1 <= looks <= planned_units:
        raise ValueError(f"looks must be from 1 to planned_units ({planned_units})")
    return np.round(planned_units * np.arange(1, looks + 1) / looks).astype(np.int64)


def every(planned_units: int, step: int) -> IntArray:
    """Return the units at looks that are ``step`` units apart, and a last one at ``planned_units``.

    Raises:
        ValueError: naming ``step`` where it is below 1 or above ``planned_units``.

    >>> every(1000, 300).tolist()
    [300, 600, 900, 1000]
    """
    if not 1 <= step <= planned_units:
        raise ValueError(f"step must be from 1 to planned_units ({planned_units})")
    regular = np.arange(step, planned_units + 1, step, dtype=np.int64)
    return regular if regular[-1] == planned_units else np.append(regular, planned_units)


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """Both arms of a number of repetitions at every look, of shape (repetitions, looks)."""

    treatment: Watched
    control: Watched


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """An experiment with one treatment whose units arrive one after another.

    Args:
        control: what units of the control do.
        treatment: what units of the treatment do.
        schedule: units of both arms at each look, increasing whole numbers; the last is the planned size. A
            read-only copy is kept.
        share: probability that a unit belongs to the treatment, between 0 and 1.

    Raises:
        ValueError: naming the parameter that does not fit.
    """

    control: Population
    treatment: Population
    schedule: IntArray
    share: float = 0.5

    def __post_init__(self) -> None:
        units = whole_counts("schedule", self.schedule)
        if units.ndim != 1 or not units.size or (np.diff(units, prepend=0) <= 0).any():
            raise ValueError("schedule must be increasing numbers of units")
        object.__setattr__(self, "schedule", units)
        if not 0 < self.share < 1:
            raise ValueError("share must lie strictly between 0 and 1")

    @property
    def effect(self) -> float:
        """The true absolute difference."""
        return self.treatment.mean - self.control.mean

    @property
    def block(self) -> int:
        """Repetitions that fit into memory at once."""
        drawn = max(self.control.drawn_share, self.treatment.drawn_share) * int(self.schedule[-1])
        return max(1, min(CELLS // self.schedule.size, int(DRAWS / max(drawn, 1.0))))

    def draw(self, repetitions: int, rng: np.random.Generator) -> Looks:
        """Draw repetitions; every unit is assigned at random, as in production."""
        arrivals = np.broadcast_to(np.diff(self.schedule, prepend=0), (repetitions, self.schedule.size))
        treated = rng.binomial(arrivals, self.share)
        return Looks(self.treatment.watch(treated, rng), self.control.watch(arrivals - treated, rng))
