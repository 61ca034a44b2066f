"""Which statistics a metric needs, from the cells that an engine reduced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from abplatform.domain.arm_cell import ArmCell, BelowCuts, Lifetimes
from abplatform.domain.metric import Metric
from abplatform.stats import (
    ArmStats,
    CappedStats,
    DurationStats,
    MeanStats,
    ProportionStats,
    QuantileStats,
    RatioStats,
)
from abplatform.stats.sufficient.moments import SkewStats

CellTable = Sequence[Sequence[ArmCell]]
_NO_CUTS = (0.0,)

_Part = TypeVar("_Part")


def stats_of(metric: Metric, *cells: ArmCell) -> Callable[[CellTable], ArmStats]:
    """What turns cells of a metric into the statistics of its arms.

    Equal functions take several metrics at once, one per row of the table.

    Args:
        metric: the metric.
        cells: of the metric, at least one: all that are to be compared, since one without units has no cut points of
            its own. Looks from before some statistics were kept lack them.
    """
    cell = cells[0]
    lifetimes = [each.lifetimes for each in cells if each.lifetimes is not None]
    if lifetimes:
        return partial(_duration_stats, metric.quantile, _first_cuts(lifetimes))
    below = [each.below for each in cells if each.below is not None]
    if below or metric.kind in {"quantile", "time_to"}:
        return partial(_quantile_stats, metric.quantile, _first_cuts(below))
    if cell.clusters is not None:
        return cluster_stats
    if metric.kind == "ratio":
        return ratio_stats
    if metric.is_rate:
        return proportion_stats
    return mean_stats if cell.m3 is None else capped_stats


def estimate_of(metric: Metric, cell: ArmCell) -> float | None:
    """What a metric measures, in one variant; None where that does not exist."""
    estimate = float(stats_of(metric, cell)([[cell]]).estimate[0, 0])
    return estimate if np.isfinite(estimate) else None


def proportion_stats(table: CellTable) -> ProportionStats:
    """Units and converted units of each cell."""
    return ProportionStats(_column(table, "units"), _column(table, "nonzero"))


def mean_stats(table: CellTable) -> MeanStats:
    """Units, mean and squared deviations of each cell."""
    return MeanStats(_column(table, "units"), _column(table, "mean"), _column(table, "m2"))


def capped_stats(table: CellTable) -> CappedStats:
    """The same with third moments, and beside capped values those as they are."""
    tested = SkewStats(mean_stats(table), _column(table, "m3"))
    raw = [[_uncapped(cell) for cell in row] for row in table]
    units, mean, m2, m3, capped, limit = np.moveaxis(np.array(raw, dtype=np.float64), -1, 0)
    return CappedStats(tested, SkewStats(MeanStats(units, mean, m2), m3), capped=capped, cap=limit)


def ratio_stats(table: CellTable) -> RatioStats:
    """Units of each cell with the moments of what stands above and below the line."""
    below = [[cell.denominator for cell in row] for row in table]
    parts = [[(each.mean, each.m2, each.product) if each else (0.0, 0.0, 0.0) for each in row] for row in below]
    mean, m2, product = np.moveaxis(np.array(parts, dtype=np.float64), -1, 0)
    return RatioStats(
        _column(table, "units"), _column(table, "mean"), mean, m2_y=_column(table, "m2"), m2_d=m2, c_yd=product
    )


def cluster_stats(table: CellTable) -> RatioStats:
    """Clusters of each cell with the moments of their sums of values and of units, or of denominators."""
    return RatioStats(
        _column(table, "clusters"),
        _column(table, "cluster_mean_y"),
        _column(table, "cluster_mean_d"),
        m2_y=_column(table, "cluster_m2_y"),
        m2_d=_column(table, "cluster_m2_d"),
        c_yd=_column(table, "cluster_c_yd"),
    )


def _first_cuts(known: Sequence[BelowCuts] | Sequence[Lifetimes]) -> tuple[float, ...]:
    """Cut points of one metric, which are the same wherever there are any."""
    return next((each.cuts for each in known if each.cuts), _NO_CUTS)


def _quantile_stats(quantile: float, cuts: tuple[float, ...], table: CellTable) -> QuantileStats:
    """Of one metric, since each has cut points of its own; the first one is the least value of all its variants."""
    below = [[cell.below for cell in row] for row in table]

    def column(read: Callable[[BelowCuts], _Part], empty: _Part) -> NDArray[np.float64]:
        parts = [[read(each) if each is not None and each.cuts else empty for each in row] for row in below]
        return np.array(parts, dtype=np.float64)

    none = (0.0,) * len(cuts)
    counts = RatioStats(
        column(lambda each: (each.members,), (0,)),
        column(lambda each: each.mean_y, none),
        column(lambda each: (each.mean_d,), (0.0,)),
        m2_y=column(lambda each: each.m2_y, none),
        m2_d=column(lambda each: (each.m2_d,), (0.0,)),
        c_yd=column(lambda each: each.c_yd, none),
    )
    return QuantileStats(counts, q=quantile, cuts=cuts, closed=True)


def _duration_stats(quantile: float, cuts: tuple[float, ...], table: CellTable) -> DurationStats:
    lifetimes = [[cell.lifetimes for cell in row] for row in table]
    none = (0,) * len(cuts)
    finished = [[each.finished if each is not None and each.cuts else none for each in row] for row in lifetimes]
    censored = [[each.censored if each is not None and each.cuts else none for each in row] for row in lifetimes]
    return DurationStats.from_counts(
        _column(table, "units"), events=np.array(finished), censored=np.array(censored), cuts=cuts, q=quantile
    )


def _uncapped(cell: ArmCell) -> tuple[float, ...]:
    raw = cell.uncapped
    if raw is None:
        return cell.units, cell.mean, cell.m2, cell.m3 or 0.0, 0, np.inf
    mean = float(raw.total / cell.units) if cell.units else 0.0
    return cell.units, mean, raw.m2, raw.m3, raw.capped, raw.cap


def _column(table: CellTable, name: str) -> NDArray[np.float64]:
    return np.array([[getattr(cell, name) for cell in row] for row in table], dtype=np.float64)
