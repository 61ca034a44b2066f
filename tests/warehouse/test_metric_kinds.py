"""Every kind of metric in the engines against plain loops (`kind_oracle`): counts and sums equal, moments to 1e-12."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abplatform.domain.aggregates import Aggregation, AggregationRequest
from abplatform.domain.dimension import Dimension
from abplatform.domain.events import ConversionFact
from abplatform.domain.metric import Cap, Measure, Metric, Step, Window
from abplatform.domain.metric_check import LARGEST_CAP, check_metric
from abplatform.warehouse.engines import Engine
from abplatform.warehouse.lake import Lake
from tests.builders import NOW, a_conversion_fact, a_metric, an_exposure_fact
from tests.warehouse.dense_histories import DAY, HOUR, a_dense_history, dense_history
from tests.warehouse.histories import History
from tests.warehouse.kind_checks import check_kind
from tests.warehouse.kind_oracle import expected_members
from tests.warehouse.lakes import an_empty_lake
from tests.warehouse.oracle import check_equal, expected_units, whose
from tests.warehouse.test_spark_engine import fill

HOURS = Window(start=2 * HOUR, end=3 * DAY)
CALENDAR = Window(end=2 * DAY, calendar=True)
NEXT_DAY = Window(start=DAY, end=2 * DAY, calendar=True)
# When clocks change, and when they do not.
PLACES = {
    "shanghai": ("Asia/Shanghai", datetime(2026, 3, 1, 15, tzinfo=UTC)),
    "berlin-in-spring": ("Europe/Berlin", datetime(2025, 3, 29, 22, tzinfo=UTC)),
    "berlin-in-autumn": ("Europe/Berlin", datetime(2025, 10, 25, 21, tzinfo=UTC)),
    "sao-paulo-without-midnight": ("America/Sao_Paulo", datetime(2017, 10, 14, 20, tzinfo=UTC)),
    "sao-paulo-in-autumn": ("America/Sao_Paulo", datetime(2018, 2, 17, 22, tzinfo=UTC)),
    "utc": ("UTC", datetime(2024, 2, 28, 23, tzinfo=UTC)),
}


def metrics_of(window: Window | None) -> tuple[Metric, ...]:
    """All kinds with one window."""
    both = (Step(event="view"), Step(event="pay", within=20 * HOUR))
    chain = (Step(event="view"), Step(event="view", where={"first": True}, within=30 * HOUR), Step(event="apply"))
    soon = (Step(event="view", within=30 * HOUR), Step(event="pay"))
    # Without a limit; an event may be both.
    pair = (Step(event="view", where={"n": {"$gt": 0}}), Step(event="view", where={"first": True}))
    metrics: tuple[Metric, ...] = (
        a_metric("conversion", event="pay", where={"product": ("fund", 7)}),
        a_metric("count", kind="count", event="view", where={"n": {"$gt": 1}}),
        a_metric("count-capped", kind="count", event="view", cap=Cap(value=Decimal(3)), minimum_age=2 * DAY),
        a_metric("sum", kind="sum", event="pay"),
        a_metric("sum-capped", kind="sum", event="pay", value="amount", cap=Cap(value=Decimal("2.499999"))),
        a_metric("last", kind="sum", event="pay", aggregation="last", cuped_lookback=DAY),
        a_metric("max", kind="sum", event="pay", value="amount", aggregation="max"),
        a_metric("ratio", kind="ratio", event="pay", denominator=Measure(event="view")),
        a_metric(
            "ratio-of-counts",
            kind="ratio",
            event="view",
            aggregation="count",
            where={"$not": {"product": "loan"}},
            denominator=Measure(event="pay", aggregation="sum", value="amount"),
        ),
        a_metric(
            "ratio-of-units",
            kind="ratio",
            event="pay",
            aggregation="conversion",
            denominator=Measure(event="view", aggregation="conversion", where={"first": {"$exists": True}}),
        ),
        a_metric("median", kind="quantile", event="pay"),
        a_metric("p90-last", kind="quantile", event="pay", aggregation="last", value="amount", quantile=0.9),
        a_metric("p75-events", kind="quantile", event="pay", value="amount", over="events", quantile=0.75),
        a_metric("median-events", kind="quantile", event="view", over="events", where={"product": {"$ne": "fund"}}),
        a_metric("time", kind="time_to", event="apply", quantile=0.25),
        a_metric("time-from", kind="time_to", event="pay", start=Measure(event="view", where={"first": True})),
        a_metric("time-old", kind="time_to", event="pay", minimum_age=30 * HOUR, quantile=0.4),
        a_metric("funnel", kind="funnel", event="", steps=both),
        a_metric("funnel-chain", kind="funnel", event="", steps=chain),
        a_metric("funnel-soon", kind="funnel", event="", steps=soon),
        a_metric("funnel-pair", kind="funnel", event="", steps=pair),
        a_metric("funnel-twice", kind="funnel", event="", steps=(Step(event="pay"), Step(event="pay"))),
    )
    if window is not None and window.start:
        metrics += (a_metric("retention", kind="retention", event="view"),)
    return tuple(replace(metric, window=window) for metric in metrics)


DIMENSIONS = (Dimension(name="channel"), Dimension(name="week", period="week"), Dimension(name="day", period="day"))


def a_request(metrics: Sequence[Metric], **changes: Any) -> AggregationRequest:
    """All that can be asked about the metrics."""
    keys = tuple(metric.key for metric in metrics)
    defaults: dict[str, Any] = {
        "project": "default",
        "experiment": "rate-display",
        "phase": 1,
        "variants": ("control", "treatment", "third"),
        "metrics": tuple(metrics),
        "as_of": NOW + 4 * DAY,
        "adjusted": keys,
        "watched": keys,
    }
    return AggregationRequest(**defaults | changes)


def check_answer(found: Aggregation, history: History, request: AggregationRequest) -> None:
    """Compare all cells of an answer with plain loops."""
    units = expected_units(history.exposures, request)
    events: Mapping[str, list[ConversionFact]] = defaultdict(list)
    for fact in history.conversions:
        if request.until is None or fact.timestamp < request.until:
            events[whose(fact, request)].append(fact)
    for metric in request.metrics:
        members = expected_members(units, events, metric, request)
        cells = [cell for cell in found.cells if cell.name == metric.key]
        assert len(cells) == len(request.variants)
        check_kind(cells, members, metric, request)
        assert list(found.slices) == [dimension.name for dimension in request.dimensions]
        for name, slices in found.slices.items():
            sliced = [cell for cell in slices if cell.name == metric.key]
            shown = sum(cell.units + cell.open_units for cell in sliced)
            assert shown == sum(cell.units + cell.open_units for cell in cells), "slices add up to the whole"
            check_kind(sliced, members, metric, request, name)


@pytest.mark.parametrize("window", [None, HOURS, CALENDAR, NEXT_DAY], ids=["none", "hours", "calendar", "next-day"])
def test_the_metrics_of_these_tests_could_be_saved(window: Window | None) -> None:
    for metric in metrics_of(window):
        check_metric(metric)


@pytest.mark.parametrize("window", [None, HOURS, NEXT_DAY], ids=["none", "hours", "next-day"])
@pytest.mark.parametrize("seed", [1, 2], ids=["units", "clusters"])
def test_every_kind_agrees_with_plain_loops(local_lake: Lake, engine: Engine, seed: int, window: Window | None) -> None:
    history = a_dense_history(seed)
    fill(local_lake, history.exposures, history.conversions)
    details: dict[str, Any] = (
        {"clustered": True, "dimensions": DIMENSIONS, "until": NOW + 90 * HOUR} if seed == 2 else {}
    )
    request = a_request(metrics_of(window), **details)
    check_answer(engine.aggregate(local_lake, request), history, request)


@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_any_kind_agrees_with_plain_loops_on_any_history(
    engine: Engine, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    zone, around = data.draw(st.sampled_from(list(PLACES.values())))
    rng, units = data.draw(st.randoms(use_true_random=False)), data.draw(st.integers(0, 6))
    history = dense_history(rng, zone=zone, around=around, units=units)
    metrics = metrics_of(data.draw(st.sampled_from([None, HOURS, CALENDAR, NEXT_DAY])))
    asked = data.draw(st.lists(st.sampled_from(metrics), min_size=1, max_size=4, unique_by=lambda each: each.key))
    request = a_request(
        asked,
        time_zone=zone,
        as_of=around + data.draw(st.integers(0, 6 * 24)) * HOUR,
        clustered=data.draw(st.booleans()),
        dimensions=DIMENSIONS,
    )
    with an_empty_lake(tmp_path_factory.mktemp("lake")) as lake:
        fill(lake, history.exposures, history.conversions)
        check_answer(engine.aggregate(lake, request), history, request)


def test_twelve_funnels_and_times_are_no_query_that_doubles_with_each(local_lake: Lake, engine: Engine) -> None:
    """A query that held the one before twice took a minute with seven of them, and ended in a RecursionError."""
    history = a_dense_history(7)
    fill(local_lake, history.exposures, history.conversions)
    steps = (Step(event="view"), Step(event="pay", within=20 * HOUR), Step(event="apply"))
    start = Measure(event="view")
    metrics = []
    for number in range(12):
        window = Window(end=(number % 5 + 2) * DAY)
        metrics.append(a_metric(f"f-{number}", kind="funnel", event="", steps=steps, window=window))
        metrics.append(a_metric(f"t-{number}", kind="time_to", event="pay", start=start, window=window))
    request = a_request(metrics)
    check_answer(engine.aggregate(local_lake, request), history, request)


def test_events_that_are_alike_take_no_more_steps_than_there_are_events(local_lake: Lake, engine: Engine) -> None:
    """Two of one time and kind, of many units: an engine may sort them in another way for each step."""
    exposures = [an_exposure_fact(f"{n}", unit=f"{n}") for n in range(300)]
    conversions = [a_conversion_fact(f"{n}-{twin}", event="pay", unit=f"{n}") for twin in "ab" for n in range(300)]
    fill(local_lake, exposures, conversions)
    metric = a_metric("thrice", kind="funnel", event="", steps=(Step(event="pay"),) * 3, window=None)
    (cell, *_) = engine.aggregate(local_lake, a_request([metric])).cells
    assert cell.steps == (300, 300, 0)


@pytest.mark.parametrize("place", PLACES)
def test_calendar_days_agree_with_plain_loops(local_lake: Lake, engine: Engine, place: str) -> None:
    zone, around = PLACES[place]
    history = a_dense_history(3, zone=zone, around=around)
    fill(local_lake, history.exposures, history.conversions)
    names = ("count-capped", "last", "ratio", "retention", "p75-events", "time-from", "funnel")
    metrics = [metric for metric in (*metrics_of(CALENDAR), *metrics_of(NEXT_DAY)[-1:]) if metric.key in names]
    request = a_request(metrics, time_zone=zone, as_of=around + 5 * DAY - 2 * HOUR)
    check_answer(engine.aggregate(local_lake, request), history, request)


@pytest.mark.parametrize("window", [None, NEXT_DAY], ids=["none", "next-day"])
def test_spark_agrees_too(local_lake: Lake, spark_on_threads: Engine, engine: Engine, window: Window | None) -> None:
    check_spark(local_lake, spark_on_threads, engine, metrics_of(window))


def test_spark_agrees_on_clusters_and_slices_too(local_lake: Lake, spark_on_threads: Engine, engine: Engine) -> None:
    windows = {"ratio": None, "p90-last": HOURS, "time-from": NEXT_DAY}
    metrics = [metric for key, window in windows.items() for metric in metrics_of(window) if metric.key == key]
    check_spark(local_lake, spark_on_threads, engine, metrics, clustered=True, dimensions=DIMENSIONS[:2])


def check_spark(lake: Lake, spark: Engine, engine: Engine, metrics: Sequence[Metric], **changes: Any) -> None:
    """Compare Spark with plain loops and with DuckDB, where clocks change."""
    zone, around = PLACES["berlin-in-autumn"]
    history = a_dense_history(4, zone=zone, around=around)
    fill(lake, history.exposures, history.conversions)
    request = a_request(metrics, time_zone=zone, as_of=around + 5 * DAY, **changes)
    answer = spark.aggregate(lake, request)
    check_answer(answer, history, request)
    check_equal(answer, engine.aggregate(lake, request))


@pytest.mark.parametrize("kind", ["quantile", "time_to"])
def test_of_many_values_those_that_matter_are_cut_points(local_lake: Lake, engine: Engine, kind: Any) -> None:
    rng = random.Random(5)
    exposures = [
        an_exposure_fact(f"{n}", unit=f"{n}", variant=rng.choice(["control", "treatment"])) for n in range(600)
    ]
    conversions = [
        a_conversion_fact(
            f"{n}", event="pay", unit=f"{n}", timestamp=NOW + rng.random() * 9 * DAY, value=Decimal(n) / 8
        )
        for n in range(500)
    ]
    fill(local_lake, exposures, conversions)
    metric = a_metric("many", kind=kind, quantile=0.3, event="pay", window=None)
    history, request = History(exposures, conversions), a_request([metric], as_of=NOW + 9 * DAY)
    answer = engine.aggregate(local_lake, request)
    check_answer(answer, history, request)
    for cell in answer.cells:
        known = cell.below or cell.lifetimes
        assert known is None or 100 < len(known.cuts) <= 201


def test_going_on_says_the_same_as_reading_everything(local_lake: Lake, engine: Engine, tmp_path: Path) -> None:
    history = a_dense_history(6)
    names = ("count", "count-capped", "sum-capped", "ratio-of-counts", "ratio-of-units", "retention", "median")
    windows = {"none": None, "days": NEXT_DAY}
    found = [
        replace(metric, key=f"{key}-{metric.key}")
        for key, window in windows.items()
        for metric in metrics_of(window)
        if metric.key in names
    ]
    found.append(a_metric("hardly-capped", kind="sum", event="pay", cap=Cap(value=LARGEST_CAP)))
    request = a_request(found, clustered=True, dimensions=DIMENSIONS, time_zone="Asia/Shanghai")
    early = NOW + 2 * DAY
    fill(
        local_lake,
        [fact for fact in history.exposures if fact.timestamp < early],
        [fact for fact in history.conversions if fact.timestamp < early],
    )
    kept = engine.keep(local_lake, replace(request, as_of=early), None, folder=(tmp_path / "kept").as_uri())
    fill(
        local_lake,
        [fact for fact in history.exposures if fact.timestamp >= early],
        [fact for fact in history.conversions if fact.timestamp >= early],
    )
    gone_on = engine.aggregate(local_lake, request, kept)
    check_answer(gone_on, history, request)
    check_equal(gone_on, engine.aggregate(local_lake, request))
