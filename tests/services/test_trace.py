"""Curves against pandas on the raw facts: every kind that has one, both views, open windows, ties at their ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from abplatform.bootstrap import Platform
from abplatform.domain.curve import Curve, CurveComparison, CurvePoint, CurveVariant
from abplatform.domain.events import ConversionFact, ExposureFact
from abplatform.domain.experiment import Amount, Experiment
from abplatform.domain.metric import Cap, Measure, Window
from abplatform.errors import InvalidInput
from abplatform.services.aggregate import build_request
from abplatform.services.trace import CurveQuestion, read_curve
from abplatform.stats.levels import level_sequence
from abplatform.stats.sufficient import MeanStats
from tests.builders import (
    NOW,
    a_conversion_fact,
    a_metric,
    a_metric_use,
    a_plan,
    an_exposure_fact,
    an_external_experiment,
)
from tests.services.growing import of_time, put
from tests.services.lives import lead
from tests.warehouse.looking import a_platform, begin

ARMS = ("control", "treatment")
DAYS = (1, 2, 7, 20)
CAP = Decimal(60)
METRICS = (
    a_metric("bought", event="order"),
    a_metric("orders", kind="count", event="order", window=None),
    a_metric("large", kind="count", event="order", where={"large": True}),
    a_metric("amount", kind="sum", event="order"),
    a_metric("capped", kind="sum", event="order", cap=Cap(value=CAP)),
    a_metric("largest", kind="sum", event="order", aggregation="max"),
    a_metric("balance", kind="sum", event="balance", aggregation="last"),
    a_metric("per-order", kind="ratio", event="order", denominator=Measure(event="order")),
    a_metric("guard", kind="sum", event="order"),
    a_metric("by-calendar", kind="sum", event="order", window=Window(end=timedelta(days=7), calendar=True)),
    a_metric("old", kind="sum", event="order", minimum_age=timedelta(days=12)),
    a_metric("again", kind="retention", event="order", window=Window(start=timedelta(days=1), end=timedelta(days=2))),
    a_metric("wait", kind="time_to", event="order"),
)
USES = (
    a_metric_use("bought"),
    *(a_metric_use(each.key, role="secondary", mde=None) for each in METRICS[1:] if each.key != "guard"),
    a_metric_use("guard", role="guardrail", mde=None, non_inferiority_margin=Amount(relative=0.1)),
)
TICK = timedelta(microseconds=1)


@pytest.fixture(scope="module", name="history")
def _history() -> tuple[pd.DataFrame, pd.DataFrame]:
    """400 units that came in 30 days, some a whole number of days before now; events at random, and on the ends."""
    chance = np.random.default_rng(11)
    units, events = [], []
    for number in range(400):
        whole = timedelta(days=int(chance.integers(0, 30)))
        ago = whole if number % 5 == 0 else timedelta(seconds=float(chance.uniform(0, 30 * 86_400)))
        first = NOW - ago
        units.append({"unit": f"u-{number}", "variant": ARMS[number % 2], "first": first})
        delays = [timedelta(days=float(chance.exponential(5)) - 1) for _ in range(int(chance.integers(0, 6)))]
        if number % 3 == 0:
            delays += [timedelta(days=day) - tick for day in DAYS for tick in (TICK, timedelta(0))]
        for place, delay in enumerate(delays):
            if first + delay <= NOW:
                name = "balance" if place % 3 == 1 else "order"
                value = int(chance.integers(1, 40)) + (5 if number % 2 else 0)
                row = {"unit": f"u-{number}", "event": name, "at": first + delay, "value": value}
                events.append(row | {"large": value > 20})
    return pd.DataFrame(units), pd.DataFrame(events)


@pytest.fixture(scope="module", name="platform")
def _platform(
    history: tuple[pd.DataFrame, pd.DataFrame], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    with a_platform(tmp_path_factory.mktemp("home")) as platform:
        definition = an_external_experiment("trial", metrics=USES, plan=a_plan(method="fixed", planned_units=400))
        begin(platform, definition, metrics=METRICS)
        lead(platform.uow, replace(definition, key="watched", plan=a_plan(planned_units=1000)), "start")
        lead(platform.uow, replace(definition, key="adjusted", plan=a_plan(planned_units=1000, cuped=True)), "start")
        put(platform, facts(history))
        yield platform


def facts(history: tuple[pd.DataFrame, pd.DataFrame]) -> Iterator[ExposureFact | ConversionFact]:
    units, events = history
    for key in ("trial", "watched", "adjusted"):
        for row in units.itertuples():
            yield an_exposure_fact(
                f"{key} {row.unit}",
                experiment=key,
                unit=row.unit,
                variant=row.variant,
                expected_variant=None,
                **of_time(row.first.to_pydatetime()),
            )
    for row in events.itertuples():
        yield a_conversion_fact(
            f"c-{row.Index}",
            event=row.event,
            unit=row.unit,
            value=Decimal(row.value),
            properties={"large": "true" if row.large else "false"},
            **of_time(row.at.to_pydatetime()),
        )


def trace(platform: Platform, key: str = "trial", **question: Any) -> Curve:
    """A curve as of the tests' time, so that windows close at the very ends of which the history has so many."""
    with platform.explorer.analysing("default") as (engine, owner, _):

        def reduce(experiment: Experiment, metrics: Any) -> Any:
            state = platform.lake.state("default")
            request = build_request(owner, experiment, metrics=metrics, as_of=NOW, state=state)
            return engine.aggregate(platform.lake, request)

        asked = CurveQuestion(**{"days": DAYS} | question)
        return read_curve(platform.uow, reduce, "default", key, question=asked, now=NOW)


