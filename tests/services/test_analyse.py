from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from abplatform.domain.aggregates import Aggregation
from abplatform.domain.evidence import Evidence
from abplatform.domain.experiment import Amount, Experiment, ExperimentDefinition, Variant
from abplatform.domain.life import Step
from abplatform.domain.metric import Metric
from abplatform.domain.plan import AnalysisPlan, Method
from abplatform.domain.scorecard import Interval, Scorecard
from abplatform.errors import InvalidInput, NotAnalysable, NotFound
from abplatform.services import analyse, define, live
from abplatform.services.choose import Question
from abplatform.services.fingerprint import fingerprint
from abplatform.storage.session import UnitOfWork
from tests.builders import NOW, a_draft, a_metric, a_metric_use, a_plan, an_experiment, an_external_experiment, later
from tests.domain.aggregations import a_rate, an_aggregation, an_evidence
from tests.services.lives import decide, lead, take

FIXED = a_plan(method="fixed", planned_units=4_000)
Data = Callable[[], Aggregation]


def rates(units: int, control: int, treatment: int, **changes: Any) -> Aggregation:
    return an_aggregation(
        a_rate("control", units, control, **changes), a_rate("treatment", units, treatment, **changes)
    )


def start(uow: UnitOfWork, definition: ExperimentDefinition, *steps: Step) -> None:
    lead(uow, definition, *(steps or ("start",)))


def look(uow: UnitOfWork, data: Aggregation | Data, *, key: str = "rate-display", **question: Any) -> Scorecard:
    def aggregate(_experiment: Experiment, _metrics: Sequence[Metric], _known: Evidence | None) -> Evidence:
        return an_evidence(data() if callable(data) else data, as_of=later(days=40))

    asked = Question(**question)
    return analyse.read_results(uow, aggregate, "default", key, question=asked, now=later(days=40))


def test_the_same_data_give_the_same_look_again(uow: UnitOfWork) -> None:
    start(uow, an_experiment())
    first = look(uow, rates(1000, 100, 130))
    assert look(uow, rates(1000, 100, 130)) == first
    assert (first.look, look(uow, rates(1001, 100, 130)).look) == (1, 2)


def test_another_name_of_the_experiment_makes_no_new_look(uow: UnitOfWork) -> None:
    start(uow, an_experiment())
    look(uow, rates(1000, 100, 130))
    with uow.begin() as work:
        revision = work.experiments.get("default", "rate-display").revision
        changes = {"hypothesis": "A better sentence"}
        define.edit_experiment(work, "default", "rate-display", changes, revision=revision)
    assert look(uow, rates(1000, 100, 130)).look == 1


def test_a_ramp_makes_no_new_look(uow: UnitOfWork) -> None:
    start(uow, an_experiment(coverage=0.5))
    look(uow, rates(1000, 100, 130))
    with uow.begin() as work:
        take(work, "rate-display", "ramp")
    assert look(uow, rates(1000, 100, 130)).look == 1


def test_moments_that_differ_in_the_last_digits_make_no_new_look(uow: UnitOfWork) -> None:
    start(uow, an_experiment())
    data = rates(1000, 100, 130)
    look(uow, data)
    shaken = replace(data, cells=tuple(replace(cell, m2=cell.m2 * (1 + 1e-14)) for cell in data.cells))
    assert look(uow, shaken).look == 1


def test_covariates_are_a_part_of_the_data_to_nine_digits(uow: UnitOfWork) -> None:
    start(uow, an_experiment(plan=a_plan(cuped=True)))
    look(uow, rates(1000, 100, 130, before_mean=0.1, before_m2=90.0, before_c=40.0))
    shaken = {"before_mean": 0.1, "before_m2": 90 * (1 + 1e-14), "before_c": 40 * (1 - 1e-14)}
    found = look(uow, rates(1000, 100, 130, **shaken))
    assert (found.look, found.metrics[0].comparisons[0].variance_reduction is not None) == (1, True)
    assert look(uow, rates(1000, 100, 130, **shaken | {"before_c": 41.0})).look == 2


