"""What reads the lake: DuckDB, in memory, one per analysis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
from ibis.backends.duckdb import Backend

from abplatform.domain.aggregates import Aggregation, AggregationRequest
from abplatform.warehouse import queries
from abplatform.warehouse.cells import Row, build_cells, count_map
from abplatform.warehouse.duck import open_spilling_duckdb
from abplatform.warehouse.lake import Lake, LakeFile, latest_receipt


class DuckDBEngine:
    """Aggregates on this machine.

    Args:
        memory_limit: what one analysis may use before it spills to disk, such as ``2GB``.
        temp_directory: where it spills to; by default the system's folder for temporary files.
    """

    def __init__(self, memory_limit: str = "2GB", temp_directory: Path | None = None) -> None:
        self._memory_limit = memory_limit
        self._temp_directory = temp_directory

    def aggregate(self, lake: Lake, request: AggregationRequest) -> Aggregation:
        """Reduce an experiment's events to sufficient statistics, from one state of each table of the lake.

        Raises:
            ValueError: if ``request`` names no metric.
            Unavailable: if the catalog of the lake does not answer.
        """
        if not request.metrics:
            raise ValueError("request must name at least one metric")
        exposures = lake.files(request.project, "exposure")
        conversions = lake.files(request.project, "conversion")
        with self._open() as backend:
            met = queries.counted_exposures(_read(backend, exposures, queries.COLUMNS_OF_EXPOSURES), request)
            happened = _read(backend, conversions, queries.COLUMNS_OF_CONVERSIONS)
            answer = _answer(backend, met, happened, request)
        return _summarise(request, answer, (*exposures, *conversions))

    @contextmanager
    def _open(self) -> Iterator[Backend]:
        # Never a shared file: DuckDB locks it to one process, and a forked child's writes are lost without an error.
        with open_spilling_duckdb(self._memory_limit, self._temp_directory) as connection:
            yield ibis.duckdb.from_connection(connection)


def _read(backend: Backend, files: Sequence[LakeFile], columns: dict[str, str]) -> ir.Table:
    if not files:
        # A list of no files has no columns: an empty table has.
        return backend.create_table(ibis.util.gen_name("empty"), schema=ibis.schema(columns), temp=True)
    # By name: files from before a column lack it, and it is null there.
    table = backend.read_parquet([file.path for file in files], hive_partitioning=False, union_by_name=True)
    missing = {name: ibis.null(type_) for name, type_ in columns.items() if name not in table.columns}
    return table.mutate(**missing).select(*columns)


def _answer(backend: Backend, met: ir.Table, happened: ir.Table, request: AggregationRequest) -> dict[str, list[Row]]:
    units = _keep(backend, "units", queries.first_exposures(met, request))
    rows = _keep(backend, "rows_per_unit", queries.per_unit(units, happened, request))
    entered = queries.entered_units(units)
    return {
        "unknown": _rows(queries.unknown_variants(met, request)),
        "earlier": _rows(queries.earlier_phase_units(units)) if request.phase > 1 else [],
        "units": _rows(queries.counts_by_variant(entered)),
        "clusters": _rows(queries.clusters_by_variant(entered)) if request.clustered else [],
        "moments": _rows(queries.moments(rows, request)),
        "cluster_moments": _rows(queries.cluster_moments(rows, request)) if request.clustered else [],
    }


def _keep(backend: Backend, name: str, table: ir.Table) -> ir.Table:
    # Not Ibis's own cache: its DROP TABLE fails with newer releases of sqlglot, and the whole database goes anyway.
    return backend.create_table(name, table, temp=True)


def _rows(table: ir.Table) -> list[Row]:
    rows: list[dict[str, Any]] = table.to_pyarrow().to_pylist()
    return list(rows)


def _summarise(request: AggregationRequest, answer: dict[str, list[Row]], files: tuple[LakeFile, ...]) -> Aggregation:
    units, clusters = answer["units"], answer["clusters"]
    grouped = request.variants if request.clustered else ()
    names = tuple(metric.key for metric in request.metrics)
    moments, cluster_moments = answer["moments"], answer["cluster_moments"]
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
        cells=build_cells("y", names, request, moments, cluster_moments),
        covariates=build_cells("x", request.covariates, request, moments, cluster_moments),
        data_through=latest_receipt(files),
    )


def _variant(row: Row) -> str:
    return str(row["variant"])
