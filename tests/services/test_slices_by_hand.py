"""Slices once more in pandas: what units did before, what they met elsewhere, and what CUPED makes of each slice."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.oneway import anova_generic

from abplatform.bootstrap import Platform
from abplatform.domain.behaviour import Behaviour, FrequencyBins, MoneyBins, RecencyBins
from abplatform.domain.breakdown import Breakdown, MetricBreakdown
from abplatform.domain.metric import Measure, Metric
from abplatform.domain.scorecard import ComparisonResult
from abplatform.services.make_behaviour import make_behaviour
from tests.builders import a_behaviour
from tests.services.ledger import ARMS, AS_OF, DAY, METRICS, OTHER_ARMS, TICK, Ledger
from tests.services.reckoning import Effect, adjusted_effect, effect, is_adjusted, value_units

ORDER, LOGIN = Measure(event="order"), Measure(event="login")
QUANTILES = a_behaviour(
    "by-quantiles",
    activity=(ORDER, LOGIN),
    look_back=20 * DAY,
    recency=RecencyBins(quantiles=4),
    frequency=FrequencyBins(quantiles=3),
    money=MoneyBins(quantiles=5),
)
EDGES = a_behaviour(
    "by-edges",
    activity=(ORDER,),
    amount=Measure(event="login", value="fee"),
    look_back=10 * DAY,
    recency=RecencyBins(edges=(TICK, 5 * DAY)),
    frequency=FrequencyBins(edges=(1, 3)),
    money=MoneyBins(edges=(Decimal(3), Decimal(6))),
)
LIFE = a_behaviour(
    "life",
    kind="life_cycle",
    activity=(LOGIN, ORDER),
    look_back=14 * DAY,
    new_within=3 * DAY,
    longer_than_percent=150,
    less_than_percent=80,
)
SOURCE = a_behaviour("source", kind="channel", activity=(ORDER, LOGIN), source="source")
HIGH = {3: 2, 4: 3, 5: 3}
"""The lowest high score, by the number of groups."""


@pytest.fixture(name="behaviours", scope="module")
def _behaviours(kept: Platform) -> dict[str, Behaviour]:
    made = (make_behaviour(kept.past, "default", each, now=AS_OF) for each in (QUANTILES, EDGES, LIFE, SOURCE))
    return {each.behaviour.key: each.behaviour for each in made}


@pytest.fixture(name="slices", scope="module")
def _slices(ledger: Ledger, behaviours: dict[str, Behaviour]) -> dict[str, pd.Series[Any]]:
    """The slice of each unit, by dimension."""
    units, rows = ledger.units, defaultdict[str, list[Any]](list)
    for row in ledger.history.query("at < first").itertuples():
        rows[row.unit].append(row)
    found = {
        key: pd.Series({unit: class_of(each, rows[unit], first) for unit, first in units["first"].items()})
        for key, each in behaviours.items()
    }
    found["experiment:other"] = ledger.met()
    return found


def class_of(behaviour: Behaviour, past: list[Any], time: datetime) -> str:
    """By the table of ``docs/behaviours.md``, row by row.

    Args:
        behaviour: of the module.
        past: what one unit did strictly before the time.
        time: of the first exposure.
    """
    active = [row for row in past if row.event in {each.event for each in behaviour.activity}]
    if behaviour.kind == "channel":
        return (min(active, key=lambda row: (row.at, row.event_id)).source if active else None) or "(none)"
    oldest = min((row.at for row in active), default=None)
    since, half = time - behaviour.look_back, time - behaviour.look_back / 2
    active = [row for row in active if row.at >= since]
    if oldest is None or not active:
        return "none"
    if behaviour.kind == "rfm":
        if behaviour.amount is None:
            money = sum(row.value or 0 for row in active)
        else:
            money = 100 * sum(row.fee or 0 for row in past if row.event == "login" and row.at >= since)
        return rfm_class(behaviour, time - max(row.at for row in active), len(active), money)
    if time - oldest < behaviour.new_within:
        return "new"
    halves = [[row for row in active if (row.at >= half) == recent] for recent in (False, True)]
    (older, newer), spent = map(len, halves), [sum(row.value or 0 for row in each) for each in halves]
    if newer > older and spent[1] >= spent[0]:
        return "growing"
    intervals = [math.inf if not count else 1 / count for count in (older, newer)]
    longer = intervals[1] > 1.5 * intervals[0]
    return "churn_risk" if longer and spent[1] < 0.8 * spent[0] and spent[1] < spent[0] else "mature"


def rfm_class(behaviour: Behaviour, recency: timedelta, frequency: int, cents: int) -> str:
    """By scores: 1 for the worst group."""
    groups = [len(each.edges) + 1 for each in (behaviour.recency, behaviour.frequency, behaviour.money)]
    scores = (
        groups[0] - sum(recency > edge for edge in behaviour.recency.edges),
        1 + sum(frequency > edge for edge in behaviour.frequency.edges),
        1 + sum(cents > edge * 100 for edge in behaviour.money.edges),
    )
    recent, often, much = (score >= HIGH[count] for score, count in zip(scores, groups, strict=True))
    if recent:
        return "active" if often or much else "potential"
    return "at_risk" if often or much else "dormant"


def test_edges_of_quantiles_are_the_least_numbers_that_enough_units_do_not_exceed(
    ledger: Ledger, behaviours: dict[str, Behaviour]
) -> None:
    past = ledger.events[(ledger.events["at"] >= AS_OF - 20 * DAY) & (ledger.events["at"] < AS_OF)]
    units = past.groupby("unit")
    numbers = {
        "recency": (AS_OF - units["at"].max(), 4),
        "frequency": (units.size(), 3),
        "money": ((past["value"].fillna(0).astype(int).groupby(past["unit"]).sum()), 5),
    }
    for name, (values, groups) in numbers.items():
        known = sorted(values)
        wanted = [
            next(each for each in known if sum(other <= each for other in known) * groups >= number * len(known))
            for number in range(1, groups)
        ]
        found = getattr(behaviours["by-quantiles"], name).edges
        assert [each * 100 if name == "money" else each for each in found] == wanted, name
    assert sum(units.size() == behaviours["by-quantiles"].frequency.edges[0]) > 100, "many units are at an edge"


Slice = Callable[[str], Breakdown]


@pytest.fixture(name="sliced", scope="module")
def _sliced(kept: Platform, behaviours: dict[str, Behaviour]) -> Slice:
    assert behaviours, "by which is sliced"

    @cache
    def slice_by(by: str) -> Breakdown:
        return kept.explorer.breakdown("default", "trial", by=by, method="fixed")

    return slice_by


@pytest.fixture(name="values", scope="module")
def _values(ledger: Ledger) -> dict[str, pd.DataFrame]:
    return {metric.key: value_units(ledger, metric) for metric in METRICS}


KEYS = ("by-quantiles", "by-edges", "life", "source", "experiment:other")
KNOWN = {metric.key: metric for metric in METRICS}


Arms = tuple[pd.DataFrame, pd.DataFrame]


def arms(found: MetricBreakdown, rows: pd.DataFrame, arm: str) -> list[Arms]:
    """The rows of a treatment and of the control, in each slice."""
    inside = [rows[rows["slice"] == each.slice] for each in found.slices]
    return [(each[each["variant"] == arm], each[each["variant"] == "control"]) for each in inside]


def compare(metric: Metric, treated: pd.DataFrame, control: pd.DataFrame) -> Effect | None:
    """As a slice is compared; None where nothing can be."""
    if is_adjusted(metric, treated, control):
        return adjusted_effect(treated, control)
    if min(len(treated), len(control)) < 2:
        return None
    plain = effect(metric, treated, control)
    return plain if plain.variance > 0 else None


def bounds_of(comparison: ComparisonResult) -> tuple[float | None, float | None]:
    """Of the lift."""
    return comparison.relative.lower, comparison.relative.upper


@pytest.mark.parametrize("by", KEYS)
def test_slices_are_those_of_the_rows(
    by: str, sliced: Slice, slices: dict[str, pd.Series[Any]], values: dict[str, pd.DataFrame], ledger: Ledger
) -> None:
    """Units, sums, effects with and without CUPED, intervals, p-values and their adjustment, of every metric."""
    everybody = ledger.units["variant"].groupby([slices[by], ledger.units["variant"]]).size()
    for found in sliced(by).metrics:
        rows = values[found.metric].assign(slice=slices[by])
        assert sorted(each.slice for each in found.slices) == sorted(slices[by].unique())
        p_values: list[float] = []
        adjusted: list[float | None] = []
        for slice_ in found.slices:
            for arm in slice_.variants:
                inside = rows[(rows["slice"] == slice_.slice) & (rows["variant"] == arm.variant)]
                assert arm.units == len(inside)
                assert arm.units + arm.open_units == everybody.get((slice_.slice, arm.variant), 0)
                assert float(arm.sum) == pytest.approx(inside["y"].sum(), rel=1e-12)
            adjusted += [each.adjusted_p_value for each in slice_.comparisons]
        wanted = [[compare(KNOWN[found.metric], *each) for each in arms(found, rows, arm)] for arm in ARMS[1:]]
        for slice_, row in zip(found.slices, zip(*wanted, strict=True), strict=True):
            for comparison, expected in zip(slice_.comparisons, row, strict=True):
                p_values.append(1.0 if expected is None else expected.p_value)
                assert (comparison.p_value is None) == (expected is None)
                if expected is not None:
                    interval = comparison.absolute
                    assert interval.estimate == pytest.approx(expected.estimate, rel=1e-9, abs=1e-12)
                    assert (interval.lower, interval.upper) == pytest.approx(expected.bounds, rel=1e-8, abs=1e-12)
                    assert comparison.p_value == pytest.approx(expected.p_value, rel=1e-8)
                    for one, other in zip(expected.lifts(expected.critical), bounds_of(comparison), strict=True):
                        assert other == (None if one is None else pytest.approx(one, rel=1e-7, abs=1e-12))
        of_all = multipletests(p_values, method="fdr_bh")[1]
        known = [(one, other) for one, other in zip(adjusted, of_all, strict=True) if one is not None]
        assert [one for one, _ in known] == pytest.approx([other for _, other in known], rel=1e-8)


@pytest.mark.parametrize("by", KEYS)
def test_effects_are_asked_as_they_stand_in_the_slices_whether_they_differ(
    by: str, sliced: Slice, slices: dict[str, pd.Series[Any]], values: dict[str, pd.DataFrame]
) -> None:
    """Welch's analysis of variance (statsmodels) and I squared, also where one arm of a slice has no past at all."""
    differences = {(each.metric, each.variant): each for each in sliced(by).differences}
    for found in sliced(by).metrics:
        rows = values[found.metric].assign(slice=slices[by])
        for arm in ARMS[1:]:
            metric, pairs = KNOWN[found.metric], arms(found, rows, arm)
            if any(is_adjusted(metric, *each) for each in pairs):
                metric = replace(metric, kind="sum")  # beside adjusted rates others are means of 0 and 1, too
            parts = [each for each in (compare(metric, *pair) for pair in pairs) if each is not None]
            q, wanted = equality_of(parts)
            answer = differences[found.metric, arm]
            assert answer.slices == len(parts)
            assert answer.share == pytest.approx(max(0.0, 1 - (len(parts) - 1) / q), abs=1e-9)
            assert answer.p_value == pytest.approx(wanted, rel=1e-8)


def equality_of(parts: list[Effect]) -> tuple[float, float]:
    """Cochran's Q of effects, and the p-value: by it where tests are normal, else by an analysis of variance."""
    effects, variances, freedoms = (
        np.array([getattr(each, name) for each in parts]) for name in ("estimate", "variance", "freedom")
    )
    q = float((np.square(effects - np.average(effects, weights=1 / variances)) / variances).sum())
    if np.isinf(freedoms).all():
        return q, float(stats.chi2.sf(q, len(parts) - 1))
    # Samples of that many observations, with means and variances as if they were single.
    sizes = freedoms + 1
    return q, float(anova_generic(effects, variances * sizes, sizes, use_var="unequal").pvalue)


def test_slices_have_units_of_every_kind(slices: dict[str, pd.Series[Any]]) -> None:
    """What is compared above has no empty classes."""
    assert (
        set(slices["by-quantiles"]) == set(slices["by-edges"]) == {"none", "active", "potential", "at_risk", "dormant"}
    )
    assert set(slices["life"]) == {"none", "new", "growing", "churn_risk", "mature"}
    assert set(slices["source"]) == {"ads", "friend", "shop", "(none)"}
    assert set(slices["experiment:other"]) == {"(none)", "(several)", *OTHER_ARMS}
