"""One request answered: the steps that every engine takes, from files of the lake to sufficient statistics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import ibis.expr.types as ir

from abplatform.domain.aggregates import Aggregation, AggregationRequest
from abplatform.warehouse import queries
from abplatform.warehouse.cells import Row, build_cells, count_map
from abplatform.warehouse.lake import Lake, LakeFile, latest_receipt
from abplatform.warehouse.moments import cluster_moments, moments
from abplatform.warehouse.unit_values import per_unit


class Workspace(Protocol):
    """What an engine offers while it answers one request; nothing of it is left afterwards."""

    def read(self, files: Sequence[LakeFile], columns: dict[str, str]) -> ir.Table:
        """All rows of the files with exactly these columns, null in files that lack one; no files have no rows."""

    def keep(self, name: str, table: ir.Table) -> ir.Table:
        """The same table, computed once however often it is read."""

    def number(self, units: ir.Table) -> ir.Table:
        """Units with a column ``number``: what tells them apart most cheaply, within this request."""

    def rows(self, table: ir.Table) -> list[Row]:
        """Compute a table and bring its rows here, decimals exact."""


def reduce_events(
    lake: Lake, request: AggregationRequest, open_workspace: Callable[[], AbstractContextManager[Workspace]]
) -> Aggregation:
    """Reduce an experiment's events to sufficient statistics, from one state of each table of the lake.

    Args:
        lake: holds the events.
        request: what is asked for.
        open_workspace: where the engine computes; opened once.

    Raises:
        ValueError: if ``request`` names no metric.
        SnapshotExpired: if the state that it names is no longer kept.
        Unavailable: if the catalog of the lake does not answer.
    """
    if not request.metrics:
        raise ValueError("request must name at least one metric")
    exposures = lake.files_of(request.project, "exposure", request.state)
    conversions = lake.files_of(request.project, "conversion", request.state)
    with open_workspace() as workspace:
        met = queries.counted_exposures(workspace.read(exposures, queries.COLUMNS_OF_EXPOSURES), request)
        happened = workspace.read(conversions, queries.COLUMNS_OF_CONVERSIONS)
        answer = _answer(workspace, met, happened, request)
    return _summarise(request, answer, (*exposures, *conversions))


def _answer(
    workspace: Workspace, met: ir.Table, happened: ir.Table, request: AggregationRequest
) -> dict[str, list[Row]]:
    units = workspace.keep("units", workspace.number(queries.first_exposures(met, request)))
    rows = per_unit(units, happened, request)
    if request.clustered:  # else they are read once
        rows = workspace.keep("rows_per_unit", rows)
    entered = queries.entered_units(units)
    return {
        "unknown": workspace.rows(queries.unknown_variants(met, request)),
        "earlier": workspace.rows(queries.earlier_phase_units(units)) if request.phase > 1 else [],
        "units": workspace.rows(queries.counts_by_variant(entered)),
        "clusters": workspace.rows(queries.clusters_by_variant(entered)) if request.clustered else [],
        "moments": workspace.rows(moments(rows, request)),
        "cluster_moments": workspace.rows(cluster_moments(rows, request)) if request.clustered else [],
    }


def _summarise(request: AggregationRequest, answer: dict[str, list[Row]], files: tuple[LakeFile, ...]) -> Aggregation:
    units, clusters = answer["units"], answer["clusters"]
    grouped = request.variants if request.clustered else ()
    names = tuple(metric.key for metric in request.metrics)
    over_units, over_clusters = answer["moments"], answer["cluster_moments"]
    return Aggregation(
        exposed=count_map(units, "exposed", request.variants),
        analysed=count_map(units, "analysed", request.variants),
        multi_variant=count_map(units, "multi_variant", request.variants),
        exposed_clusters=count_map(clusters, "exposed", grouped),
        analysed_clusters=count_map(clusters, "analysed", grouped),
        multi_variant_clusters=count_map(clusters, "multi_variant", grouped),
        mismatched_exposures=sum(int(row["mismatched"]) for row in units),
        undrawn_exposures=sum(int(row["undrawn"]) for row in units),
        earlier_phase_units=next((int(row["units"]) for row in answer["earlier"]), None),
        unknown_variants={row["variant"]: int(row["exposures"]) for row in sorted(answer["unknown"], key=_variant)},
        cells=build_cells("y", names, request, over_units, over_clusters),
        covariates=build_cells("x", request.covariates, request, over_units, over_clusters),
        data_through=latest_receipt(files),
    )


def _variant(row: Row) -> str:
    return str(row["variant"])