def values(history: tuple[pd.DataFrame, pd.DataFrame], metric: str, start: int, end: int, age: int = 0) -> pd.DataFrame:
    """Of each unit followed until the end: its variant, and its value between both days."""
    units, events = history
    known = units[units["first"] + timedelta(days=max(end, age)) <= NOW]
    of_units = known.merge(events, on="unit", how="left")
    delay = of_units["at"] - of_units["first"]
    inside = of_units[(delay >= timedelta(days=start)) & (delay < timedelta(days=end))]
    inside = inside[inside["event"] == ("balance" if metric == "balance" else "order")]
    if metric == "large":
        inside = inside[inside["large"].astype(bool)]
    if metric == "balance":
        inside = inside.sort_values(["at", "value"]).groupby("unit").tail(1)
    groups = inside.groupby("unit")["value"]
    made = {
        "bought": groups.count().clip(upper=1),
        "orders": groups.count(),
        "large": groups.count(),
        "capped": groups.sum().clip(upper=float(CAP)),
        "largest": groups.max(),
    }.get(metric, groups.sum())
    found = known.set_index("unit")[["variant"]].copy()
    found["value"] = made.reindex(found.index).fillna(0).astype(float)
    found["below"] = groups.count().reindex(found.index).fillna(0).astype(float)
    return found


def spans(view: str) -> list[tuple[int, int]]:
    return list(zip((0, *DAYS[:-1]) if view == "daily" else (0,) * len(DAYS), DAYS, strict=True))


def arm(point: CurvePoint, name: str) -> CurveVariant:
    return next(each for each in point.variants if each.variant == name)


def effect(point: CurvePoint) -> CurveComparison:
    (comparison,) = point.comparisons
    return comparison


@pytest.mark.parametrize("view", ["cumulative", "daily"])
@pytest.mark.parametrize("metric", [each.key for each in METRICS[:9]])
def test_every_point_is_what_pandas_finds(
    platform: Platform, history: tuple[pd.DataFrame, pd.DataFrame], metric: str, view: str
) -> None:
    if (metric, view) == ("balance", "daily"):
        with pytest.raises(InvalidInput, match="view: must be cumulative: balance is a last value"):
            trace(platform, metric=metric, view=view)
        return
    curve = trace(platform, metric=metric, view=view)
    assert [(point.from_day, point.day) for point in curve.points] == spans(view)
    everybody = history[0].groupby("variant").size()
    for point in curve.points:
        expected = values(history, metric, point.from_day, point.day)
        assert point.units == len(expected)
        assert point.followed_share == len(expected) / 400
        assert bool(point.warnings) == (len(expected) < 200)
        for name, group in expected.groupby("variant"):
            found = arm(point, str(name))
            assert (found.units, found.open_units) == (len(group), everybody[name] - len(group))
            assert found.open_share == pytest.approx(1 - len(group) / everybody[name])
            assert Decimal(found.sum) == Decimal(int(group["value"].sum()))
            mean = group["value"].sum() / group["below"].sum() if metric == "per-order" else group["value"].mean()
            assert found.value.estimate == pytest.approx(mean, rel=1e-12)
        arms = [expected[expected["variant"] == name]["value"] for name in ARMS[::-1]]
        if metric != "per-order":
            assert effect(point).absolute.estimate == pytest.approx(arms[0].mean() - arms[1].mean(), rel=1e-9)


