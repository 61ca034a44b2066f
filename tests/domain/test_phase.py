"""At which level a phase is tested, and what a past one may still recommend."""

from __future__ import annotations

from dataclasses import replace

import pytest

from abplatform.domain.phase import decide_in_phase, judged_definition
from abplatform.domain.scorecard import Decision
from tests.builders import a_draft, a_past_phase, a_plan, an_experiment, later

SHIP = Decision(recommendation="ship", variant="treatment", reasons=("treatment: better on purchase.",))


@pytest.mark.parametrize(("phase", "alpha"), [(1, 0.05), (2, 0.025), (3, 0.0125), (10, 0.05 / 512)])
def test_phase_k_is_tested_at_alpha_over_two_to_the_k_minus_one(phase: int, alpha: float) -> None:
    definition = an_experiment(plan=a_plan(alpha=0.05))
    tested = judged_definition(a_draft(definition=definition, phase=phase))
    assert tested == replace(definition, plan=replace(definition.plan, alpha=alpha))


def test_the_levels_of_all_phases_stay_below_twice_alpha() -> None:
    definition = an_experiment(plan=a_plan(alpha=0.05))
    levels = [judged_definition(a_draft(definition=definition, phase=phase)).plan.alpha for phase in range(1, 11)]
    assert 0.05 < sum(levels) < 0.1


def test_the_first_phase_says_nothing_about_phases() -> None:
    assert decide_in_phase(SHIP, a_draft(status="running")) == SHIP


def test_a_later_phase_decides_and_says_at_which_level() -> None:
    decision = decide_in_phase(SHIP, a_draft(status="running", phase=3))
    assert (decision.recommendation, decision.variant) == ("ship", "treatment")
    assert decision.reasons == (
        *SHIP.reasons,
        "Phase 3 is tested at alpha/4: false wins over all phases stay at most 2 alpha.",
    )
    assert decide_in_phase(decision, a_draft(status="running", phase=3)) == decision, "it is said once"


@pytest.mark.parametrize("recommendation", ["ship", "roll_back", "continue", "inconclusive", "invalid"])
def test_a_past_phase_recommends_nothing_but_may_be_invalid(recommendation: str) -> None:
    past = a_past_phase(1, ended_at=later(days=2))
    experiment = a_draft(status="running", phase=2, past_phases=(past,)).in_phase(1)
    given = Decision(recommendation=recommendation, variant=None, reasons=("as it is",))  # type: ignore[arg-type]
    decision = decide_in_phase(given, experiment)
    assert decision.recommendation == ("invalid" if recommendation == "invalid" else "inconclusive")
    assert decision.variant is None
    assert decision.reasons[0] == "as it is"
    assert "Phase 1 ended on 2026-11-25" in decision.reasons[1]
