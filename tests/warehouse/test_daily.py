"""Day by day against plain loops: each day says what a look at its end would have found."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec import structs

from abplatform.domain.aggregates import AggregationRequest, DailyCells
from abplatform.domain.metric import Cap, Metric, Step, Window
from abplatform.warehouse import daily_cells
from abplatform.warehouse.bulk import append_facts
from abplatform.warehouse.engines import Engine
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.layout import facts_to_arrow
from tests.builders import NOW, a_conversion_fact, a_metric, an_exposure_fact
from tests.warehouse.histories import History, a_history
from tests.warehouse.oracle import (
    check_before,
    check_cell,
    check_equal,
    expected_before,
    expected_units,
    expected_value,
    whose,
)
from tests.warehouse.test_engine_oracle import REQUESTS

DAY = timedelta(days=1)
CLOSE = 1e-6


@pytest.mark.parametrize("name", ["plain", "bounded", "clustered", "closed-and-stopped", "adjusted", "first-phase"])
def test_each_day_agrees_with_plain_loops(local_lake: Lake, engine: Engine, name: str) -> None:
    check_days(local_lake, engine, seed=len(name), name=name)


def test_spark_agrees_too(local_lake: Lake, spark_on_threads: Engine) -> None:
    check_days(local_lake, spark_on_threads, seed=3, name="closed-and-stopped")


def check_days(lake: Lake, engine: Engine, *, seed: int, name: str) -> None:
    """Compare all days of a random history with plain loops."""
    history, request = tame_history(seed), replace(REQUESTS[name], daily=True)
    deliver(lake, history)
    days = engine.aggregate(lake, request).days
    end = min(request.as_of, request.until or request.as_of).date()
    units = expected_units(history.exposures, request)
    began = min(unit.first.timestamp for unit in units.values() if unit.analysed).date()
    assert [each.day for each in days] == [began + number * DAY for number in range((end - began).days + 1)]
    for each in days:
        check_day(each, history, request)


def check_day(found: DailyCells, history: History, request: AggregationRequest) -> None:
    """Compare the cells of one day."""
    midnight = datetime.combine(found.day + DAY, time.min, UTC)
    then = replace(request, as_of=min(midnight, request.as_of))
    units = {
        name: unit
        for name, unit in expected_units(history.exposures, request).items()
        if unit.first.timestamp < midnight
    }
    for cell in found.cells:
        metric = next(metric for metric in request.metrics if metric.key == cell.name)
        members = {name: unit for name, unit in units.items() if unit.analysed and unit.first.variant == cell.variant}
        events = {
            name: [fact for fact in history.conversions if whose(fact, request) == name and fact.timestamp < midnight]
            for name in members
        }
        values = {name: expected_value(unit, events[name], metric, then) for name, unit in members.items()}
        check_cell(cell, values, units, request, close=CLOSE)
        before = {name: expected_before(units[name], events[name], metric, then) for name in values}
        check_before(cell, values, before, adjusted=metric.key in request.adjusted, close=CLOSE)


def test_without_units_there_are_no_days(local_lake: Lake, engine: Engine) -> None:
    assert engine.aggregate(local_lake, replace(REQUESTS["plain"], daily=True)).days == ()


def test_of_a_long_history_the_last_days_are_given(
    local_lake: Lake, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(local_lake, tame_history(4))
    request = replace(REQUESTS["plain"], daily=True)
    days = engine.aggregate(local_lake, request).days
    monkeypatch.setattr(daily_cells, "MOST_DAYS", 3)
    assert engine.aggregate(local_lake, request).days == days[-3:]


@pytest.mark.parametrize("window", [True, False], ids=["windows", "no-windows"])
def test_days_go_on_from_what_was_kept(local_lake: Lake, engine: Engine, tmp_path: Path, *, window: bool) -> None:
    metrics = tuple(metric for metric in REQUESTS["adjusted"].metrics if (metric.window is not None) == window)
    adjusted = tuple(metric.key for metric in metrics if metric.key in REQUESTS["adjusted"].adjusted)
    request = replace(REQUESTS["adjusted"], metrics=metrics, adjusted=adjusted, phase=1)
    deliver(local_lake, tame_history(6))
    kept = engine.keep(local_lake, request, None, folder=(tmp_path / "kept").as_uri())
    daily = replace(request, daily=True)
    found, expected = engine.aggregate(local_lake, daily, kept), engine.aggregate(local_lake, daily)
    check_equal(replace(found, days=()), replace(expected, days=()))
    assert found.days == expected.days


def test_a_window_that_closes_at_midnight_is_of_the_day_before(local_lake: Lake, engine: Engine) -> None:
    midnight = datetime.combine(NOW.date(), time.min, UTC)
    history = tame_history(1)
    first = structs.replace(
        history.exposures[0], experiment="rate-display", phase=1, variant="control", timestamp=midnight - 3 * DAY
    )
    deliver(local_lake, History([first], history.conversions[:1]))
    request = replace(REQUESTS["first-phase"], metrics=(soon(),), adjusted=(), daily=True)
    counts = {each.day: each.cells[0].units for each in engine.aggregate(local_lake, request).days}
    assert [counts[NOW.date() - number * DAY] for number in (2, 1, 0)] == [0, 1, 1]


@pytest.mark.parametrize("clustered", [False, True], ids=["units", "clusters"])
def test_the_last_day_is_what_the_look_says(local_lake: Lake, engine: Engine, *, clustered: bool) -> None:
    deliver(local_lake, tame_history(4))
    week, day_two = Window(end=7 * DAY), Window(start=DAY, end=2 * DAY, calendar=True)
    cap, amounts = Cap(value=Decimal("99.123457")), {"kind": "sum", "event": "purchase"}
    metrics = (
        a_metric("count", kind="count", event="purchase", window=None),
        a_metric("counted", kind="count", event="purchase", window=week, cap=Cap(value=Decimal(1))),
        a_metric("capped", **amounts, window=None, cap=cap),
        a_metric("capped-soon", **amounts, window=week, cap=cap, minimum_age=9 * DAY),
        a_metric("largest", **amounts, aggregation="max", window=week),
        a_metric("last", **amounts, aggregation="last", window=week),
        a_metric("back", kind="retention", event="purchase", window=day_two),
        a_metric("both", kind="funnel", event="", steps=(Step(event="deposit"), Step(event="purchase")), window=week),
    )
    request = replace(REQUESTS["plain"], metrics=metrics, daily=True, clustered=clustered, time_zone="Asia/Shanghai")
    request = replace(request, adjusted=() if clustered else ("counted", "capped", "capped-soon"))
    found = engine.aggregate(local_lake, request)
    assert {cell.name for cell in found.days[-1].cells} == {metric.key for metric in metrics}
    for mine, look in zip(found.days[-1].cells, found.cells, strict=True):
        counts = ("name", "variant", "units", "open_units", "nonzero", "total", "clusters")
        counts += ("cluster_nonzero", "cluster_short")
        assert [getattr(mine, name) for name in counts] == [getattr(look, name) for name in counts]
        assert (mine.mean, mine.m2) == pytest.approx((look.mean, look.m2), rel=1e-9)
        if mine.name in request.adjusted:
            before = [(cell.before_mean, cell.before_m2, cell.before_c) for cell in (mine, look)]
            assert before[0] == pytest.approx(before[1], rel=1e-9)
        if clustered:
            assert (mine.cluster_m2_y, mine.cluster_m2_d) == pytest.approx((look.cluster_m2_y, look.cluster_m2_d))


def test_what_cannot_be_taken_apart_has_no_days(local_lake: Lake, engine: Engine) -> None:
    deliver(local_lake, tame_history(4))
    metrics = (
        a_metric("median", kind="quantile", event="purchase"),
        # Counts from a day on, and grows after it.
        a_metric("grown-up", event="purchase", window=None, minimum_age=3 * DAY),
        a_metric("bought", event="purchase"),
    )
    days = engine.aggregate(local_lake, replace(REQUESTS["plain"], metrics=metrics, daily=True)).days
    assert {cell.name for each in days for cell in each.cells} == {"bought"}


def tame_history(seed: int) -> History:
    """A history whose amounts can be squared, and the squares added, without rounding."""
    history = a_history(seed, extremes=(Decimal("0.125"), Decimal(1000)))
    tamed = [structs.replace(fact, value=fact.value and fact.value % 1000) for fact in history.conversions]
    return History(history.exposures, tamed)


def test_large_amounts_that_differ_little_keep_their_variance(local_lake: Lake, engine: Engine) -> None:
    began = NOW - 3 * DAY
    exposures = [an_exposure_fact(f"e-{number}", unit=f"u-{number}", timestamp=began) for number in range(100)]
    conversions = [
        a_conversion_fact(f"c-{number}", unit=f"u-{number}", timestamp=began, value=Decimal(10**9 + number % 2))
        for number in range(100)
    ]
    deliver(local_lake, History(exposures, conversions))
    largest = a_metric("largest", kind="sum", event="purchase", window=Window(end=DAY))
    found = engine.aggregate(local_lake, replace(REQUESTS["first-phase"], metrics=(largest,), daily=True))
    (cell,) = (cell for cell in found.days[-1].cells if cell.units)
    assert (cell.mean, cell.m2) == (10**9 + 0.5, pytest.approx(25.0, rel=1e-9))


def soon() -> Metric:
    """A metric over three days."""
    return a_metric("soon", event="purchase", window=Window(end=3 * DAY))


def deliver(lake: Lake, history: History) -> None:
    append_facts(lake, "default", "exposure", facts_to_arrow("exposure", history.exposures))
    append_facts(lake, "default", "conversion", facts_to_arrow("conversion", history.conversions))
