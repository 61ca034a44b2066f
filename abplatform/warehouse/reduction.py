"""One request answered: the steps that every engine takes, from files of the lake to sufficient statistics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from abplatform.domain.aggregates import Aggregation, AggregationRequest, DailyCells, KeptUnits
from abplatform.warehouse import queries
from abplatform.warehouse.behaviours import add_classes
from abplatform.warehouse.cells import Found, Row, build_cells, build_covariates, count_map
from abplatform.warehouse.crossing import add_crossings, has_crossings
from abplatform.warehouse.cut_counts import count_cuts, has_cuts
from abplatform.warehouse.daily import can_go_on, entered_by_day, has_days, sum_metric
from abplatform.warehouse.daily_cells import build_daily_cells, cluster_centres, unit_centres
from abplatform.warehouse.lake import Lake, LakeFile, latest_receipt
from abplatform.warehouse.moments import cluster_moments, moments
from abplatform.warehouse.news import CannotResume
from abplatform.warehouse.progress import Progress, Sources, begin, check_values, find_sources, go_on
from abplatform.warehouse.slicing import (
    add_slices,
    once_per_dimension,
    pool_rare,
    slice_columns,
    split_by_dimension,
)
from abplatform.warehouse.unit_files import write_unit_table
from abplatform.warehouse.unit_table import SETTLES_AFTER, UnitTable, find_waiting, narrow_values, settle, unit_columns
from abplatform.warehouse.unit_values import analysed_rows, can_be_kept, needed_columns
from abplatform.warehouse.workspace import OpenWorkspace, Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    earlier: list[Row]
    units: list[Row]
    clusters: list[Row]
    found: Mapping[str | None, Found]


def reduce_events(
    lake: Lake, request: AggregationRequest, open_workspace: OpenWorkspace, kept: KeptUnits | None = None
) -> Aggregation:
    """Reduce an experiment's events to sufficient statistics, from one state of each table of the lake.

    Args:
        lake: holds the events.
        request: what is asked for.
        open_workspace: where the engine computes; opened once.
        kept: what to go on from, see `keep_units`; nothing to read all events.

    Raises:
        ValueError: if ``request`` names no metric.
        CannotResume: if the answer cannot go on from what was kept.
        SnapshotExpired: if the state that the request names is no longer kept.
        Unavailable: if the catalog of the lake does not answer.
    """
    if not request.metrics:
        raise ValueError("request must name at least one metric")
    kept = kept if can_be_kept(request) and can_go_on(request) else None
    sources = find_sources(lake, request, kept)
    request = sources.narrow(request)
    with open_workspace() as workspace:
        progress = _make_progress(workspace, request, sources, kept)
        answer = _answer(workspace, progress, request, sources)
        days = _reduce_daily(workspace, progress, request, answer) if request.daily else ()
        unknown = _unknown_variants(workspace, progress, request, kept)
    found = _summarise(request, answer, unknown, (*sources.exposures.files, *sources.conversions.files))
    return replace(found, days=days)


def keep_units(
    lake: Lake, request: AggregationRequest, open_workspace: OpenWorkspace, *, kept: KeptUnits | None, folder: str
) -> KeptUnits:
    """Write down what an answer knows of each unit, for later ones to go on from.

    Args:
        lake, request, open_workspace, kept: see `reduce_events`.
        folder: location of a folder for the files, which does not exist yet.

    Raises:
        ValueError, CannotResume, SnapshotExpired, Unavailable: see `reduce_events`.
    """
    if not request.metrics:
        raise ValueError("request must name at least one metric")
    if not can_be_kept(request):
        raise CannotResume("a metric has values that cannot be merged")
    sources = find_sources(lake, request, kept)
    request = sources.narrow(request)
    settled_before = request.as_of - SETTLES_AFTER
    if kept is not None:  # Clocks differ, and what is settled stays so: its conversions are gone.
        settled_before = max(settled_before, kept.settled_before)
    with open_workspace() as workspace:
        progress = _make_progress(workspace, request, sources, kept)
        units = workspace.number(workspace.keep("all_units", narrow_values(progress.valued, request)))
        check_values(workspace, units, request)
        table = UnitTable(
            units=settle(units, request, settled_before).select(*unit_columns(request, workspace.number_type)),
            waiting=find_waiting(progress.wanted, units, settled_before),
            earlier_units=progress.earlier_units,
            earlier_clusters=progress.earlier_clusters,
            settled_before=settled_before,
        )
        return KeptUnits(
            folder=folder,
            parts=write_unit_table(workspace, table, folder),
            exposures=sources.exposures.covered,
            conversions=sources.conversions.covered,
            settled_before=settled_before,
            first_day=min((file.day for file in (*sources.exposures.files, *sources.conversions.files)), default=None),
            unknown_variants=_unknown_variants(workspace, progress, request, kept),
        )


def _make_progress(
    workspace: Workspace, request: AggregationRequest, sources: Sources, kept: KeptUnits | None
) -> Progress:
    return begin(workspace, request, sources) if kept is None else go_on(workspace, request, sources, kept)


def _answer(workspace: Workspace, progress: Progress, request: AggregationRequest, sources: Sources) -> _Answer:
    units = progress.units
    valued, cut = progress.valued, [position for position, metric in enumerate(request.metrics) if has_cuts(metric)]
    analysed = add_slices(valued.filter(valued.analysed), request)
    if any(dimension.behaviour is not None for dimension in request.dimensions):
        paths = [file.path for file in sources.conversions.files]
        analysed = add_classes(analysed, workspace.read(paths, queries.COLUMNS_OF_CONVERSIONS), request)
    if has_crossings(request):
        paths = [file.path for file in sources.exposures.files]
        analysed = add_crossings(analysed, workspace.read(paths, queries.COLUMNS_OF_EXPOSURES), request)
    if cut or request.dimensions:
        analysed = pool_rare(workspace, workspace.keep("sliced_units", needed_columns(analysed, request)), request)
    rows = analysed_rows(analysed, request)
    if request.clustered or request.dimensions:  # else they are read once
        rows = workspace.keep("rows_per_unit", rows)
    rows = once_per_dimension(rows, request)
    cuts = {position: count_cuts(workspace, analysed, progress.wanted, request, position) for position in cut}
    found = split_by_dimension(workspace.rows(moments(rows, request)), request)
    clusters = split_by_dimension(workspace.rows(cluster_moments(rows, request)) if request.clustered else [], request)
    entered = queries.entered_units(units)
    return _Answer(
        earlier=workspace.rows(queries.earlier_phase_units(units)) if request.phase > 1 else [],
        units=workspace.rows(queries.counts_by_variant(entered)),
        clusters=workspace.rows(queries.clusters_by_variant(entered)) if request.clustered else [],
        found={
            name: Found(
                moments=each, clusters=clusters[name], cuts={position: known[name] for position, known in cuts.items()}
            )
            for name, each in found.items()
        },
    )


def _reduce_daily(
    workspace: Workspace, progress: Progress, request: AggregationRequest, answer: _Answer
) -> tuple[DailyCells, ...]:
    units = workspace.keep("analysed_units", progress.valued.filter(progress.valued.analysed))
    entered = entered_by_day(workspace, units)
    sums = {
        position: sum_metric(
            workspace,
            progress,
            units,
            request,
            position=position,
            unit_centres=unit_centres(answer.found[None].moments, request, position),
            cluster_centres=cluster_centres(answer.found[None].clusters, position) if request.clustered else {},
        )
        for position, metric in enumerate(request.metrics)
        if has_days(metric)
    }
    return build_daily_cells(request, sums, entered)


def _unknown_variants(
    workspace: Workspace, progress: Progress, request: AggregationRequest, kept: KeptUnits | None
) -> dict[str, int]:
    rows = workspace.rows(queries.unknown_variants(progress.new_exposures, request))
    counts = Counter({} if kept is None else kept.unknown_variants)
    counts.update({row["variant"]: int(row["exposures"]) for row in rows})
    return dict(sorted(counts.items()))


def _summarise(
    request: AggregationRequest,
    answer: _Answer,
    unknown_variants: Mapping[str, int],
    files: tuple[LakeFile, ...],
) -> Aggregation:
    units, clusters = answer.units, answer.clusters
    grouped = request.variants if request.clustered else ()
    return Aggregation(
        exposed=count_map(units, "exposed", request.variants),
        analysed=count_map(units, "analysed", request.variants),
        multi_variant=count_map(units, "multi_variant", request.variants),
        exposed_clusters=count_map(clusters, "exposed", grouped),
        analysed_clusters=count_map(clusters, "analysed", grouped),
        multi_variant_clusters=count_map(clusters, "multi_variant", grouped),
        mismatched_exposures=sum(int(row["mismatched"]) for row in units),
        undrawn_exposures=sum(int(row["undrawn"]) for row in units),
        earlier_phase_units=next((int(row["units"]) for row in answer.earlier), None),
        unknown_variants=unknown_variants,
        cells=build_cells(request, answer.found[None]),
        covariates=build_covariates(request, answer.found[None]),
        slices={
            dimension.name: build_cells(request, found, found.slices())
            for dimension, found in zip(request.dimensions, map(answer.found.get, slice_columns(request)), strict=True)
            if found is not None
        },
        data_through=latest_receipt(files),
    )
