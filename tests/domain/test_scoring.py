from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from abplatform.domain.experiment import Amount, ExperimentDefinition, Variant
from abplatform.domain.plan import Prior
from abplatform.domain.scorecard import ComparisonResult
from abplatform.domain.scoring import score_metrics
from abplatform.stats import ProportionStats, sequential
from tests.builders import a_metric, a_metric_use, a_plan, an_experiment
from tests.domain.aggregations import a_rate, an_aggregation, an_amount

PURCHASE = a_metric("purchase")
COMPLAINT = a_metric("complaint", direction="decrease")
REVENUE = a_metric("revenue", kind="sum")
COMPLAINT_USE = a_metric_use("complaint", role="guardrail", mde=None, non_inferiority_margin=Amount(absolute=0.01))
BAYESIAN: dict[str, Any] = {
    "method": "bayesian",
    "prior": Prior(scale=0.5),
    "loss_threshold": 0.005,
    "minimum_units": 1000,
}


def compare(
    definition: ExperimentDefinition, *cells: Any, metric: str = "purchase", **options: Any
) -> ComparisonResult:
    method = options.pop("method", definition.plan.method)
    results = score_metrics(definition, (PURCHASE, COMPLAINT, REVENUE), an_aggregation(*cells), method=method)
    return next(result for result in results if result.metric == metric).comparisons[0]


def test_a_fixed_plan_gives_the_unpooled_z_test_of_rates() -> None:
    definition = an_experiment(plan=a_plan(method="fixed", planned_units=4000))
    found = compare(definition, a_rate("control", 2000, 200), a_rate("treatment", 2000, 260))
    # Closed form of the two-sample z test with unpooled variance.
    se = np.sqrt(0.1 * 0.9 / 2000 + 0.13 * 0.87 / 2000)
    assert found.p_value == pytest.approx(2 * stats.norm.sf(0.03 / se), rel=1e-9)
    assert found.absolute.lower == pytest.approx(0.03 - stats.norm.isf(0.025) * se, rel=1e-9)
    assert (found.verdict, found.exploratory, found.information_fraction) == ("better", False, 1.0)


def test_a_fixed_plan_gives_welch_for_sums() -> None:
    chance = np.random.default_rng(1)
    control, treatment = chance.gamma(1, 10, 3000), chance.gamma(1, 11, 2500)
    definition = an_experiment(metrics=(a_metric_use("revenue"),), plan=a_plan(method="fixed", planned_units=5500))
    found = compare(definition, an_amount("control", control), an_amount("treatment", treatment), metric="revenue")
    assert found.p_value == pytest.approx(stats.ttest_ind(treatment, control, equal_var=False).pvalue, rel=1e-9)


def test_a_fixed_plan_gives_no_verdict_before_its_planned_units() -> None:
    definition = an_experiment(plan=a_plan(method="fixed", planned_units=4001))
    found = compare(definition, a_rate("control", 2000, 200), a_rate("treatment", 2000, 400))
    assert found.verdict == "inconclusive"
    assert "PLANNED_UNITS_NOT_REACHED" in found.warnings


def test_a_sequential_plan_waits_for_its_guard_and_then_decides() -> None:
    definition = an_experiment()
    early = compare(definition, a_rate("control", 499, 20), a_rate("treatment", 499, 300))
    assert (early.verdict, early.interval_kind) == ("inconclusive", "confidence_sequence")
    assert "TOO_FEW_UNITS" in early.warnings
    assert compare(definition, a_rate("control", 5000, 500), a_rate("treatment", 5000, 800)).verdict == "better"


def test_a_sequential_plan_is_tuned_to_the_units_of_the_pair_by_weight() -> None:
    definition = an_experiment(
        variants=(Variant(key="control", weight=2), Variant(key="treatment"), Variant(key="other")),
        plan=a_plan(planned_units=40_000),
    )
    cells = (a_rate("control", 2000, 200), a_rate("treatment", 1000, 130), a_rate("other", 1000, 100))
    expected = sequential.compare(ProportionStats(1000, 130), ProportionStats(2000, 200), planned_units=30_000).cell()
    assert compare(definition, *cells).p_value == expected.p_value


