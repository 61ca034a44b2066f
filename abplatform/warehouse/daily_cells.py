"""Changes by day added up to cells by day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from abplatform.domain.aggregates import AggregationRequest, DailyCells
from abplatform.domain.arm_cell import ArmCell
from abplatform.warehouse.cells import Row, plain
from abplatform.warehouse.daily import Centres, DailySums, days_between, find_centre

MOST_DAYS = 1000
"""Of a longer history the last ones are given."""


def build_daily_cells(
    request: AggregationRequest, sums: Mapping[int, DailySums], entered: Mapping[str, Mapping[date, int]]
) -> tuple[DailyCells, ...]:
    """Cells as they were at the end of each day, from the first day on which a unit came in.

    Args:
        request: what was asked for.
        sums: by position of the metric, of those that can be taken apart by day.
        entered: how many units came in on each day, by variant.
    """
    last = request.as_of if request.until is None else min(request.as_of, request.until)
    days = days_between((day for each in entered.values() for day in each), last.date())
    series = [
        _series(request, position, sums[position], variant, entered.get(variant, {}), days)
        for position in sums
        for variant in request.variants
    ]
    shown = range(max(0, len(days) - MOST_DAYS), len(days))
    return tuple(DailyCells(day=days[index], cells=tuple(cells[index] for cells in series)) for index in shown)


def _series(
    request: AggregationRequest,
    position: int,
    sums: DailySums,
    variant: str,
    entered: Mapping[date, int],
    days: Sequence[date],
) -> list[ArmCell]:
    metric = request.metrics[position]
    over_units, over_clusters = _Totals(sums.unit_centres), _Totals(sums.cluster_centres)
    units = {row["day"]: row for row in sums.units if row["variant"] == variant}
    clusters = {row["day"]: row for row in sums.clusters if row["variant"] == variant}
    came, cells = 0, []
    for day in days:
        came += entered.get(day, 0)
        over_units.add(units.get(day))
        over_clusters.add(clusters.get(day))
        counted = over_units.members
        cells.append(
            ArmCell(
                name=metric.key,
                variant=variant,
                units=counted,
                open_units=came - counted,
                nonzero=over_units.nonzero,
                total=plain(over_units.total),
                mean=float(over_units.total / counted) if counted else 0.0,
                m2=over_units.moment("y", "y"),
                **(_before(over_units) if request.adjusts(metric) else {}),
                **(_over_clusters(over_clusters) if request.clustered else {}),
            )
        )
    return cells


@dataclass(slots=True)
class _Totals:
    """Sums up to a day."""

    centres: Centres
    members: int = 0
    nonzero: int = 0
    short: int = 0
    total: Decimal = Decimal(0)
    sums: dict[str, float] = field(default_factory=dict)

    def add(self, row: Row | None) -> None:
        if row is None:
            return
        self.members += int(row["members"])
        self.nonzero += int(row["nonzero"])
        self.short += int(row["short"])
        self.total += row["total"]
        for name, value in row.items():
            if name.startswith(("sum_", "product_")):
                self.sums[name] = self.sums.get(name, 0.0) + float(value)

    def mean(self, name: str) -> float:
        return self.centres[name] + self.sums[f"sum_{name}"] / self.members if self.members else 0.0

    def moment(self, one: str, other: str) -> float:
        """Sum over members of the products of their deviations from the two means."""
        if not self.members:
            return 0.0
        between = self.sums[f"sum_{one}"] * self.sums[f"sum_{other}"] / self.members
        moment = self.sums[f"product_{one}{other}"] - between
        return max(moment, 0.0) if one == other else moment


def _before(totals: _Totals) -> dict[str, Any]:
    return {
        "before_mean": totals.mean("b"),
        "before_m2": totals.moment("b", "b"),
        "before_c": totals.moment("y", "b"),
    }


def _over_clusters(totals: _Totals) -> dict[str, Any]:
    return {
        "clusters": totals.members,
        "cluster_mean_y": totals.mean("y"),
        "cluster_mean_d": totals.mean("d"),
        "cluster_m2_y": totals.moment("y", "y"),
        "cluster_m2_d": totals.moment("d", "d"),
        "cluster_c_yd": totals.moment("y", "d"),
        "cluster_nonzero": totals.nonzero,
        "cluster_short": totals.short,
    }


def unit_centres(rows: Sequence[Row], request: AggregationRequest, position: int) -> Centres:
    """The centres of one metric's numbers, from their moments at the end (`moments.moments`)."""
    names = {"y": f"y{position}"} | ({"b": f"b{position}"} if request.adjusts(request.metrics[position]) else {})
    counted = [(row, int(row[f"y{position}_units"])) for row in rows if row[f"y{position}_units"]]
    return {
        name: find_centre(
            sum(units for _, units in counted),
            sum(float(row[f"{column}_total"]) for row, _ in counted),
            sum(units * float(row[f"{column}_variance"]) for row, units in counted),
        )
        for name, column in names.items()
    }


def cluster_centres(rows: Sequence[Row], position: int) -> Centres:
    """The same over clusters (`moments.cluster_moments`)."""
    counted = [(row, int(row[f"y{position}_clusters"])) for row in rows if row[f"y{position}_clusters"]]
    return {
        name: find_centre(
            sum(clusters for _, clusters in counted),
            sum(clusters * float(row[f"y{position}_mean_{name}"]) for row, clusters in counted),
            sum(clusters * float(row[f"y{position}_variance_{name}"]) for row, clusters in counted),
        )
        for name in ("y", "d")
    }
