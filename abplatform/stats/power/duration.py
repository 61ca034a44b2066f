"""From units to calendar days: when the planned units will have come, and their outcomes with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from abplatform.stats.power.results import Unplannable, first_reason
from abplatform.stats.power.watched import scheduled_fractions
from abplatform.stats.results import Objects
from abplatform.stats.validation import FloatArray, instance_of, non_negative, positive, whole_counts


@dataclass(frozen=True, slots=True, eq=False)
class Traffic:
    """A forecast of *new* units: each is counted on the day it first comes.

    Args:
        new_units: per day, at least 0. A number holds for ever; a series is day by day from the start, and
            nothing is promised after its end.
        share: of these units, those that enter the analysis: the experiment's part of the traffic times
            the exposed part of it; above 0, at most 1.

    Raises:
        ValueError: naming the argument that does not fit.
    """

    new_units: FloatArray
    share: float

    def __init__(self, new_units: ArrayLike, *, share: float = 1.0) -> None:
        daily = non_negative("new_units", new_units)
        if daily.ndim > 1 or not daily.size:
            raise ValueError("new_units must be a number or a series of days")
        if float(positive("share", share)) > 1:
            raise ValueError("share must not exceed 1")
        object.__setattr__(self, "new_units", daily)
        object.__setattr__(self, "share", float(share))

    @property
    def available(self) -> float:
        """Units that the forecast will ever bring into the analysis."""
        if self.new_units.ndim == 0:
            return np.inf if self.new_units > 0 else 0.0
        return float(self.new_units.sum() * self.share)

    @np.errstate(all="ignore")
    def day_of(self, units: FloatArray) -> FloatArray:
        """Return the day, from 1, at whose end so many units have come; NaN where that never happens."""
        # Rounding errors of shares must not cost a day.
        wanted = units * (1 - 1e-12)
        if self.new_units.ndim == 0:
            days = np.ceil(wanted / (self.new_units * self.share))
        else:
            arrived = np.cumsum(self.new_units) * self.share
            days = np.searchsorted(arrived, wanted, side="left") + 1.0
        return np.where(wanted <= self.available, np.maximum(days, 1.0), np.nan)


@dataclass(frozen=True, slots=True, eq=False)
class Duration:
    """Calendar days of a plan; NaN where the forecast never reaches it.

    Attributes:
        days: until all planned outcomes are known: the last unit's day and its window.
        enrolment_days: until the last planned unit has come.
        look_days: for every look along the last axis, the day at which its units have matured.
        available: units that the forecast will ever bring.
        not_plannable: ``NOT_REACHED``, or ``None``.
    """

    days: FloatArray
    enrolment_days: FloatArray
    look_days: FloatArray
    available: float
    not_plannable: Objects


def calendar(
    units: ArrayLike, traffic: Traffic, *, window: ArrayLike = 0, looks: int | Sequence[float] = 1
) -> Duration:
    """Return when planned units have come and matured.

    A unit that comes on day d is judged ``window`` days later; so are the last of a day. With 1,000 units a day
    and a window of 7, the 5,000 of a plan have come by the end of day 5 and are known by the end of day 12.

    Args:
        units: planned units of all arms (``Sizing.total``), any shape; NaN (no plan) has no days.
        traffic: the forecast of what the plan counts (units, or clusters).
        window: whole days until a unit's outcome is complete; broadcast.
        looks: how many equally spaced looks, or their shares of the plan.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> when = calendar(5000, Traffic(1000), window=7, looks=2)
    >>> float(when.days), when.look_days.tolist()
    (12.0, [10.0, 12.0])
    >>> calendar(5000, Traffic([1000, 800, 500]), window=7).not_plannable.item()
    <Unplannable.NOT_REACHED: 'NOT_REACHED'>
    """
    instance_of("traffic", traffic, Traffic, "Traffic(2_000)")
    given = np.asarray(units, dtype=np.float64)
    positive("units", given[~np.isnan(given)])
    wait = whole_counts("window", window)
    total, wait = np.broadcast_arrays(given, wait)
    shares = np.array(scheduled_fractions(looks))
    enrolment = traffic.day_of(total)
    return Duration(
        days=enrolment + wait,
        enrolment_days=enrolment,
        look_days=traffic.day_of(total[..., None] * shares) + wait[..., None],
        available=traffic.available,
        not_plannable=first_reason(total.shape, [(np.isnan(enrolment), Unplannable.NOT_REACHED)]),
    )
