"""Who is left out of a phase, since an earlier one met them: on DuckDB and on Spark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import ibis
import pytest

from abplatform.domain.aggregates import Aggregation, AggregationRequest
from abplatform.domain.events import ExposureFact
from abplatform.warehouse import queries
from abplatform.warehouse.bulk import append_facts
from abplatform.warehouse.duckdb_engine import DuckDBEngine
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.layout import facts_to_arrow
from tests.builders import NOW, a_metric, an_exposure_fact, later
from tests.warehouse.spark_engines import SparkProcess, ask_spark

HOUR = timedelta(hours=1)
REQUEST = AggregationRequest(
    project="default",
    experiment="rate-display",
    phase=2,
    variants=("control", "treatment"),
    metrics=(a_metric("bought", event="purchase", window=None),),
    as_of=later(days=10),
    since=NOW,
    until=NOW + HOUR,
)


def met(unit: str, *, phase: int = 2, **changes: Any) -> ExposureFact:
    """An exposure to a phase; to phase 1 a day before the second begins."""
    defaults = {"unit": unit, "phase": phase, "timestamp": NOW if phase > 1 else later(days=-1)}
    id_ = "-".join([unit, str(phase), *(str(value) for value in changes.values())])
    return an_exposure_fact(id_, **defaults | changes)


SINGLE = [
    met("twice", phase=1),
    met("twice"),
    met("twice", variant="treatment"),
    met("ghost-before", phase=1, variant="ghost"),
    met("ghost-before"),
    met("only-before", phase=1),
    met("late", phase=1),
    met("late", timestamp=NOW + HOUR),
    met("ghost-now", phase=1),
    met("ghost-now", variant="ghost"),
    met("elsewhere", phase=1, experiment="other"),
    met("elsewhere"),
    met("new"),
    met("stale"),
    met("stale", phase=1, timestamp=NOW + HOUR / 2),
    met("next", phase=3),
]
"""Of phase 2 in its time: ``twice`` and ``ghost-before`` are left out, ``elsewhere``, ``stale`` and ``new`` are in."""

CLUSTERED = [
    met("a", phase=1, cluster="old"),
    met("a", cluster="old"),
    met("b", cluster="old"),
    met("c", cluster="fresh"),
    met("moved", phase=1, cluster="gone"),
    met("moved", cluster="fresh"),
    met("joins", cluster="fresh"),
    met("joins", cluster="old", timestamp=NOW + HOUR / 2),
    met("leaves", cluster="old"),
    met("leaves", cluster="fresh", timestamp=NOW + HOUR / 2),
    met("alone", phase=1),
    met("alone"),
    met("single"),
    met("a-ghost", cluster="old", variant="ghost"),
    met("stale", phase=1, cluster="fresh", timestamp=NOW + HOUR / 2),
    met("stale", phase=1, cluster="fresh", timestamp=later(days=9)),
]
"""Left out: ``a, b, leaves`` with the cluster ``old``, ``moved`` and ``alone`` themselves; in: ``c, joins, single``."""


@pytest.fixture
def reduce(local_lake: Lake, engine: DuckDBEngine) -> Any:
    """Append facts and aggregate them."""

    def run(facts: Sequence[ExposureFact], **changes: Any) -> Aggregation:
        append_facts(local_lake, "default", "exposure", facts_to_arrow("exposure", facts))
        return engine.aggregate(local_lake, replace(REQUEST, **changes))

    return run


def test_units_that_an_earlier_phase_met_are_left_out_and_counted(reduce: Any) -> None:
    result = reduce(SINGLE)
    assert result.exposed == result.analysed == {"control": 3, "treatment": 0}
    assert result.multi_variant == {"control": 0, "treatment": 0}
    assert (result.earlier_phase_units, result.unknown_variants) == (2, {"ghost": 1})


def test_the_first_phase_has_no_earlier_one_to_count(reduce: Any) -> None:
    assert reduce(SINGLE, phase=1, since=None).earlier_phase_units is None


def test_a_later_phase_that_leaves_nobody_out_counts_none(reduce: Any) -> None:
    assert reduce([met("new")]).earlier_phase_units == 0


def test_a_cluster_that_an_earlier_phase_met_is_left_out_whole_with_its_new_members(reduce: Any) -> None:
    result = reduce(CLUSTERED, clustered=True)
    assert result.exposed == result.analysed == {"control": 3, "treatment": 0}
    # ``fresh`` with c and joins, and ``single`` that stands for itself.
    assert result.exposed_clusters == result.analysed_clusters == {"control": 2, "treatment": 0}
    assert (result.cells[0].units, result.cells[0].clusters) == (3, 2)
    assert (result.earlier_phase_units, result.unknown_variants) == (5, {"ghost": 1})


def test_a_unit_that_is_left_out_mixes_no_cluster(reduce: Any) -> None:
    facts = [met("moved", phase=1, cluster="gone"), met("moved", cluster="fresh", variant="treatment")]
    result = reduce([*facts, met("c", cluster="fresh")], clustered=True)
    assert result.analysed_clusters == {"control": 1, "treatment": 0}
    assert result.multi_variant_clusters == {"control": 0, "treatment": 0}


def test_what_an_earlier_phase_logs_after_this_one_began_takes_nobody_away(reduce: Any) -> None:
    members = [met(f"u{number}", cluster="branch") for number in range(5)]
    stale = [met(f"s{number}", phase=1, cluster="branch", timestamp=NOW + HOUR * number) for number in range(1, 4)]
    result = reduce([*members, *stale, met("u0", phase=1, timestamp=NOW + HOUR / 2)], clustered=True)
    assert (result.exposed["control"], result.earlier_phase_units) == (5, 0)


def test_clusters_are_no_matter_where_units_were_randomised(reduce: Any) -> None:
    result = reduce(CLUSTERED)
    assert (result.earlier_phase_units, result.exposed["control"]) == (3, 5)


def test_spark_leaves_out_and_counts_the_same(monkeypatch: pytest.MonkeyPatch, spark_on_threads: SparkProcess) -> None:
    # Writing Spark's SQL needs no Spark, only this option's default, which loading Spark would set.
    monkeypatch.setattr(type(ibis.options), "pyspark", SimpleNamespace(treat_nan_as_null=False))
    exposures = ibis.table(queries.COLUMNS_OF_EXPOSURES, name="exposures")
    with ask_spark(["-"], spark_on_threads) as ask:
        ask("SET spark.sql.shuffle.partitions = 1")
        for facts, clustered, counted, left_out in ((SINGLE, False, 3, 2), (CLUSTERED, True, 3, 5)):
            ask(as_view(facts))
            request = replace(REQUEST, clustered=clustered)
            earlier = [queries.earlier_phases(exposures, request, name) for name in ("unit", "cluster")]
            first = queries.first_exposures(queries.phase_exposures(exposures, request), request)
            units = queries.leave_out(first, request, *earlier)
            by_variant = queries.counts_by_variant(queries.entered_units(units))
            assert ask(ibis.to_sql(by_variant, dialect="pyspark"))[0][:3] == ("control", counted, counted)
            assert ask(ibis.to_sql(queries.earlier_phase_units(units), dialect="pyspark")) == [(left_out,)]


def as_view(facts: Sequence[ExposureFact]) -> str:
    """The facts as Spark's view ``exposures``."""
    columns = [name for name in queries.COLUMNS_OF_EXPOSURES if name != "attributes"]
    rows = ", ".join(f"({', '.join(literal(getattr(fact, name)) for name in columns)})" for fact in facts)
    named = f"SELECT *, map('channel', '1') AS attributes FROM VALUES {rows} AS t({', '.join(columns)})"
    return f"CREATE OR REPLACE TEMPORARY VIEW exposures AS {named}"


def literal(value: Any) -> str:
    """A value in Spark's SQL."""
    if value is None:
        return "CAST(NULL AS STRING)"
    if isinstance(value, int):
        return str(value)
    return f"'{value}'" if isinstance(value, str) else f"TIMESTAMP'{value.isoformat()}'"
