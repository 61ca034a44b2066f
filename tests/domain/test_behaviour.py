"""Rules of behaviours on plain numbers."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest

from abplatform.domain.behaviour import (
    Behaviour,
    FrequencyBins,
    MoneyBins,
    RecencyBins,
    find_thresholds,
    life_cycle_cases,
    pin_edges,
    quantile_ranks,
    rfm_cases,
    units_needed,
)
from abplatform.storage.documents import from_text, to_text
from tests.builders import a_behaviour

DAY = timedelta(days=1)
HALVES = a_behaviour(recency=RecencyBins(quantiles=2), money=MoneyBins(quantiles=5, high_from=5))


@pytest.mark.parametrize("groups", range(2, 11))
def test_quantiles_are_those_of_the_inverted_distribution_function(groups: int) -> None:
    """`numpy.quantile(method="inverted_cdf")`: Hyndman and Fan (1996), definition 1."""
    for units in (groups, 97, 120, 1_001):
        values = np.sort(np.random.default_rng(units).normal(size=units))
        # Shares slightly below the exact ones, which may lie a rounding above.
        shares = [number / groups - 1e-12 for number in range(1, groups)]
        wanted = np.quantile(values, shares, method="inverted_cdf")
        assert values[quantile_ranks(groups, units)].tolist() == wanted.tolist()


def test_pinned_edges_can_be_taken_away_again() -> None:
    edges = {"recency": (3 * DAY,), "money": (Decimal(1), Decimal(2), Decimal("2.5"), Decimal(9))}
    pinned = pin_edges(HALVES, edges)
    assert (pinned.recency.edges, pinned.money.edges, pinned.frequency) == (*edges.values(), HALVES.frequency)
    assert pin_edges(pinned, {}) == HALVES
    assert (HALVES.quantiles, units_needed(HALVES)) == ({"recency": 2, "money": 5}, 50)
    assert units_needed(a_behaviour()) == 0
    assert find_thresholds(pinned).money == 9
    assert from_text(to_text(pinned), Behaviour) == pinned


@pytest.mark.parametrize(("high_from", "recency", "frequency"), [(None, 30, 3), (2, 90, 1), (3, 30, 3), (4, 7, 10)])
def test_a_score_is_high_from_where_it_is_said(high_from: int | None, recency: int, frequency: int) -> None:
    behaviour = a_behaviour(
        recency=RecencyBins(edges=(7 * DAY, 30 * DAY, 90 * DAY), high_from=high_from),
        frequency=FrequencyBins(edges=(1, 3, 10), high_from=high_from),
    )
    limits = find_thresholds(behaviour)
    assert (limits.recency, limits.frequency) == (recency * DAY, frequency)


def first(rules: tuple[object, str]) -> str:
    cases, rest = rules
    return next((name for holds, name in cases if holds), rest)  # type: ignore[attr-defined]


def test_money_alone_makes_a_unit_valuable() -> None:
    for recency, frequency, money, wanted in (
        (1, 0, 0, "none"),
        (1, 1, 0, "potential"),
        (1, 1, 1001, "active"),
        (40, 1, 1001, "at_risk"),
        (40, 4, 0, "at_risk"),
        (40, 3, 1000, "dormant"),
    ):
        found = rfm_cases(a_behaviour(), recency=recency * 86_400_000_000, frequency=frequency, money=Decimal(money))
        assert first(found) == wanted


def test_who_fell_silent_with_the_money_is_at_risk_of_churn() -> None:
    life = a_behaviour(kind="life_cycle")
    year = 365 * 86_400_000_000
    for recent, older, spent, before, wanted in (
        (0, 5, 0, 10, "churn_risk"),
        (0, 5, 10, 10, "mature"),
        (5, 5, 0, 10, "mature"),
        (6, 5, 10, 10, "growing"),
        (0, 0, 10, 10, "none"),
    ):
        amounts = {"recent_amount": Decimal(spent), "older_amount": Decimal(before)}
        assert first(life_cycle_cases(life, age=year, recent=recent, older=older, **amounts)) == wanted
