"""From the cells that an engine reduced to the arrays that inference works on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from abplatform.domain.aggregates import Aggregation
from abplatform.domain.arm_cell import ArmCell
from abplatform.domain.arm_stats import CellTable, stats_of
from abplatform.domain.experiment import ExperimentDefinition, MetricUse
from abplatform.domain.metric import Direction, Metric
from abplatform.stats import ArmStats, sequential


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparand:
    """A metric of the experiment with its reduced cells, control first, then the treatments in order."""

    use: MetricUse
    metric: Metric
    control: ArmCell
    treatments: tuple[ArmCell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Metrics of one class of statistics: ``treatment`` has shape (metrics, treatments), ``control`` (metrics, 1).

    ``baseline``, like ``control``, is the control's estimate from the data as they are, whatever the arms are adjusted
    for.
    """

    rows: tuple[Comparand, ...]
    direction: Direction
    treatment: ArmStats
    control: ArmStats
    baseline: NDArray[np.float64]

    @property
    def blocks(self) -> NDArray[np.object_]:
        """Why asymptotic sequences may not speak of efficacy yet, by metric and treatment; None where they may."""
        clustered = self.rows[0].control.clusters is not None
        guard = sequential.cluster_guard if clustered else sequential.efficacy_guard
        return guard(self._pairs(_count), self._pairs(_rarer))

    def _pairs(self, read: Callable[[Metric, ArmCell], int]) -> NDArray[np.int64]:
        """Numbers of each treatment and the control, of shape (metrics, treatments, 2)."""
        pairs = [
            [[read(row.metric, arm), read(row.metric, row.control)] for arm in row.treatments] for row in self.rows
        ]
        return np.array(pairs, dtype=np.int64)


def _count(_metric: Metric, cell: ArmCell) -> int:
    """Analysed units, or clusters where those were randomised."""
    return cell.units if cell.clusters is None else cell.clusters


def _rarer(metric: Metric, cell: ArmCell) -> int:
    """Those of them with the rarer kind of outcome: with a value, of rates with the rarer answer."""
    if cell.clusters is None:
        with_one, without = cell.nonzero, cell.units - cell.nonzero
    else:
        with_one, without = cell.cluster_nonzero or 0, cell.cluster_short or 0
    return min(with_one, without) if metric.is_rate else with_one


def comparands(
    definition: ExperimentDefinition, metrics: Sequence[Metric], aggregation: Aggregation, *, slice_: str | None = None
) -> tuple[Comparand, ...]:
    """The metrics of an experiment with their cells, in declared order.

    Args:
        definition: names variants, control and roles.
        metrics: definitions of the metrics that it uses, in any order.
        aggregation: reduced cells; metrics without any are left out.
        slice_: which slice of them.
    """
    by_key = {metric.key: metric for metric in metrics}
    cells = {(cell.name, cell.variant): cell for cell in aggregation.cells if cell.slice == slice_}
    return tuple(
        Comparand(
            use=use,
            metric=by_key[use.metric],
            control=cells[use.metric, definition.control],
            treatments=tuple(cells[use.metric, variant] for variant in definition.treatments),
        )
        for use in definition.metrics
        if (use.metric, definition.control) in cells
    )


def grids(rows: Iterable[Comparand]) -> Iterator[Grid]:
    """Group metrics that need the same statistics and have the same good direction, to be compared in one go."""
    groups: dict[object, tuple[Callable[[CellTable], ArmStats], list[Comparand]]] = {}
    for row in rows:
        reduce = stats_of(row.metric, row.control, *row.treatments)
        groups.setdefault((reduce, row.metric.direction), (reduce, []))[1].append(row)
    for reduce, members in groups.values():
        control = reduce([[row.control] for row in members])
        yield Grid(
            rows=tuple(members),
            direction=members[0].metric.direction,
            treatment=reduce([row.treatments for row in members]),
            control=control,
            baseline=control.estimate,
        )