def test_a_look_from_older_data_is_made_again_when_another_came_first(uow: UnitOfWork) -> None:
    start(uow, an_experiment())
    fresh = rates(10_000, 1_000, 1_000)
    broken = an_aggregation(a_rate("control", 10_000, 1_000), a_rate("treatment", 9_000, 900))
    tries = iter([rates(400, 40, 40), fresh])

    def slow() -> Aggregation:
        data = next(tries)
        if data is not fresh:  # meanwhile somebody else reads, and sees a sample ratio mismatch
            assert look(uow, broken).decision.recommendation == "invalid"
        return data

    found = look(uow, slow)
    assert found.look == 2
    assert found.metrics[0].variants[0].units == 10_000
    assert not found.health.ok, "evidence of a mismatch once seen stays"


def test_a_fixed_plan_is_decided_once(uow: UnitOfWork) -> None:
    start(uow, an_experiment(plan=FIXED))
    assert look(uow, rates(1_000, 100, 160)).decision.recommendation == "continue"
    assert look(uow, rates(2_000, 200, 210)).decision.recommendation == "inconclusive"
    again = look(uow, rates(20_000, 2_000, 2_600))
    assert again.decision.recommendation == "inconclusive"
    assert any("Decided at look 2" in reason for reason in again.decision.reasons)
    comparison = again.metrics[0].comparisons[0]
    assert comparison.exploratory
    assert "LOOKED_AGAIN_AFTER_PLAN" in comparison.warnings
    assert look(uow, rates(30_000, 3_000, 3_900)).decision == again.decision


@pytest.mark.parametrize("method", ["fixed", "group_sequential"])
def test_the_decision_that_follows_the_planned_look_is_no_second_look(uow: UnitOfWork, method: Method) -> None:
    start(uow, an_experiment(plan=a_plan(method=method, planned_units=4_000)))
    data = rates(2_000, 200, 300)
    decisive = look(uow, data)
    assert decisive.decision.recommendation == "ship"
    decide(uow, "ship", variant="treatment")
    again = look(uow, data)
    assert (again.look, again.status) == (1, "stopped")
    assert again.metrics == decisive.metrics, "not marked exploratory"
    assert again.decision == decisive.decision
    later_units = look(uow, rates(2_100, 210, 310))
    assert (later_units.look, later_units.metrics[0].comparisons[0].exploratory) == (2, True)


def test_a_stop_before_the_planned_units_is_a_look_of_its_own(uow: UnitOfWork) -> None:
    start(uow, an_experiment(plan=FIXED))
    data = rates(1_000, 100, 110)
    assert look(uow, data).decision.recommendation == "continue"
    decide(uow, "inconclusive")
    assert (look(uow, data).look, look(uow, data).decision.recommendation) == (2, "inconclusive")


def test_a_fixed_plan_that_was_decided_is_still_invalid_when_the_data_break(uow: UnitOfWork) -> None:
    start(uow, an_experiment(plan=FIXED))
    look(uow, rates(2_000, 200, 300))
    broken = an_aggregation(a_rate("control", 9_000, 900), a_rate("treatment", 7_000, 900))
    assert look(uow, broken).decision.recommendation == "invalid"


def test_a_group_sequential_plan_builds_its_bounds_on_the_looks_that_were_taken(uow: UnitOfWork) -> None:
    start(uow, an_experiment(plan=a_plan(method="group_sequential", planned_units=10_000)))
    found = [look(uow, rates(1_000 * number, 100 * number, 101 * number)) for number in range(1, 6)]
    bounds = [scorecard.metrics[0].comparisons[0].boundary for scorecard in found]
    # Lan and DeMets (1983), O'Brien-Fleming type, five equal looks at .05: published bounds.
    assert bounds == pytest.approx([4.8769, 3.3569, 2.6803, 2.2898, 2.0310], abs=2e-4)
    assert [scorecard.decision.recommendation for scorecard in found] == [*["continue"] * 4, "inconclusive"]