def test_simultaneous_intervals_and_adjusted_p_values_are_one_test() -> None:
    arms = tuple(Variant(key=key) for key in ("control", "a", "b", "c", "d", "e"))
    for planned in (2_000, 100_000):
        for converted in range(100, 200, 4):
            definition = an_experiment(variants=arms, plan=a_plan(planned_units=planned))
            cells = (a_rate("control", 1000, 110), *(a_rate(key, 1000, converted) for key in "abcde"))
            found = compare(definition, *cells)
            assert found.simultaneous is not None
            assert found.adjusted_p_value is not None
            excludes = found.simultaneous.lower > 0 or found.simultaneous.upper < 0  # type: ignore[operator]
            assert excludes == (found.adjusted_p_value < 0.05)
            assert (found.verdict in {"better", "worse"}) == excludes


def test_a_metric_that_should_fall_is_better_when_it_falls() -> None:
    definition = an_experiment(metrics=(a_metric_use("complaint"),))
    cells = (a_rate("control", 5000, 800, name="complaint"), a_rate("treatment", 5000, 500, name="complaint"))
    assert compare(definition, *cells, metric="complaint").verdict == "better"


def test_another_method_than_the_plans_is_exploratory() -> None:
    cells = (a_rate("control", 5000, 500), a_rate("treatment", 5000, 800))
    assert compare(an_experiment(), *cells, method="fixed").exploratory is True


