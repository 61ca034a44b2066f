"""Exposures of one phase of an experiment against what was drawn: counts, and at most a few pseudonyms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from abplatform.domain.events import NOT_DRAWN
from abplatform.warehouse.duck import open_spilling_duckdb
from abplatform.warehouse.lake import Lake

MOST_EXAMPLES = 10

_READ = """
    CREATE TEMP TABLE exposures AS
    SELECT {unit} AS unit, variant, expected_variant, timestamp, event_id
    FROM read_parquet($paths, hive_partitioning = false, union_by_name = true)
    WHERE experiment = $experiment AND phase = $phase
"""
_NOTHING = """
    CREATE TEMP TABLE exposures (
        unit VARCHAR, variant VARCHAR, expected_variant VARCHAR, timestamp TIMESTAMPTZ, event_id VARCHAR
    )
"""
_BY_VARIANT = """
    WITH units AS (
        SELECT min(variant) <> max(variant) AS several,
               arg_min(variant, (timestamp, event_id)) AS variant
        FROM exposures GROUP BY unit
    ), met AS (
        SELECT variant, count(*) AS units, count(*) FILTER (several) AS several FROM units GROUP BY variant
    )
    SELECT variant, count(*), count(*) FILTER (expected_variant NOT IN (variant, $undrawn)),
           count(*) FILTER (expected_variant = $undrawn), count(*) FILTER (expected_variant IS NULL),
           coalesce(any_value(met.units), 0), coalesce(any_value(met.several), 0)
    FROM exposures LEFT JOIN met USING (variant) GROUP BY variant ORDER BY variant
"""
_COMPARE = """
    CREATE TEMP TABLE compared AS
    WITH met AS (SELECT unit, list_sort(list(DISTINCT variant)) AS variants FROM exposures GROUP BY unit),
         known AS (SELECT unit, any_value(drawn) AS drawn FROM listed GROUP BY unit)
    SELECT unit, variants, drawn FROM met FULL JOIN known USING (unit)
"""
_COUNT = """
    SELECT count(*) FILTER (drawn IS NOT NULL AND variants = [drawn]),
           count(*) FILTER (drawn IS NOT NULL AND variants <> [drawn]),
           count(*) FILTER (variants IS NULL), count(*) FILTER (drawn IS NULL)
    FROM compared
"""
_EXAMPLES = """
    SELECT unit, variants, drawn FROM compared
    WHERE drawn IS NOT NULL AND variants <> [drawn] ORDER BY unit LIMIT $most
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantCounts:
    """The exposures of one variant.

    Attributes:
        exposures: all of them.
        other: those whose unit was drawn into another variant.
        undrawn: those whose unit was not drawn at all: outside the slots, or held out.
        unchecked: those of which nobody knows what was drawn, since it was drawn elsewhere.
        units: units that met this variant first.
        units_in_several: those of them that met another one later.
    """

    variant: str
    exposures: int
    other: int
    undrawn: int
    unchecked: int
    units: int
    units_in_several: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitCounts:
    """Exposed units against a list of units and of what each was drawn.

    Attributes:
        agreeing: listed units whose exposures all have the variant that was drawn.
        disagreeing: the other listed units that were exposed.
        unexposed: listed units without an exposure.
        unlisted: exposed units that are not in the list.
        examples: of disagreeing units the first by pseudonym, with the variants that they met and the one drawn
            (`NOT_DRAWN` for none).
    """

    agreeing: int
    disagreeing: int
    unexposed: int
    unlisted: int
    examples: tuple[tuple[str, tuple[str, ...], str], ...]


class Audit:
    """The exposures of one phase of an experiment, open for questions."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def count_by_variant(self) -> tuple[VariantCounts, ...]:
        """One for each variant that was met, by its key."""
        rows = self._connection.execute(_BY_VARIANT, {"undrawn": NOT_DRAWN}).fetchall()
        names = VariantCounts.__slots__
        return tuple(VariantCounts(**dict(zip(names, row, strict=True))) for row in rows)

    def add_drawn(self, units: list[str], drawn: pa.Array) -> None:
        """Add to the list of units: pseudonyms, and the variant drawn for each (`NOT_DRAWN` for none)."""
        batch = pa.table({"unit": pa.array(units, pa.string()), "drawn": drawn})
        self._connection.register("batch", batch)
        self._connection.execute("INSERT INTO listed SELECT unit, drawn FROM batch")
        self._connection.unregister("batch")

    def compare(self) -> UnitCounts:
        """Compare the exposed units with the list."""
        self._connection.execute(_COMPARE)
        counts = self._connection.execute(_COUNT).fetchall()
        agreeing, disagreeing, unexposed, unlisted = counts[0]
        return UnitCounts(
            agreeing=agreeing,
            disagreeing=disagreeing,
            unexposed=unexposed,
            unlisted=unlisted,
            examples=self._examples(),
        )

    def _examples(self) -> tuple[tuple[str, tuple[str, ...], str], ...]:
        rows = self._connection.execute(_EXAMPLES, {"most": MOST_EXAMPLES}).fetchall()
        return tuple((unit, tuple(variants), drawn) for unit, variants, drawn in rows)


@contextmanager
def open_audit(
    lake: Lake, project: str, experiment: str, phase: int, *, clusters: bool = False, memory_limit: str = "2GB"
) -> Iterator[Audit]:
    """Read the exposures of one phase of an experiment.

    Args:
        lake: holds them.
        project, experiment: keys.
        phase: its number.
        clusters: whether clusters were randomised: they are the units then.
        memory_limit: what may be used before it spills to disk.

    Raises:
        Unavailable: if the catalog of the lake does not answer.
    """
    paths = [file.path for file in lake.files(project, "exposure")]
    with open_spilling_duckdb(memory_limit) as connection:
        if paths:
            # A unit without a cluster stands for itself.
            unit = "coalesce(cluster, unit)" if clusters else "unit"
            values = {"paths": paths, "experiment": experiment, "phase": phase}
            connection.execute(_READ.format(unit=unit), values)
        else:
            connection.execute(_NOTHING)
        connection.execute("CREATE TEMP TABLE listed (unit VARCHAR, drawn VARCHAR)")
        yield Audit(connection)