def test_a_group_sequential_plan_ships_early_and_is_spent_at_its_planned_units(uow: UnitOfWork) -> None:
    start(uow, an_experiment(plan=a_plan(method="group_sequential", planned_units=10_000)))
    assert look(uow, rates(2_500, 250, 360)).decision.recommendation == "ship"
    assert look(uow, rates(5_000, 500, 520)).decision.recommendation == "inconclusive"
    again = look(uow, rates(50_000, 5_000, 6_000))
    assert any("Decided at look 2" in reason for reason in again.decision.reasons)
    assert again.decision.recommendation == "inconclusive"
    assert again.metrics[0].comparisons[0].exploratory


def test_what_was_spent_stays_spent_when_units_leave(uow: UnitOfWork) -> None:
    for key, method in (("once", "fixed"), ("staged", "group_sequential")):
        start(uow, an_experiment(key, plan=a_plan(method=method, planned_units=10_000)))
        assert look(uow, rates(5_000, 500, 520), key=key).decision.recommendation == "inconclusive"
        assert look(uow, rates(4_999, 500, 520), key=key).decision.recommendation == "inconclusive"
        again = look(uow, rates(5_500, 500, 700), key=key)
        assert again.decision.recommendation == "inconclusive"
        assert again.metrics[0].comparisons[0].exploratory


def test_another_look_costs_nothing_where_no_units_came(uow: UnitOfWork) -> None:
    start(uow, an_experiment(plan=a_plan(method="group_sequential", planned_units=10_000)))
    first = look(uow, rates(2_000, 200, 250))
    second = look(uow, rates(2_000, 200, 251))
    assert second.look == 2
    assert first.metrics[0].comparisons[0].boundary == second.metrics[0].comparisons[0].boundary


def test_units_whose_windows_are_open_are_no_planned_data(uow: UnitOfWork) -> None:
    start(uow, an_experiment(plan=FIXED))
    waiting = look(uow, rates(0, 0, 0, open_units=5_000))
    assert waiting.decision.recommendation == "continue"


def test_a_stopped_experiment_waits_for_open_windows_only_where_others_serve_it(uow: UnitOfWork) -> None:
    start(uow, an_experiment("served"), "start", "stop")
    start(uow, an_external_experiment("external", plan=a_plan()), "start", "stop")
    data = rates(600, 150, 150, open_units=50)
    assert look(uow, data, key="served").decision.recommendation == "inconclusive"
    assert look(uow, data, key="external").decision.recommendation == "continue"
    assert look(uow, rates(650, 150, 150), key="external").decision.recommendation == "inconclusive"


def test_a_closed_experiment_waits_for_its_open_windows(uow: UnitOfWork) -> None:
    start(uow, an_experiment(), "start", "close")
    assert look(uow, rates(600, 150, 150, open_units=50)).decision.recommendation == "continue"
    assert look(uow, rates(650, 150, 150)).decision.recommendation == "inconclusive"


def in_phases(uow: UnitOfWork, count: int, **definition: Any) -> None:
    """An experiment that is in that phase, each a day after the one before."""
    start(uow, an_experiment(**definition))
    with uow.begin() as work:
        for number in range(1, count):
            take(work, "rate-display", "phase", now=later(days=number))


