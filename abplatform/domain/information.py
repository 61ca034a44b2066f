"""How much of the planned information each look had: what group sequential bounds are computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from abplatform.domain.arms import Comparand
from abplatform.domain.plan import AnalysisPlan
from abplatform.domain.scorecard import ComparisonResult, MetricResult, Scorecard

Fractions = Mapping[tuple[str, str], tuple[float, ...]]
"""Information fractions by metric and variant, one per look that tested so far, oldest first."""

LEAST_STEP = 0.02
"""A look tests once that much more of the plan is in: at most fifty looks, however often somebody reads."""
STANDS = "STANDS_FROM_EARLIER_LOOK"


def analysed_units(row: Comparand) -> int:
    """Analysed units of a metric in all arms."""
    return row.control.units + sum(cell.units for cell in row.treatments)


def information_fraction(row: Comparand, plan: AnalysisPlan) -> float:
    """Share of the planned units that are in, at most 1. It depends on units only, never on what they did."""
    return min(1.0, analysed_units(row) / plan.planned_units)


def earlier_fractions(look: Scorecard | None) -> Fractions:
    """The fractions at which a phase was tested up to and with a look; none before the first."""
    if look is None:
        return {}
    return {
        (metric.metric, comparison.variant): comparison.information_fractions or ()
        for metric in look.metrics
        for comparison in metric.comparisons
    }


def schedule(plan: AnalysisPlan, row: Comparand, earlier: tuple[float, ...]) -> tuple[float, ...]:
    """The fractions of the looks that test, with this one if it does.

    It does not while too little has come since the last one, after units have left (those seen in a second variant),
    and once the planned units were in: nothing is left to spend.
    """
    now, last = information_fraction(row, plan), earlier[-1] if earlier else 0.0
    # A hair less than the step, since shares of the plan are rounded.
    enough = now - last > LEAST_STEP - 1e-9 or (now >= 1 and last < 1)
    return (*earlier, now) if enough else earlier


def schedules(plan: AnalysisPlan, rows: Sequence[Comparand], earlier: Fractions) -> NDArray[np.float64]:
    """Schedules of all cells, of shape (metrics, treatments, looks); shorter ones begin with looks without data."""
    table = [
        [schedule(plan, row, earlier.get((row.metric.key, cell.variant), ())) for cell in row.treatments]
        for row in rows
    ]
    looks = max((len(cell) for cells in table for cell in cells), default=0) or 1
    return np.array([[(0.0,) * (looks - len(cell)) + cell for cell in cells] for cells in table], dtype=np.float64)


def keep_tested(previous: Scorecard | None, results: Sequence[MetricResult]) -> tuple[MetricResult, ...]:
    """Let what the last test said stand where this look does not test; guardrails are valid at every look anyway."""
    before = {} if previous is None else {metric.metric: metric for metric in previous.metrics}
    return tuple(
        result
        if result.role == "guardrail" or result.metric not in before
        else replace(result, comparisons=tuple(_kept(before[result.metric], each) for each in result.comparisons))
        for result in results
    )


def _kept(before: MetricResult, now: ComparisonResult) -> ComparisonResult:
    known = {comparison.variant: comparison for comparison in before.comparisons}
    last = known.get(now.variant)
    if last is None or last.information_fractions != now.information_fractions or not last.information_fractions:
        return now
    return last if STANDS in last.warnings else replace(last, warnings=(*last.warnings, STANDS))
