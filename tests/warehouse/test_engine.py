"""What counts and what does not, case by case; `test_engine_oracle` has them all together at random."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import ibis
import pytest

from abplatform.domain.aggregates import Aggregation, AggregationRequest
from abplatform.domain.arm_cell import ArmCell
from abplatform.domain.dimension import Dimension
from abplatform.domain.events import NOT_DRAWN, ConversionFact, ExposureFact
from abplatform.domain.metric import Window
from abplatform.warehouse import queries
from abplatform.warehouse.bulk import append_facts
from abplatform.warehouse.cells import name_slices
from abplatform.warehouse.duckdb_engine import DuckDBEngine
from abplatform.warehouse.duckdb_workspace import DuckDBWorkspace
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.layout import facts_to_arrow
from abplatform.warehouse.moments import cluster_moments, moments
from abplatform.warehouse.slicing import add_slices, once_per_dimension
from abplatform.warehouse.unit_values import add_values, analysed_rows
from abplatform.warehouse.wanted import wanted_conversions
from tests.builders import NOW, a_conversion_fact, a_metric, an_exposure_fact, later

HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)
BOUGHT = a_metric("bought", event="purchase", window=None)
REVENUE = a_metric("revenue", kind="sum", event="purchase", window=None)
REQUEST = AggregationRequest(
    project="default",
    experiment="rate-display",
    phase=1,
    variants=("control", "treatment"),
    metrics=(BOUGHT, REVENUE),
    as_of=later(days=10),
)


@pytest.fixture
def reduce(local_lake: Lake, engine: DuckDBEngine) -> Any:
    """Append facts and aggregate them."""

    def run(*facts: ExposureFact | ConversionFact, **changes: Any) -> Aggregation:
        for kind, type_ in (("exposure", ExposureFact), ("conversion", ConversionFact)):
            rows = [fact for fact in facts if isinstance(fact, type_)]
            append_facts(local_lake, "default", kind, facts_to_arrow(kind, rows))
        return engine.aggregate(local_lake, replace(REQUEST, **changes))

    return run


def cell(result: Aggregation, name: str, variant: str = "control", slice_: str | None = None) -> ArmCell:
    """The one cell of that name."""
    cells = result.cells if slice_ is None else next(iter(result.slices.values()))
    (found,) = [each for each in cells if (each.name, each.variant, each.slice) == (name, variant, slice_)]
    return found


def test_a_lake_without_events_gives_zeros_for_everything(reduce: Any) -> None:
    result = reduce(covariates=("age",), clustered=True)

    zeros = {"control": 0, "treatment": 0}
    assert result.exposed == result.analysed == result.multi_variant == zeros
    assert result.exposed_clusters == result.analysed_clusters == result.multi_variant_clusters == zeros
    assert [(each.name, each.variant) for each in result.cells] == [
        (name, variant) for name in ("bought", "revenue") for variant in ("control", "treatment")
    ]
    assert {(each.units, each.total, each.mean, each.m2, each.clusters) for each in result.cells} == {(0, 0, 0, 0, 0)}
    assert [(each.name, each.units) for each in result.covariates] == [("age", 0), ("age", 0)]
    assert (result.data_through, result.mismatched_exposures, result.unknown_variants) == (None, 0, {})


def test_exposures_without_any_conversion_count_as_zeros(reduce: Any) -> None:
    assert cell(reduce(an_exposure_fact()), "revenue").units == 1


def test_conversions_without_any_exposure_count_nowhere(reduce: Any) -> None:
    result = reduce(a_conversion_fact())
    assert (cell(result, "bought").units, result.data_through) == (0, NOW)


def test_a_conversion_counts_from_the_very_moment_of_exposure(reduce: Any) -> None:
    moments = {"before": NOW - TICK, "at": NOW, "after": NOW + TICK}
    exposures = [an_exposure_fact(name, unit=name) for name in moments]
    conversions = [a_conversion_fact(name, unit=name, timestamp=moment) for name, moment in moments.items()]

    assert cell(reduce(*exposures, *conversions), "bought").total == 2


def test_the_end_of_a_window_does_not_belong_to_it(reduce: Any) -> None:
    metric = a_metric("soon", event="purchase", window=Window(start=HOUR, end=3 * HOUR))
    delays = [HOUR - TICK, HOUR, 3 * HOUR - TICK, 3 * HOUR]
    exposures = [an_exposure_fact(str(n), unit=str(n)) for n in range(4)]
    conversions = [a_conversion_fact(str(n), unit=str(n), timestamp=NOW + delay) for n, delay in enumerate(delays)]

    found = cell(reduce(*exposures, *conversions, metrics=(metric,)), "soon")

    assert (found.total, found.units) == (2, 4)


@pytest.mark.parametrize(("as_of", "units"), [(NOW + 3 * HOUR - TICK, 0), (NOW + 3 * HOUR, 1)])
def test_a_unit_joins_a_metric_when_its_window_has_closed(reduce: Any, as_of: Any, units: int) -> None:
    metric = a_metric("soon", event="purchase", window=Window(end=3 * HOUR))

    found = cell(reduce(an_exposure_fact(), a_conversion_fact(), metrics=(metric,), as_of=as_of), "soon")

    assert (found.units, found.open_units, found.total) == (units, 1 - units, units)


def test_a_stop_leaves_open_windows_open_for_ever(reduce: Any) -> None:
    metric = a_metric("soon", event="purchase", window=Window(end=3 * HOUR))
    found = cell(reduce(an_exposure_fact(), metrics=(metric,), until=NOW + HOUR, as_of=later(days=99)), "soon")
    assert (found.units, found.open_units) == (0, 1)


def test_the_first_exposure_by_time_counts_whatever_arrives_first(reduce: Any) -> None:
    late = an_exposure_fact("b", timestamp=later(hours=2), attributes={"channel": '"late"'})
    early = an_exposure_fact("a", timestamp=NOW, attributes={"channel": '"early"'})
    conversion = a_conversion_fact(timestamp=later(hours=1))

    assert (
        cell(reduce(late, conversion, early, dimensions=(Dimension(name="channel"),)), "bought", slice_="early").total
        == 1
    )


def test_equal_times_are_told_apart_by_event_id(reduce: Any) -> None:
    facts = [an_exposure_fact(id_, attributes={"channel": f'"{id_}"'}) for id_ in ("b", "a", "c")]
    assert {each.slice for each in reduce(*facts, dimensions=(Dimension(name="channel"),)).slices["channel"]} == {"a"}


def test_a_unit_in_two_variants_is_left_out_and_counted_by_the_first(reduce: Any) -> None:
    facts = [
        an_exposure_fact("1", unit="both", variant="treatment", timestamp=later(hours=1)),
        an_exposure_fact("2", unit="both", variant="control", timestamp=later(hours=2)),
        an_exposure_fact("3", unit="one", variant="control"),
        a_conversion_fact("1", unit="both", timestamp=later(hours=3)),
    ]
    result = reduce(*facts)

    assert result.exposed == {"control": 1, "treatment": 1}
    assert result.analysed == {"control": 1, "treatment": 0}
    assert result.multi_variant == {"control": 0, "treatment": 1}
    assert (cell(result, "bought", "treatment").units, cell(result, "bought").total) == (0, 0)


def test_a_cluster_whose_units_met_two_variants_is_left_out_whole(reduce: Any) -> None:
    facts = [
        an_exposure_fact("1", unit="a", cluster="mixed", variant="treatment"),
        an_exposure_fact("2", unit="b", cluster="mixed", variant="control", timestamp=later(hours=1)),
        an_exposure_fact("3", unit="c", cluster="pure", variant="control"),
        an_exposure_fact("4", unit="d", cluster="pure", variant="control"),
        a_conversion_fact("1", unit="c"),
    ]
    result = reduce(*facts, clustered=True)

    assert result.multi_variant == {"control": 0, "treatment": 0}
    assert result.multi_variant_clusters == {"control": 0, "treatment": 1}
    assert result.analysed_clusters == {"control": 1, "treatment": 0}
    assert result.analysed == {"control": 2, "treatment": 0}
    found = cell(result, "bought")
    assert (found.clusters, found.cluster_mean_y, found.cluster_mean_d, found.units) == (1, 1.0, 2.0, 2)
    assert (found.cluster_m2_y, found.cluster_m2_d, found.cluster_c_yd) == (0, 0, 0)


def test_units_of_an_earlier_phase_and_exposures_out_of_time_do_not_count(reduce: Any) -> None:
    facts = [
        an_exposure_fact("1", unit="earlier", phase=1, timestamp=later(days=-9)),
        an_exposure_fact("2", unit="earlier", phase=2),
        an_exposure_fact("3", unit="early", phase=2, timestamp=NOW - TICK),
        an_exposure_fact("4", unit="on-time", phase=2, timestamp=NOW),
        an_exposure_fact("5", unit="last", phase=2, timestamp=NOW + HOUR - TICK),
        an_exposure_fact("6", unit="late", phase=2, timestamp=NOW + HOUR),
        an_exposure_fact("7", unit="next", phase=3),
    ]
    assert reduce(*facts, phase=2, since=NOW, until=NOW + HOUR).exposed == {"control": 2, "treatment": 0}


def test_after_the_end_of_enrolment_no_unit_enters_and_all_else_goes_on(reduce: Any) -> None:
    facts = [
        an_exposure_fact("1", unit="in", timestamp=NOW + HOUR - TICK),
        an_exposure_fact("2", unit="late", timestamp=NOW + HOUR),
        an_exposure_fact("3", unit="in", variant="treatment", timestamp=NOW + HOUR),
        an_exposure_fact("4", unit="late", variant="ghost", timestamp=NOW + HOUR),
        a_conversion_fact("1", unit="in", timestamp=NOW + 2 * HOUR),
        a_conversion_fact("2", unit="late", timestamp=NOW + 2 * HOUR),
    ]
    soon = a_metric("soon", event="purchase", window=Window(end=3 * HOUR))
    result = reduce(*facts, metrics=(soon,), enrolled_until=NOW + HOUR)

    assert result.exposed == result.analysed == {"control": 1, "treatment": 0}
    assert (result.multi_variant["control"], result.unknown_variants) == (0, {})
    assert (cell(result, "soon").total, cell(result, "soon").open_units) == (1, 0)


def test_conversions_belong_to_the_unit_that_they_name_of_the_analysed_type(reduce: Any) -> None:
    facts = [
        an_exposure_fact("1", unit="phone"),
        an_exposure_fact("2", unit="tablet", variant="treatment"),
        a_conversion_fact("1", unit="person", units={"device_id": "phone", "household_id": "tablet"}, value=Decimal(1)),
        a_conversion_fact("2", unit="phone", units={"device_id": "tablet"}, value=Decimal(20)),
        a_conversion_fact("3", unit="person", units={"household_id": "phone"}, value=Decimal(300)),
    ]
    by_device = reduce(*facts, unit_type="device_id")
    assert [cell(by_device, "revenue", variant).total for variant in ("control", "treatment")] == [1, 20]
    by_person = reduce()
    assert [cell(by_person, "revenue", variant).total for variant in ("control", "treatment")] == [20, 0]


def test_conversions_that_were_written_whole_belong_to_their_unit_whatever_its_type(reduce: Any) -> None:
    facts = [an_exposure_fact(unit="imported/customer-1"), a_conversion_fact(unit="imported/customer-1")]
    assert cell(reduce(*facts, unit_type="customer"), "bought").total == 1


def test_unknown_variants_and_other_draws_are_counted_apart(reduce: Any) -> None:
    facts = [
        an_exposure_fact("1", unit="a", variant="ghost"),
        an_exposure_fact("2", unit="a", variant="control", expected_variant="treatment"),
        an_exposure_fact("3", unit="b", variant="control", expected_variant=None),
        an_exposure_fact("4", unit="c", variant="treatment", expected_variant="treatment"),
        an_exposure_fact("5", unit="d", variant="treatment", expected_variant=NOT_DRAWN),
        an_exposure_fact("6", unit="d", variant="ghost", expected_variant=NOT_DRAWN),
    ]
    result = reduce(*facts)

    assert result.unknown_variants == {"ghost": 2}
    assert (result.mismatched_exposures, result.undrawn_exposures) == (2, 1)
    assert result.analysed == {"control": 2, "treatment": 2}


def test_sums_of_money_are_exact_beyond_what_a_double_holds(reduce: Any) -> None:
    amounts = [Decimal("99999999999999.999999")] * 200 + [Decimal("0.000001"), Decimal("-0.000002")]
    exposures = [an_exposure_fact(str(n), unit=str(n % 7)) for n in range(7)]
    conversions = [a_conversion_fact(str(n), unit=str(n % 7), value=amount) for n, amount in enumerate(amounts)]

    found = cell(reduce(*exposures, *conversions), "revenue")

    # By hand: 200 times a millionth less than 10^14, less another millionth.
    assert found.total == Decimal("19999999999999999.999799")
    assert str(cell(reduce(), "bought").total) == "7"


@pytest.mark.parametrize(
    ("where", "total"),
    [
        ({"product": "fund"}, 1),
        ({"product": ("fund", "loan")}, 2),
        ({"product": "7"}, 0),
        ({"product": 7}, 1),
        ({"product": 7.0}, 1),
        ({"product": True}, 1),
        ({"product": ("fund", 7), "new": False}, 1),
        ({"absent": "fund"}, 0),
        ({'it\'s "odd"': "a'b"}, 1),
    ],
)
def test_where_compares_properties_with_their_types(reduce: Any, where: Any, total: int) -> None:
    texts = ['"fund"', '"loan"', "7", "true"]
    exposures = [an_exposure_fact(str(n), unit=str(n)) for n in range(5)]
    conversions = [
        a_conversion_fact(str(n), unit=str(n), properties={"product": text, "new": "false" if n else "true"})
        for n, text in enumerate(texts)
    ]
    odd = a_conversion_fact("odd", unit="4", properties={'it\'s "odd"': '"a\'b"'})

    metric = a_metric("chosen", event="purchase", where=where, window=None)

    assert cell(reduce(*exposures, *conversions, odd, metrics=(metric,)), "chosen").total == total


def test_slices_add_up_to_the_whole_and_are_named_for_people(reduce: Any) -> None:
    texts = ['"上海"', '"with \\"quotes\\""', "3", None, '"(none)"']
    facts = [
        an_exposure_fact(str(n), unit=str(n), attributes={} if text is None else {"city": text})
        for n, text in enumerate(texts)
    ]
    result = reduce(*facts, dimensions=(Dimension(name="city"),), metrics=(BOUGHT,))

    cells = result.slices["city"]
    units = {each.slice: each.units for each in cells if each.variant == "control"}
    assert units == {"(none)": 1, '"(none)"': 1, "上海": 1, 'with "quotes"': 1, "3": 1}
    assert {each.slice: each.units for each in cells if each.variant == "treatment"} == dict.fromkeys(units, 0)


def test_names_of_slices_are_never_equal() -> None:
    texts = ['"3"', "3", '"\\"3\\""', '"true"', None, '"(none)"', '"web"']
    names = name_slices(texts)

    assert len(set(names.values())) == len(texts)
    assert (names["3"], names['"web"'], names[None]) == ("3", "web", "(none)")


def test_a_covariate_is_a_number_or_missing(reduce: Any) -> None:
    texts = ["30", "1e400", "1e160", '"30"', "true", None, "-0.5"]
    facts = [
        an_exposure_fact(str(n), unit=str(n), attributes={} if text is None else {"age": text})
        for n, text in enumerate(texts)
    ]
    (found, _) = reduce(*facts, covariates=("age",)).covariates

    assert (found.units, found.open_units, found.total, found.mean) == (2, 5, Decimal("29.5"), 14.75)
    # 30 and -0.5 are 15.25 from their mean
    assert found.m2 == pytest.approx(2 * 15.25**2, rel=1e-12)


def test_a_request_without_metrics_is_refused(reduce: Any) -> None:
    with pytest.raises(ValueError, match="at least one metric"):
        reduce(metrics=())


def test_an_engine_spills_into_its_folder_and_cleans_up(local_lake: Lake, tmp_path: Path) -> None:
    folder = tmp_path / "spill"
    folder.mkdir()
    facts = [an_exposure_fact(str(n), unit=f"unit-{n}") for n in range(2000)]
    append_facts(local_lake, "default", "exposure", facts_to_arrow("exposure", facts))

    result = DuckDBEngine(memory_limit="64MB", temp_directory=folder).aggregate(local_lake, REQUEST)

    assert result.exposed["control"] == 2000
    assert list(folder.iterdir()) == []


def test_spark_too_can_say_all_expressions(monkeypatch: pytest.MonkeyPatch) -> None:
    # Writing Spark's SQL needs no Spark, only this option's default, which loading Spark would set.
    monkeypatch.setattr(type(ibis.options), "pyspark", SimpleNamespace(treat_nan_as_null=False))
    exposures = ibis.table(queries.COLUMNS_OF_EXPOSURES, name="exposures")
    conversions = ibis.table(queries.COLUMNS_OF_CONVERSIONS, name="conversions")
    window = a_metric("soon", event="purchase", window=Window(start=HOUR, end=3 * HOUR), where={"product": ("a", 1)})
    request = replace(
        REQUEST,
        metrics=(*REQUEST.metrics, window),
        phase=2,
        since=NOW,
        enrolled_until=NOW,
        until=NOW,
        clustered=True,
        covariates=("age",),
        adjusted=("soon",),
        unit_type="device_id",
    )
    counted = queries.phase_exposures(exposures, replace(request, dimensions=(Dimension(name="channel"),)))
    earlier = [queries.earlier_phases(exposures, request, name) for name in ("unit", "cluster")]
    units = queries.leave_out(queries.first_exposures(counted, request), request, *earlier)
    wanted = wanted_conversions(conversions, request)
    with duckdb.connect() as connection:
        workspace = DuckDBWorkspace(connection)
        valued = add_values(workspace, units.mutate(number=units.unit), wanted, request)
    rows = analysed_rows(add_slices(valued.filter(valued.analysed), request), request)
    entered = queries.entered_units(units)
    for answer in (
        queries.unknown_variants(counted, request),
        queries.earlier_phase_units(units),
        queries.counts_by_variant(entered),
        queries.clusters_by_variant(entered),
        moments(once_per_dimension(rows, request), request),
        cluster_moments(once_per_dimension(rows, request), request),
    ):
        assert "SELECT" in ibis.to_sql(answer, dialect="pyspark")