def test_a_later_phase_is_tested_at_half_the_alpha_of_the_one_before(uow: UnitOfWork) -> None:
    # 1,000 units of each arm, 100 and 130 conversions: z = 2.104 by the pooled variance, p = .0354 by the normal table.
    data, plan = rates(1_000, 100, 130), a_plan(method="fixed", planned_units=2_000)
    in_phases(uow, 1, plan=plan)
    first = look(uow, data)
    assert first.metrics[0].comparisons[0].p_value == pytest.approx(0.0354, abs=2e-3)
    assert (first.alpha, first.metrics[0].comparisons[0].verdict) == (0.05, "better")
    assert first.decision.recommendation == "ship"
    with uow.begin() as work:
        take(work, "rate-display", "phase", now=later(days=1))
    second = look(uow, data)
    assert (second.phase, second.look, second.alpha) == (2, 1, 0.025)
    assert second.metrics[0].comparisons[0].verdict == "inconclusive"
    assert second.decision.recommendation == "inconclusive"
    assert "tested at alpha/2: false wins over all phases stay at most 2 alpha" in second.decision.reasons[-1]
    width = [abs(each.upper - each.lower) for each in (interval(first), interval(second))]  # type: ignore[operator]
    # Quantiles of the normal distribution at .975 and .9875.
    assert width[1] / width[0] == pytest.approx(2.2414 / 1.9600, abs=1e-3)


def interval(scorecard: Scorecard) -> Interval:
    return scorecard.metrics[0].comparisons[0].absolute


@pytest.mark.parametrize(
    "plan",
    [
        a_plan(planned_units=10_000),
        a_plan(method="group_sequential", planned_units=10_000),
        a_plan(method="fixed", planned_units=10_000),
        a_plan(method="bayesian", loss_threshold=0.01, minimum_units=100),
    ],
    ids=lambda plan: plan.method,
)
def test_the_tenth_phase_can_still_be_analysed(uow: UnitOfWork, plan: AnalysisPlan) -> None:
    guardrail = a_metric_use("complaint", role="guardrail", mde=None, non_inferiority_margin=Amount(absolute=0.05))
    with uow.begin() as work:
        define.create_metric(work, "default", a_metric("complaint", direction="decrease"), now=NOW)
    in_phases(uow, 10, plan=plan, metrics=(a_metric_use(), guardrail))
    cells = [
        a_rate(arm, 5_000, 500, name=name) for name in ("purchase", "complaint") for arm in ("control", "treatment")
    ]
    found = look(uow, an_aggregation(*cells))
    assert found.alpha == 0.05 / 512
    assert all(each.not_computable is None for result in found.metrics for each in result.comparisons)


def test_each_phase_has_its_own_looks_and_a_past_one_recommends_nothing(uow: UnitOfWork) -> None:
    in_phases(uow, 1)
    won = look(uow, rates(5_000, 500, 900))
    assert (won.look, won.decision.recommendation) == (1, "ship")
    with uow.begin() as work:
        take(work, "rate-display", "phase", now=later(days=1))
    assert look(uow, rates(100, 10, 10)).look == 1
    past = look(uow, rates(5_000, 500, 900), phase=1)
    assert (past.phase, past.look, past.alpha) == (1, 2, 0.05)
    assert analyse.read_looks(uow, "default", "rate-display", phase=1) == (won, past)
    assert [each.phase for each in analyse.read_looks(uow, "default", "rate-display")] == [2]
    with pytest.raises(InvalidInput, match="phase: rate-display has had the phases 1 to 2"):
        analyse.read_looks(uow, "default", "rate-display", phase=3)
    assert (past.decision.recommendation, past.decision.variant) == ("inconclusive", None)
    assert "Phase 1 ended on 2026-11-24" in past.decision.reasons[-1]
    assert past.metrics[0].comparisons[0].verdict == "better", "what was found stays in view"
    with uow.begin() as work:
        take(work, "rate-display", "close")
    assert look(uow, rates(5_000, 500, 900), phase=1) == past, "what becomes of the experiment is no news of the past"
    broken = an_aggregation(a_rate("control", 9_000, 900), a_rate("treatment", 7_000, 900))
    assert look(uow, broken, phase=1).decision.recommendation == "invalid"


def test_a_look_is_known_by_the_name_that_earlier_versions_gave_it() -> None:
    draft = a_draft(definition=an_experiment(), status="running")
    # Computed by the version before units of earlier phases were counted.
    name = "013c68304881a253c17cc08acdd3b456c393f73582d987ab1be2e0a8744e58fa"
    assert fingerprint(draft, [a_metric()], rates(1000, 100, 130)) == name