def guarded(control: int, treatment: int, *, units: int = 20_000, **plan: Any) -> ComparisonResult:
    definition = an_experiment(metrics=(a_metric_use(), COMPLAINT_USE), plan=a_plan(**plan))
    cells = (
        a_rate("control", units, units // 10),
        a_rate("treatment", units, units // 10),
        a_rate("control", units, control, name="complaint"),
        a_rate("treatment", units, treatment, name="complaint"),
    )
    return compare(definition, *cells, metric="complaint")


def test_a_guardrail_within_its_margin_is_non_inferior_under_every_method() -> None:
    for plan in ({}, {"method": "fixed"}, BAYESIAN):
        found = guarded(200, 210, **plan)
        assert found.verdict == "non_inferior"
        assert found.adjusted_p_value is not None
        assert found.adjusted_p_value < 0.05


def test_few_complaints_among_many_units_are_a_pass_that_waits_for_no_guard() -> None:
    # 20 and 21 of 20,000 are far from a margin of one point, exactly so: counts need no normal approximation.
    found = guarded(20, 21)
    assert found.verdict == "non_inferior"
    assert "TOO_FEW_NONZERO" not in found.warnings


def test_no_complaints_at_all_can_be_a_pass_though_nothing_varies() -> None:
    assert guarded(0, 0).verdict == "non_inferior"
    assert guarded(0, 0).absolute.lower is None


def test_few_units_are_not_a_pass() -> None:
    assert guarded(0, 0, units=200).verdict == "not_computable"
    assert guarded(2, 2, units=200).verdict == "inconclusive"


@pytest.mark.parametrize(("control", "treatment"), [(0, 12), (0, 99), (20, 400), (3, 300)])
def test_harm_alarms_from_the_first_events_on_without_waiting_for_a_guard(control: int, treatment: int) -> None:
    assert guarded(control, treatment, units=499).verdict == "worse"


def test_a_guardrail_that_should_rise_alarms_when_it_falls() -> None:
    use = a_metric_use("purchase", role="guardrail", mde=None, non_inferiority_margin=Amount(absolute=0.001))
    definition = an_experiment(metrics=(use, a_metric_use("revenue")))
    money = (an_amount("control", np.ones(900)), an_amount("treatment", np.ones(900)))
    fallen = compare(definition, a_rate("control", 900, 60), a_rate("treatment", 900, 5), *money)
    risen = compare(definition, a_rate("control", 900, 5), a_rate("treatment", 900, 60), *money)
    assert (fallen.verdict, risen.verdict) == ("worse", "non_inferior")


def test_a_bayesian_plan_shows_the_probability_of_harm_beyond_the_margin() -> None:
    found = guarded(200, 210, **BAYESIAN)
    # Closed form of the normal-normal posterior on the absolute effect.
    rates = np.array([0.01, 0.0105])
    variance = (rates * (1 - rates) / 20_000).sum()
    weight = 1 / (1 + variance / (0.5 * 0.01) ** 2)
    expected = stats.norm.sf((0.01 - weight * 0.0005) / np.sqrt(weight * variance))
    assert found.probability_worse_than_margin == pytest.approx(expected, rel=1e-3)


def test_a_bayesian_tie_is_not_a_loss() -> None:
    definition = an_experiment(plan=a_plan(**BAYESIAN))
    tie = compare(definition, a_rate("control", 5000, 500), a_rate("treatment", 5000, 500))
    assert (tie.chance_to_win, tie.verdict) == (pytest.approx(0.5), "inconclusive")


def test_bayesian_verdicts_follow_expected_loss_and_chance_to_win() -> None:
    definition = an_experiment(plan=a_plan(**BAYESIAN))
    for converted, verdict in ((650, "better"), (350, "worse"), (490, "inconclusive")):
        found = compare(definition, a_rate("control", 5000, 500), a_rate("treatment", 5000, converted))
        assert found.verdict == verdict, converted
        assert found.p_value is None


def test_bayesian_verdicts_wait_for_the_minimum_of_units() -> None:
    definition = an_experiment(plan=a_plan(**BAYESIAN | {"minimum_units": 10_001}))
    found = compare(definition, a_rate("control", 5000, 500), a_rate("treatment", 5000, 650))
    assert found.verdict == "inconclusive"
    assert "MINIMUM_UNITS_NOT_REACHED" in found.warnings


def test_cells_without_units_say_why_and_have_no_numbers() -> None:
    found = compare(an_experiment(), a_rate("control", 0, 0), a_rate("treatment", 0, 0))
    assert (found.verdict, found.not_computable, found.p_value) == ("not_computable", "NO_UNITS", None)
    assert found.absolute.estimate is None


def test_a_sequential_primary_without_a_window_is_labelled() -> None:
    unwindowed = a_metric("purchase", window=None)
    cells = (a_rate("control", 5000, 500), a_rate("treatment", 5000, 800))
    (result,) = score_metrics(an_experiment(), (unwindowed,), an_aggregation(*cells), method="sequential")
    assert result.always_valid is False
    assert "NOT_ALWAYS_VALID" in result.comparisons[0].warnings


def test_secondary_metrics_are_adjusted_by_benjamini_hochberg() -> None:
    uses = (a_metric_use(), *(a_metric_use(key, role="secondary") for key in ("s1", "s2")))
    definition = an_experiment(metrics=uses, plan=a_plan(method="fixed", planned_units=4000))
    cells = [a_rate("control", 2000, 200, name=use.metric) for use in uses]
    cells += [
        a_rate("treatment", 2000, count, name=use.metric) for use, count in zip(uses, (200, 240, 230), strict=True)
    ]
    metrics = [a_metric(use.metric) for use in uses]
    results = score_metrics(definition, metrics, an_aggregation(*cells), method="fixed")
    first, second = (result.comparisons[0] for result in results[1:])
    # Benjamini and Hochberg (1995) by hand: the smaller p doubles at most to the larger one.
    assert first.adjusted_p_value == pytest.approx(min(2 * first.p_value, second.p_value))  # type: ignore[operator]
    assert second.adjusted_p_value == pytest.approx(second.p_value)
    assert first.simultaneous is None
