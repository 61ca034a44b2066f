"""Curves once more in pandas, where clocks change on the way: who is followed, calendar days, intervals, CUPED."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import cache

import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from abplatform.bootstrap import Platform
from abplatform.domain.curve import Curve
from abplatform.domain.metric import Metric, Window
from abplatform.services.trace import CurveQuestion
from tests.services.ledger import METRICS, OTHER_SPAN, PLANNED, Ledger
from tests.services.reckoning import adjusted_effect, effect, end_of, is_adjusted, level, value_units, watched

DAYS = (1, 3, 7, 14)
TRACED = {each.key: each for each in METRICS if each.key in {"opened", "by-day", "per-order"}}


Trace = Callable[..., Curve]


@pytest.fixture(name="trace", scope="module")
def _trace(kept: Platform) -> Trace:
    @cache
    def trace(key: str, view: str = "cumulative", cohort: str = "followed", method: str = "fixed") -> Curve:
        asked = CurveQuestion(metric=key, days=DAYS, view=view, cohort=cohort, method=method)
        return kept.explorer.curve("default", "trial", question=asked)

    return trace


def at_day(ledger: Ledger, metric: Metric, start: int, end: int, *, same: bool) -> pd.DataFrame:
    calendar = metric.window is not None and metric.window.calendar
    window = Window(start=timedelta(days=start), end=timedelta(days=end), calendar=calendar)
    return value_units(ledger, replace(metric, window=window), followed=DAYS[-1] if same else end)


def interval(metric: Metric, arm: pd.DataFrame) -> tuple[float, float]:
    """Wilson's of a rate (statsmodels), else Student's t."""
    if metric.kind == "conversion":
        low, high = proportion_confint(int(arm["y"].sum()), len(arm), method="wilson")
        return float(low), float(high)
    return level(metric, arm).bounds


@pytest.mark.parametrize(
    ("key", "view", "cohort"),
    [*((key, "cumulative", "followed") for key in TRACED), ("by-day", "daily", "same"), ("per-order", "daily", "same")],
)
def test_points_are_those_of_the_rows(ledger: Ledger, trace: Trace, key: str, view: str, cohort: str) -> None:
    """Also on 25 October 2026, which had 25 hours, of units who came at a midnight, or just before."""
    metric, curve = TRACED[key], trace(key, view, cohort)
    everybody = ledger.units.groupby("variant").size()
    for point in curve.points:
        assert point.from_day == (0 if view == "cumulative" else ((0, *DAYS)[DAYS.index(point.day)]))
        expected = at_day(ledger, metric, point.from_day, point.day, same=cohort == "same")
        assert point.units == len(expected) > 0
        for found in point.variants:
            arm = expected[expected["variant"] == found.variant]
            assert (found.units, found.open_units) == (len(arm), everybody[found.variant] - len(arm))
            assert float(found.sum) == pytest.approx(arm["y"].sum(), rel=1e-12)
            if arm["y"].var() > 0:
                assert found.value.estimate == pytest.approx(level(metric, arm).estimate, rel=1e-12)
                assert (found.value.lower, found.value.upper) == pytest.approx(
                    interval(metric, arm), rel=1e-9, abs=1e-12
                )


@pytest.mark.parametrize("key", TRACED)
def test_differences_are_those_of_two_lines_over_the_past(ledger: Ledger, trace: Trace, key: str) -> None:
    metric, p_values, adjusted = TRACED[key], [], []
    for point in trace(key).points:
        rows = at_day(ledger, metric, 0, point.day, same=False)
        control = rows[rows["variant"] == "control"]
        for found in point.comparisons:
            treated = rows[rows["variant"] == found.variant]
            regressed = is_adjusted(metric, treated, control)
            wanted = adjusted_effect(treated, control) if regressed else effect(metric, treated, control)
            assert (found.variance_reduction is not None) == regressed == (metric.kind != "ratio")
            assert found.absolute.estimate == pytest.approx(wanted.estimate, rel=1e-9)
            assert (found.absolute.lower, found.absolute.upper) == pytest.approx(wanted.bounds, rel=1e-9)
            assert found.p_value == pytest.approx(wanted.p_value, rel=1e-9)
            p_values.append(wanted.p_value)
            adjusted.append(found.adjusted_p_value)
    assert adjusted == pytest.approx(list(stats.false_discovery_control(p_values)), rel=1e-9)


def test_sequences_have_the_critical_values_of_the_documentation(ledger: Ledger, trace: Trace) -> None:
    """Half of the planned units are the control's, a quarter each treatment's."""
    metric = TRACED["by-day"]
    for point in trace("by-day", method="sequential").points:
        rows = at_day(ledger, metric, 0, point.day, same=False)
        arms = {str(name): arm for name, arm in rows.groupby("variant")}
        for found in point.variants:
            own, planned = arms[found.variant], PLANNED / (2 if found.variant == "control" else 4)
            wanted = level(metric, own).around(watched(len(own), planned))
            assert (found.value.lower, found.value.upper) == pytest.approx(wanted, rel=1e-9)
        for each in point.comparisons:
            both = arms[each.variant], arms["control"]
            critical = watched(sum(map(len, both)), PLANNED * 3 / 4)
            adjusted = adjusted_effect(*both)
            assert (each.absolute.lower, each.absolute.upper) == pytest.approx(adjusted.around(critical), rel=1e-9)
            assert (each.relative.lower, each.relative.upper) == pytest.approx(adjusted.lifts(critical), rel=1e-8)


def test_who_is_followed_until_the_last_day_is_decided_by_the_stop(ledger: Ledger, kept: Platform) -> None:
    asked = CurveQuestion(metric="by-day", days=(1, 4), cohort="same", method="fixed")
    points = kept.explorer.curve("default", "other", question=asked).points
    units = ledger.others.groupby("unit")
    first = units["at"].min()[units["variant"].nunique() == 1]
    followed = end_of(first, 4, calendar=True) <= OTHER_SPAN[1]
    for point in points:
        assert (point.units, point.followed_share) == (followed.sum(), pytest.approx(followed.mean()))
        assert 0 < point.followed_share < 1


def test_the_same_units_on_days_of_the_calendar_are_all_whose_last_day_is_over(trace: Trace) -> None:
    """Day 14 of who came on 22 October ended at the midnight after 4 November, whatever the hour at which they came."""
    same, followed = trace("by-day", "daily", "same").points, trace("by-day").points
    assert {point.units for point in same} == {followed[-1].units}
    arms = [[(each.units, each.open_units) for each in points[-1].variants] for points in (same, followed)]
    assert arms[0] == arms[1]