def test_days_between_add_up_to_what_there_is_until_a_day(platform: Platform) -> None:
    """Of the same units: sums and counts have nothing twice, and nothing between."""
    for metric in ("amount", "orders"):
        daily = trace(platform, metric=metric, view="daily", cohort="same")
        total = trace(platform, metric=metric, cohort="same")
        for name in ARMS:
            parts = [Decimal(arm(point, name).sum) for point in daily.points]
            until = [Decimal(arm(point, name).sum) for point in total.points]
            assert [sum(parts[: index + 1]) for index in range(len(parts))] == until
            assert len({arm(point, name).units for point in (*daily.points, *total.points)}) == 1


def test_the_same_units_are_those_followed_until_the_last_day(
    platform: Platform, history: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    curve = trace(platform, metric="amount", cohort="same")
    for point in curve.points:
        expected = values(history, "amount", 0, point.day, age=DAYS[-1])
        for name, group in expected.groupby("variant"):
            assert arm(point, str(name)).value.estimate == pytest.approx(group["value"].mean(), rel=1e-12)
            assert arm(point, str(name)).units == len(group)


def test_a_minimum_age_holds_at_all_days(platform: Platform, history: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    for point in trace(platform, metric="old").points:
        expected = values(history, "old", 0, point.day, age=12)
        assert point.units == len(expected)
        for name, group in expected.groupby("variant"):
            assert Decimal(arm(point, str(name)).sum) == Decimal(int(group["value"].sum()))


def test_days_of_a_calendar_end_with_their_midnight(
    platform: Platform, history: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    curve = trace(platform, metric="by-calendar")
    assert curve.calendar
    units, events = history
    of_units = units.merge(events[events["event"] == "order"], on="unit", how="left")
    for point in curve.points:
        ends = of_units["first"].dt.floor("D") + timedelta(days=point.day)
        inside = of_units[(of_units["at"] >= of_units["first"]) & (of_units["at"] < ends) & (ends <= NOW)]
        for name in ARMS:
            total = inside[inside["variant"] == name]["value"].sum()
            assert Decimal(arm(point, name).sum) == Decimal(int(total))


def test_intervals_of_a_fixed_plan_are_those_of_the_textbooks(
    platform: Platform, history: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    """Wilson's of statsmodels for a rate, Student's t for a mean, Welch's for a difference."""
    rates, means = (trace(platform, metric=each, method="fixed") for each in ("bought", "amount"))
    assert (rates.interval_kind, means.interval_kind) == ("fixed", "fixed")
    for rate, mean in zip(rates.points, means.points, strict=True):
        expected = values(history, "amount", 0, rate.day)
        for name, group in expected.groupby("variant"):
            low, high = proportion_confint(int((group["value"] > 0).sum()), len(group), method="wilson")
            found = arm(rate, str(name)).value
            assert (found.lower, found.upper) == pytest.approx((low, high), rel=1e-9)
            found = arm(mean, str(name)).value
            assert (found.lower, found.upper) == pytest.approx(DescrStatsW(group["value"]).tconfint_mean(), rel=1e-9)
        one, two = (DescrStatsW(expected[expected["variant"] == name]["value"]) for name in ARMS[::-1])
        welch = CompareMeans(one, two).tconfint_diff(usevar="unequal")
        assert (effect(mean).absolute.lower, effect(mean).absolute.upper) == pytest.approx(welch, rel=1e-9)
        p = stats.ttest_ind(
            *(expected[expected["variant"] == name]["value"] for name in ARMS[::-1]), equal_var=False
        ).pvalue
        assert effect(mean).p_value == pytest.approx(p, rel=1e-9)


def test_p_values_are_adjusted_over_all_days(platform: Platform) -> None:
    points = trace(platform, metric="amount").points
    p_values = [effect(point).p_value or 0.0 for point in points]
    adjusted = [effect(point).adjusted_p_value for point in points]
    assert adjusted == pytest.approx(list(stats.false_discovery_control(p_values)), rel=1e-9)


def test_intervals_of_a_sequential_plan_may_be_watched(
    platform: Platform, history: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    watched, once = (trace(platform, "watched", metric="amount", method=each) for each in (None, "fixed"))
    assert (watched.method, watched.interval_kind) == ("sequential", "confidence_sequence")
    for wide, narrow in zip(watched.points, once.points, strict=True):
        for name in ARMS:
            sample = values(history, "amount", 0, wide.day).query("variant == @name")["value"]
            # Half of 1,000 planned units are each arm's.
            expected = level_sequence(MeanStats.of(sample), planned_units=500)
            found, other = arm(wide, name).value, arm(narrow, name).value
            assert (found.lower, found.upper) == pytest.approx((float(expected.lower), float(expected.upper)), rel=1e-9)
            assert found.estimate == other.estimate
            assert (found.upper or 0) - (found.lower or 0) > (other.upper or 0) - (other.lower or 0)
        assert effect(wide).interval_kind == "confidence_sequence"
        assert "TOO_FEW_UNITS" in effect(wide).warnings


def test_cuped_adjusts_every_point_but_those_of_guardrails(
    platform: Platform, history: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    for point in trace(platform, "adjusted", metric="amount").points:
        assert effect(point).variance_reduction is not None
        for name, group in values(history, "amount", 0, point.day).groupby("variant"):
            assert arm(point, str(name)).value.estimate == pytest.approx(group["value"].mean(), rel=1e-12)
    for point in trace(platform, "adjusted", metric="guard").points:
        assert effect(point).variance_reduction is None


def test_the_usual_days_end_where_nobody_has_been_followed(platform: Platform) -> None:
    curve = trace(platform, metric="amount", days=None)
    assert [point.day for point in curve.points] == [1, 3, 7, 14]
    named = trace(platform, metric="amount", days=(1, 30, 3650))
    assert [(point.day, point.units) for point in named.points][1:] == [(30, 0), (3650, 0)]
    assert [each.value.estimate for each in named.points[2].variants] == [None, None]
    assert effect(named.points[2]).not_computable == "NO_UNITS"


def test_a_cap_holds_at_each_point_and_the_mean_without_it_stands_beside(
    platform: Platform, history: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    curve = trace(platform, metric="capped")
    assert curve.cap == "60"
    for point in curve.points:
        for name, group in values(history, "amount", 0, point.day).groupby("variant"):
            assert arm(point, str(name)).uncapped_mean == pytest.approx(group["value"].mean(), rel=1e-12)


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"metric": "again"}, "metric: .*again is a retention, which has no curve; .* conversion of the same event"),
        ({"metric": "wait"}, "metric: .*wait is a time_to, which has no curve; use a conversion, count or sum"),
        ({"metric": "nothing"}, "metric: trial does not use a metric 'nothing'"),
        ({"metric": "amount", "days": ()}, "days: must be 1 to 60 days"),
        ({"metric": "amount", "days": tuple(range(1, 62))}, "days: must be 1 to 60 days"),
        ({"metric": "amount", "days": (0, 3651)}, "days.0: must be from 1 to 3650, not 0"),
        ({"metric": "amount", "days": (7, 7)}, r"days.1: must be after the day before it \(7\), not 7"),
        ({"metric": "amount", "view": "weekly"}, "view: must be one of cumulative, daily"),
        ({"metric": "amount", "cohort": "all"}, "cohort: must be one of followed, same"),
        ({"metric": "amount", "cohort": "same", "days": None}, "days: is required where the same units are traced"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_name(platform: Platform, question: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        trace(platform, **question)


def test_the_explorer_traces_as_of_now(platform: Platform, history: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    before, found = (
        datetime.now(UTC),
        platform.explorer.curve("default", "trial", question=CurveQuestion(metric="orders")),
    )
    assert before <= found.computed_at <= datetime.now(UTC)
    followed = sum(history[0]["first"] + timedelta(days=1) <= found.computed_at)
    assert found.points[0].units == followed


def test_clusters_are_what_is_counted_where_they_were_randomised(
    platform: Platform, history: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    """The interval of a mean over circles is that of a ratio of their sums: the delta method by hand."""
    units, _ = history
    circle = units.assign(circle=units["variant"] + (units.index // 2 % 40).astype(str)).set_index("unit")["circle"]
    definition = an_external_experiment(
        "circles",
        metrics=USES[:-1],  # guardrails of clusters need more of them
        unit_type="referral_circle",
        analysis_unit="user_id",
        plan=a_plan(method="fixed", planned_units=400),
    )
    lead(platform.uow, definition, "start")
    put(
        platform,
        (
            an_exposure_fact(
                f"circles {row.unit}",
                experiment="circles",
                unit=row.unit,
                variant=row.variant,
                expected_variant=None,
                cluster=circle[row.unit],
                **of_time(row.first.to_pydatetime()),
            )
            for row in units.itertuples()
        ),
    )
    curve = trace(platform, "circles", metric="amount")
    assert curve.method == "fixed"
    for point in curve.points:
        for name, group in values(history, "amount", 0, point.day).groupby("variant"):
            sums = group.groupby(circle)["value"].agg(["sum", "count"])
            mean, number = sums["sum"].sum() / sums["count"].sum(), len(sums)
            residuals = sums["sum"] - mean * sums["count"]
            error = np.sqrt((residuals**2).sum() / (number - 1) / number) / sums["count"].mean()
            half = stats.t.ppf(0.975, number - 1) * error
            found = arm(point, str(name)).value
            assert found.estimate == pytest.approx(mean, rel=1e-12)
            assert (found.lower, found.upper) == pytest.approx((mean - half, mean + half), rel=1e-9)
