from __future__ import annotations

from dataclasses import replace

import pytest

from abplatform.domain.aggregates import ArmCell
from abplatform.domain.decision import decide
from abplatform.domain.experiment import Variant
from abplatform.domain.scorecard import ComparisonResult, Decision, MetricResult, Verdict
from abplatform.domain.scoring import score_metrics
from abplatform.domain.soundness import Health
from tests.builders import a_metric, a_plan, a_scorecard, an_experiment
from tests.domain.aggregations import a_rate, an_aggregation

CARD = a_scorecard()
SOUND = replace(CARD.health, ok=True, warnings=())
THREE_ARMS = an_experiment(variants=(Variant(key="control"), Variant(key="short"), Variant(key="long")))


def a_comparison(variant: str, verdict: Verdict, lift: float = 0.1) -> ComparisonResult:
    comparison = CARD.metrics[0].comparisons[0]
    return replace(comparison, variant=variant, verdict=verdict, absolute=replace(comparison.absolute, estimate=lift))


def a_result(role: str, metric: str = "purchase", direction: str = "increase", **verdicts: Verdict) -> MetricResult:
    comparisons = tuple(a_comparison(variant, verdict) for variant, verdict in verdicts.items())
    return replace(CARD.metrics[0], metric=metric, role=role, direction=direction, comparisons=comparisons)


def decision(*metrics: MetricResult, health: Health = SOUND, finished: bool = False) -> Decision:
    return decide(an_experiment(), health, metrics, finished=finished)


def test_a_better_primary_without_guardrails_ships() -> None:
    found = decision(a_result("primary", treatment="better"))
    assert (found.recommendation, found.variant) == ("ship", "treatment")
    assert found.reasons == ("treatment: better on purchase.",)


def test_a_guardrail_that_is_not_shown_to_be_safe_is_not_a_pass() -> None:
    for open_verdict in ("inconclusive", "not_computable"):
        found = decision(
            a_result("primary", treatment="better"), a_result("guardrail", "complaint", treatment=open_verdict)
        )
        assert found.recommendation == "continue"
        assert any("complaint" in reason for reason in found.reasons)


def test_a_guardrail_within_its_margin_lets_a_better_primary_ship() -> None:
    found = decision(
        a_result("primary", treatment="better"), a_result("guardrail", "complaint", treatment="non_inferior")
    )
    assert found.recommendation == "ship"


def test_a_worse_primary_forbids_shipping_whatever_the_others_say() -> None:
    found = decision(a_result("primary", treatment="better"), a_result("primary", "revenue", treatment="worse"))
    assert found.recommendation == "roll_back"
    assert any("worse on revenue" in reason for reason in found.reasons)


def test_a_harmful_guardrail_rolls_back() -> None:
    found = decision(
        a_result("primary", treatment="inconclusive"), a_result("guardrail", "complaint", treatment="worse")
    )
    assert (found.recommendation, found.variant) == ("roll_back", "control")


def test_secondary_metrics_never_decide() -> None:
    found = decision(a_result("primary", treatment="inconclusive"), a_result("secondary", "visit", treatment="better"))
    assert found.recommendation == "continue"
    found = decision(a_result("primary", treatment="better"), a_result("secondary", "visit", treatment="worse"))
    assert found.recommendation == "ship"


def test_unsound_data_are_invalid_even_with_a_better_primary() -> None:
    unsound = replace(SOUND, ok=False, warnings=("shares differ from the plan",))
    found = decision(a_result("primary", treatment="better"), health=unsound)
    assert (found.recommendation, found.variant) == ("invalid", None)
    assert "shares differ from the plan" in found.reasons


def test_without_a_verdict_more_data_are_awaited_until_the_plan_is_spent() -> None:
    nothing = a_result("primary", treatment="inconclusive")
    assert decision(nothing).recommendation == "continue"
    assert decision(nothing, finished=True).recommendation == "inconclusive"


def test_of_two_variants_that_may_ship_the_one_with_the_larger_good_lift_is_named() -> None:
    for direction, best in (("increase", "long"), ("decrease", "short")):
        comparisons = (a_comparison("short", "better", 0.1), a_comparison("long", "better", 0.2))
        primary = replace(CARD.metrics[0], role="primary", direction=direction, comparisons=comparisons)
        found = decide(THREE_ARMS, SOUND, (primary,), finished=False)
        assert (found.recommendation, found.variant) == ("ship", best)
        assert len(found.reasons) == 2


def test_one_harmful_variant_of_two_does_not_roll_the_other_back() -> None:
    primary = a_result("primary", short="worse", long="inconclusive")
    assert decide(THREE_ARMS, SOUND, (primary,), finished=False).recommendation == "continue"


@pytest.mark.parametrize("verdict", ["inconclusive", "not_computable", "better", "worse"])
def test_every_decision_gives_a_reason(verdict: Verdict) -> None:
    assert decision(a_result("primary", treatment=verdict)).reasons


@pytest.mark.parametrize(("converted", "verdict"), [(300, "better"), (30, "worse")])
def test_a_verdict_that_the_guard_withholds_is_told_with_its_reason(converted: int, verdict: str) -> None:
    small = judged(a_rate("control", 400, 150), a_rate("treatment", 400, converted), planned_units=800)
    because = "an arm is smaller than the 500 units that this method needs before it may speak of efficacy"
    assert small.recommendation == "inconclusive"
    assert f"treatment: purchase would be {verdict}, but {because}." in small.reasons


def test_a_verdict_on_too_few_of_the_rarer_outcome_is_told_with_its_reason() -> None:
    rare = judged(a_rate("control", 20_000, 90), a_rate("treatment", 20_000, 400), planned_units=40_000)
    (sentence,) = (reason for reason in rare.reasons if "purchase would be better" in reason)
    assert "an arm has fewer than the 100 units with a value" in sentence
    assert not any("would be" in reason for reason in judged(*NO_DIFFERENCE, planned_units=800).reasons)


NO_DIFFERENCE = (a_rate("control", 400, 150), a_rate("treatment", 400, 152))


def judged(*cells: ArmCell, planned_units: int) -> Decision:
    definition = an_experiment(plan=a_plan(planned_units=planned_units))
    results = score_metrics(definition, (a_metric(),), an_aggregation(*cells), method="sequential")
    return decide(definition, SOUND, results, finished=True)