def test_units_of_earlier_phases_are_counted_anew_but_make_no_look(uow: UnitOfWork) -> None:
    in_phases(uow, 2)
    data = rates(1_000, 100, 130)
    found = [look(uow, replace(data, earlier_phase_units=count)) for count in (None, 5, 6)]
    assert [(each.look, each.health.earlier_phase_units) for each in found] == [(1, None), (1, 5), (1, 6)]
    assert look(uow, replace(rates(1_001, 100, 130), earlier_phase_units=6)).look == 2


def test_what_people_decided_stands_beside_what_the_data_recommend(uow: UnitOfWork) -> None:
    in_phases(uow, 2)
    data = replace(rates(1_000, 100, 110), earlier_phase_units=0)
    assert look(uow, data).decision_taken is None
    first = decide(uow, "inconclusive", reason="wait").decision
    waiting = look(uow, data)
    last = decide(uow, "ship", variant="treatment", reason="we need it anyway").decision
    shipped = look(uow, data)
    assert (waiting.decision_taken, shipped.decision_taken) == (first, last)
    assert waiting.decision == shipped.decision
    assert (shipped.decision.recommendation, shipped.look) == ("inconclusive", waiting.look)
    assert look(uow, data, method="fixed").decision_taken == look(uow, data, phase=1).decision_taken == last
    looks = analyse.read_looks(uow, "default", "rate-display")
    assert [each.decision_taken for each in looks] == [None, None], "recorded looks are never changed"


def test_a_past_phase_is_analysed_by_the_variants_that_it_had(uow: UnitOfWork) -> None:
    in_phases(uow, 1)
    variants = (Variant(key="control"), Variant(key="b"), Variant(key="c"))
    with uow.begin() as work:
        request = live.PhaseRequest(changes={"variants": variants}, reason="two ideas")
        live.open_phase(work, "default", "rate-display", request, now=later(days=1))
    past = look(uow, rates(1_000, 100, 130), phase=1)
    assert [each.variant for each in past.metrics[0].comparisons] == ["treatment"]
    cells = [a_rate(key, 1_000, 100) for key in ("control", "b", "c")]
    assert [each.variant for each in look(uow, an_aggregation(*cells)).metrics[0].comparisons] == ["b", "c"]


def test_other_methods_are_looked_at_but_neither_recorded_nor_decide(uow: UnitOfWork) -> None:
    start(uow, an_experiment(plan=FIXED))
    data = rates(2_000, 200, 300)
    for method in ("sequential", "bayesian"):
        explored = look(uow, data, method=method)
        assert (explored.look, explored.method) == (0, method)
        assert explored.metrics[0].comparisons[0].exploratory
        assert explored.decision.recommendation == "ship", "the decision of the plan's own method"
    assert look(uow, data).look == 1


def test_one_metric_can_be_asked_for(uow: UnitOfWork) -> None:
    start(uow, an_experiment())
    found = look(uow, rates(1000, 100, 130), metric="purchase")
    assert [result.metric for result in found.metrics] == ["purchase"]


@pytest.mark.parametrize(
    "question",
    [{"metric": "unknown"}, {"method": "magic"}, {"method": "group_sequential"}, {"phase": 2}],
    ids=["metric", "method", "schedule", "phase"],
)
def test_questions_that_do_not_fit_name_the_parameter(uow: UnitOfWork, question: dict[str, Any]) -> None:
    start(uow, an_experiment())
    with pytest.raises(InvalidInput) as refusal:
        look(uow, rates(1000, 100, 130), **question)
    assert list(refusal.value.errors) == list(question)


def test_a_draft_has_nothing_to_analyse(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        define.create_experiment(work, "default", an_experiment(), now=NOW)
    with pytest.raises(NotAnalysable):
        look(uow, rates(0, 0, 0))
    with pytest.raises(NotFound):
        look(uow, rates(0, 0, 0), key="unknown")
