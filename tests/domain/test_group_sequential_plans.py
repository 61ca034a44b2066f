from __future__ import annotations

from dataclasses import replace

import pytest
from scipy import stats

from abplatform.domain.experiment import ExperimentDefinition
from abplatform.domain.information import Fractions, earlier_fractions
from abplatform.domain.scorecard import ComparisonResult
from abplatform.domain.scoring import score_metrics
from tests.builders import a_metric, a_plan, a_scorecard, an_experiment
from tests.domain.aggregations import a_rate, an_aggregation

PURCHASE = a_metric("purchase")
PLACE = "purchase", "treatment"
# Lan and DeMets (1983), O'Brien-Fleming type, five equal looks at .05: published bounds.
BOUNDS = (4.8769, 3.3569, 2.6803, 2.2898, 2.0310)


def definition(**plan: object) -> ExperimentDefinition:
    return an_experiment(
        metrics=an_experiment().uses("primary"), plan=a_plan(method="group_sequential", planned_units=10_000, **plan)
    )


def look(converted: tuple[int, int], units: int, *, earlier: Fractions, plan: ExperimentDefinition) -> ComparisonResult:
    cells = a_rate("control", units, converted[0]), a_rate("treatment", units, converted[1])
    found = score_metrics(plan, (PURCHASE,), an_aggregation(*cells), method="group_sequential", earlier=earlier)
    return found[0].comparisons[0]


def test_bounds_follow_from_the_information_at_the_looks_so_far() -> None:
    earlier: Fractions = {}
    for number, bound in enumerate(BOUNDS, 1):
        found = look((100 * number, 100 * number), 1000 * number, earlier=earlier, plan=definition())
        assert found.information_fraction == number / 5
        assert found.boundary == pytest.approx(bound, abs=2e-4)
        assert found.interval_kind == "repeated"
        earlier = {PLACE: (*earlier.get(PLACE, ()), number / 5)}


def test_a_verdict_is_given_when_z_passes_the_bound_and_not_before() -> None:
    # At the second look |z| has to pass 3.357.
    earlier = {PLACE: (0.2,)}
    for converted, verdict in (((200, 285), "better"), ((200, 262), "inconclusive"), ((285, 200), "worse")):
        found = look(converted, 2000, earlier=earlier, plan=definition())
        rates = [count / 2000 for count in converted]
        z = (rates[1] - rates[0]) / sum(rate * (1 - rate) / 2000 for rate in rates) ** 0.5
        assert found.verdict == verdict
        assert (abs(z) > 3.3569) == (verdict != "inconclusive")
        assert found.adjusted_p_value is not None
        assert (found.adjusted_p_value < 0.05) == (verdict != "inconclusive")


def test_pocock_type_spending_spends_more_early() -> None:
    first = look((100, 130), 1000, earlier={}, plan=definition(spending="pocock"))
    # One-sided alpha ln(1 + (e - 1) / 5) at the first of five looks: its normal quantile.
    assert first.boundary == pytest.approx(2.4380, abs=2e-4)
    assert first.boundary == pytest.approx(stats.norm.isf(0.025 * 0.29536), abs=1e-3)


def test_early_looks_wait_for_the_guard_and_the_last_one_does_not() -> None:
    few = look((10, 300), 400, earlier={}, plan=definition())
    assert (few.verdict, "TOO_FEW_UNITS" in few.warnings) == ("inconclusive", True)
    small = an_experiment(
        metrics=an_experiment().uses("primary"), plan=a_plan(method="group_sequential", planned_units=800)
    )
    assert look((10, 300), 400, earlier={}, plan=small).verdict == "better"


def test_a_look_without_new_units_spends_nothing() -> None:
    again = look((200, 250), 2000, earlier={PLACE: (0.2, 0.4)}, plan=definition())
    assert again.boundary == pytest.approx(BOUNDS[1], abs=2e-4)


def test_units_that_left_do_not_give_information_back() -> None:
    fewer = look((200, 250), 1900, earlier={PLACE: (0.2, 0.4)}, plan=definition())
    assert fewer.boundary == pytest.approx(BOUNDS[1], abs=2e-4)


def test_earlier_fractions_are_read_from_the_looks() -> None:
    look_ = a_scorecard()
    metric = look_.metrics[0]
    looks = [
        replace(
            look_,
            metrics=(replace(metric, comparisons=(replace(metric.comparisons[0], information_fraction=share),)),),
        )
        for share in (0.25, 0.5)
    ]
    assert earlier_fractions(looks) == {PLACE: (0.25, 0.5)}
