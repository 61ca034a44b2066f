"""How much of the planned information each look had: what group sequential bounds are computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from abplatform.domain.arms import Comparand
from abplatform.domain.plan import AnalysisPlan
from abplatform.domain.scorecard import Scorecard

Fractions = Mapping[tuple[str, str], tuple[float, ...]]
"""Information fractions by metric and variant, one per look so far, oldest first."""


def analysed_units(row: Comparand) -> int:
    """Analysed units of a metric in all arms."""
    return row.control.units + sum(cell.units for cell in row.treatments)


def information_fraction(row: Comparand, plan: AnalysisPlan) -> float:
    """Share of the planned units that are in, at most 1. It depends on units only, never on what they did."""
    return min(1.0, analysed_units(row) / plan.planned_units)


def earlier_fractions(looks: Sequence[Scorecard]) -> Fractions:
    """The fractions that the looks of a phase were taken at.

    Args:
        looks: all of them, oldest first.
    """
    found: dict[tuple[str, str], tuple[float, ...]] = {}
    for look in looks:
        for metric in look.metrics:
            for comparison in metric.comparisons:
                place = metric.metric, comparison.variant
                found[place] = (*found.get(place, ()), comparison.information_fraction or 0.0)
    return found


def schedules(plan: AnalysisPlan, rows: Sequence[Comparand], earlier: Fractions) -> NDArray[np.float64]:
    """Fractions up to and with this look, of shape (metrics, treatments, looks), never falling.

    Units may leave (those seen in a second variant); a look that has less than the one before adds no information.
    """
    known = [[earlier.get((row.metric.key, cell.variant), ()) for cell in row.treatments] for row in rows]
    looks = max((len(past) for row in known for past in row), default=0)
    table = [
        [(*(0.0,) * (looks - len(past)), *past, information_fraction(row, plan)) for past in pasts]
        for row, pasts in zip(rows, known, strict=True)
    ]
    return np.maximum.accumulate(np.array(table, dtype=np.float64), axis=-1)
