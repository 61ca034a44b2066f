"""CUPED: the metrics of a grid adjusted for what their units did before they were exposed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from abplatform.domain.arm_cell import ArmCell
from abplatform.domain.arm_stats import CellTable
from abplatform.domain.arms import Grid
from abplatform.stats import adjust
from abplatform.stats.results import Caution
from abplatform.stats.sufficient.joint import JointStats


@dataclass(frozen=True, slots=True, kw_only=True)
class AdjustedGrid:
    """A grid whose arms are adjusted, and what that did.

    Attributes:
        grid: arms of shape (metrics, treatments) both: a control is adjusted anew beside each treatment.
        variance_reduction: share of the variance of the difference that the adjustment takes away, at most 1, below 0
            where it adds some by chance; NaN where the arms could not be adjusted.
    """

    grid: Grid
    variance_reduction: NDArray[np.float64]


def adjust_grid(grid: Grid) -> AdjustedGrid:
    """Adjust every metric but guardrails, and those that have no such value, for its own before the first exposure.

    Each arm has a slope of its own (Lin, 2013), so that in large samples it never costs precision. Where one arm gives
    none, the other is left as it is, too.
    """
    treatments = [row.treatments for row in grid.rows]
    adjusted = adjust.cuped(_joint_stats(treatments), _joint_stats([[row.control] for row in grid.rows]))
    dropped = (adjusted.treatment.cautions | adjusted.control.cautions) & Caution.COVARIATE_DROPPED != 0
    plain = np.array([row.use.role == "guardrail" or not row.metric.has_covariate for row in grid.rows])[:, None]
    if (dropped & ~plain).any():  # of the others no arm has a past
        controls = [(row.control,) * len(row.treatments) for row in grid.rows]
        adjusted = adjust.cuped(*(_joint_stats(_without_past(table, dropped)) for table in (treatments, controls)))
    reduction = np.where(dropped | plain, np.nan, 1 - adjusted.variance_ratio)
    return AdjustedGrid(
        grid=replace(grid, treatment=adjusted.treatment, control=adjusted.control), variance_reduction=reduction
    )


def _without_past(table: CellTable, where: NDArray[np.bool_]) -> CellTable:
    def bare(cell: ArmCell) -> ArmCell:
        return replace(cell, before_mean=None, before_m2=None, before_c=None)

    return [
        [bare(cell) if out else cell for cell, out in zip(row, outs, strict=True)]
        for row, outs in zip(table, where, strict=True)
    ]


def _joint_stats(table: CellTable) -> JointStats:
    """Values with their covariate; where an engine gave none, it is 0 for every unit, and so will be left out."""
    before = [[(cell.before_mean or 0.0, cell.before_m2 or 0.0, cell.before_c or 0.0) for cell in row] for row in table]
    mean, m2, product = np.moveaxis(np.array(before, dtype=np.float64), -1, 0)
    own = np.array([[(cell.mean, cell.m2) for cell in row] for row in table], dtype=np.float64)
    units = np.array([[cell.units for cell in row] for row in table])
    cross = np.stack([np.stack([own[..., 1], product], axis=-1), np.stack([product, m2], axis=-1)], axis=-2)
    return JointStats(units, np.stack([own[..., 0], mean], axis=-1), cross)
