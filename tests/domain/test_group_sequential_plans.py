from __future__ import annotations

import pytest
from scipy import stats

from abplatform.domain.experiment import ExperimentDefinition
from abplatform.domain.information import STANDS, Fractions, earlier_fractions, keep_tested
from abplatform.domain.scorecard import ComparisonResult, Scorecard
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


def test_too_few_new_units_make_no_test_and_the_last_one_stands() -> None:
    previous = a_look((200, 290), 2000, None)
    assert verdict_of(previous) == "better"
    # 1% of the plan more, and the effect is gone: the next test comes with 2%.
    between = a_look((205, 205), 2050, previous)
    comparison = between.metrics[0].comparisons[0]
    assert (comparison.verdict, comparison.boundary) == ("better", previous.metrics[0].comparisons[0].boundary)
    assert STANDS in comparison.warnings
    assert between.metrics[0].variants[0].units == 2050
    assert verdict_of(a_look((210, 210), 2100, between)) == "inconclusive"


def test_units_that_left_do_not_give_information_back() -> None:
    previous = a_look((200, 250), 2000, None)
    fewer = a_look((190, 240), 1900, previous)
    assert fewer.metrics[0].comparisons[0].information_fractions == (0.4,)


def test_reading_again_and_again_makes_at_most_fifty_tests() -> None:
    card = None
    for units in range(10, 5001, 10):
        card = a_look((units // 10, units // 10), units, card)
    assert card is not None
    assert len(card.metrics[0].comparisons[0].information_fractions) == 50


def test_a_metric_that_is_spent_is_not_tested_again_while_others_wait() -> None:
    # The exact error of testing on at the last bound, up to twice the plan: .116 instead of .05.
    completing = a_look((500, 560), 5000, None)
    assert verdict_of(completing) == "inconclusive"
    for units in (5500, 6000, 8000):
        later = a_look((units // 10, units // 8), units, completing)
        comparison = later.metrics[0].comparisons[0]
        assert (comparison.verdict, comparison.information_fractions) == ("inconclusive", (1.0,))
        assert STANDS in comparison.warnings


def test_the_look_that_brings_the_planned_units_may_bring_more() -> None:
    last = look((600, 700), 6000, earlier={PLACE: (0.5,)}, plan=definition())
    assert last.information_fractions == (0.5, 1.0)
    # Lan and DeMets (1983), O'Brien-Fleming type, two equal looks: 2.963 and 1.969.
    assert last.boundary == pytest.approx(1.9686, abs=2e-4)


def a_look(converted: tuple[int, int], units: int, previous: Scorecard | None) -> Scorecard:
    cells = a_rate("control", units, converted[0]), a_rate("treatment", units, converted[1])
    found = score_metrics(
        definition(),
        (PURCHASE,),
        an_aggregation(*cells),
        method="group_sequential",
        earlier=earlier_fractions(previous),
    )
    return a_scorecard(metrics=keep_tested(previous, found))


def verdict_of(card: Scorecard) -> str:
    return card.metrics[0].comparisons[0].verdict
