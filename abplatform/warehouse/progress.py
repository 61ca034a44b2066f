"""How far an answer has come: the units of a phase with their values, and the conversions that wait for others."""

from __future__ import annotations

from dataclasses import dataclass, replace

import ibis.expr.types as ir

from abplatform.domain.aggregates import AggregationRequest, KeptUnits
from abplatform.warehouse import queries
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.layout import SEQUENCE_NUMBER
from abplatform.warehouse.news import CannotResume, News
from abplatform.warehouse.unit_files import open_unit_table
from abplatform.warehouse.unit_table import (
    find_touched,
    find_wanted,
    merge_earlier,
    merge_units,
    narrow_values,
    rest_of,
)
from abplatform.warehouse.unit_values import add_values, value_columns
from abplatform.warehouse.wanted import wanted_conversions
from abplatform.warehouse.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The events that a request is about."""

    exposures: News
    conversions: News

    def narrow(self, request: AggregationRequest) -> AggregationRequest:
        """The request with the days that exposures are of: the calendar of fewer years is shorter."""
        days = [file.day for file in self.exposures.files]
        return replace(request, exposed_between=(min(days), max(days))) if days else request


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What the events that were read, and what was kept of those before, say about units.

    Attributes:
        new_exposures: those of the phase that were read.
        units: all, each once; see `queries.leave_out`.
        valued: the same with their values; see `unit_values.add_values`.
        wanted: all conversions that were read, or had waited; see `wanted.wanted_conversions`.
        earlier_units, earlier_clusters: see `queries.earlier_phases`.
    """

    new_exposures: ir.Table
    units: ir.Table
    valued: ir.Table
    wanted: ir.Table
    earlier_units: ir.Table | None
    earlier_clusters: ir.Table | None


def find_sources(lake: Lake, request: AggregationRequest, kept: KeptUnits | None) -> Sources:
    """List the files of the state of the lake that a request names.

    Raises:
        SnapshotExpired: if the state is no longer kept.
        Unavailable: if the catalog of the lake does not answer.
    """
    exposures = lake.files_of(request.project, "exposure", request.state)
    conversions = lake.files_of(request.project, "conversion", request.state)
    if kept is None:
        return Sources(exposures=News(exposures, None), conversions=News(conversions, None))
    return Sources(exposures=News(exposures, kept.exposures), conversions=News(conversions, kept.conversions))


def begin(workspace: Workspace, request: AggregationRequest, sources: Sources) -> Progress:
    """Read all events."""
    met = _read(workspace, sources.exposures, queries.COLUMNS_OF_EXPOSURES)
    wanted = wanted_conversions(_read(workspace, sources.conversions, queries.COLUMNS_OF_CONVERSIONS), request)
    new_exposures = queries.phase_exposures(met, request)
    earlier_units, earlier_clusters = (_earlier(met, request, name, None) for name in ("unit", "cluster"))
    units = queries.leave_out(queries.first_exposures(new_exposures, request), request, earlier_units, earlier_clusters)
    units = workspace.number(workspace.keep("units", units))
    return Progress(
        new_exposures=new_exposures,
        units=units,
        valued=add_values(workspace, units, wanted, request),
        wanted=wanted,
        earlier_units=earlier_units,
        earlier_clusters=earlier_clusters,
    )


def go_on(workspace: Workspace, request: AggregationRequest, sources: Sources, kept: KeptUnits) -> Progress:
    """Read what has come since something was kept.

    Raises:
        CannotResume: if what was kept is no beginning of the present state.
    """
    known = open_unit_table(workspace, request, kept)
    met = _read(workspace, sources.exposures, queries.COLUMNS_OF_EXPOSURES)
    came = wanted_conversions(_read(workspace, sources.conversions, queries.COLUMNS_OF_CONVERSIONS), request)
    new_exposures = queries.phase_exposures(met, request)
    found = workspace.keep("found", queries.first_exposures(new_exposures, request))
    wanted = workspace.keep("wanted", find_wanted(known, found, came))
    touched = merge_units(find_touched(known, found, wanted), found, request, kept.settled_before)
    touched = workspace.number(workspace.keep("touched", touched.rename(kept_number="number")))
    valued = narrow_values(add_values(workspace, touched, wanted, request), request)
    valued = workspace.keep("valued", valued)
    if workspace.rows(valued.aggregate(units=queries.how_many(valued, valued.moved)))[0]["units"]:
        raise CannotResume("units were met earlier than was known, or again")
    check_values(workspace, valued, request)
    earlier_units = _earlier(met, request, "unit", known.earlier_units)
    earlier_clusters = _earlier(met, request, "cluster", known.earlier_clusters)
    units = queries.leave_out(rest_of(known, valued), request, earlier_units, earlier_clusters)
    return Progress(
        new_exposures=new_exposures,
        units=units,
        valued=units,
        wanted=came.union(known.waiting),
        earlier_units=earlier_units,
        earlier_clusters=earlier_clusters,
    )


def _read(workspace: Workspace, news: News, columns: dict[str, str]) -> ir.Table:
    paths = [file.path for file in news.new_files]
    if news.since is None or not news.mixed:
        news.check(sum(file.rows for file in news.new_files))
        return workspace.read(paths, columns)
    table = workspace.read(paths, {**columns, SEQUENCE_NUMBER: "int64"})
    number = table[SEQUENCE_NUMBER]
    is_new = number > news.since.sequence_number
    counts = {"new": queries.how_many(table, is_new), "unnumbered": queries.how_many(table, number.isnull())}
    found = workspace.rows(table.aggregate(**counts))[0]
    if found["unnumbered"]:
        raise CannotResume("files of an earlier release were compacted")
    news.check(found["new"])
    return table.filter(is_new).drop(SEQUENCE_NUMBER)


def _earlier(met: ir.Table, request: AggregationRequest, name: str, known: ir.Table | None) -> ir.Table | None:
    if request.phase == 1 or (name == "cluster" and not request.clustered):
        return None
    found = queries.earlier_phases(met, request, name)
    return found if known is None else merge_earlier(known, found)


def check_values(workspace: Workspace, units: ir.Table, request: AggregationRequest) -> None:
    """Refuse values that `unit_table.narrow_values` could not keep.

    Raises:
        CannotResume: if there are any.
    """
    counts = {name: queries.how_many(units, units[name].isnull()) for name in value_columns(request)}
    if any(workspace.rows(units.aggregate(**counts))[0].values()):
        raise CannotResume("values are too large to be kept")
