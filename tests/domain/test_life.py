"""The life of an experiment as a value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abplatform.domain import life
from abplatform.domain.experiment import (
    OF_A_PHASE,
    STATUSES,
    Experiment,
    Prerequisite,
    Status,
    Variant,
)
from abplatform.domain.life import MOST_PHASES, TRANSITIONS, Enrolment, Step
from abplatform.errors import Conflict, IllegalTransition, InvalidInput, ReviewRequired
from tests.builders import a_decision, a_draft, an_experiment, an_external_experiment, later

STEPS: tuple[Step, ...] = ("start", "pause", "resume", "ramp", "phase", "close", "stop", "decide", "archive")
# The life cycle of the design, written down a second time: source -> step -> target.
ENDS = {"stop": "stopped", "decide": "stopped"}
LIFE = {
    "draft": {"start": "running"},
    "running": {"pause": "paused", "ramp": "running", "phase": "running", "close": "closed"} | ENDS,
    "paused": {"resume": "running", "ramp": "paused", "phase": "paused", "close": "closed"} | ENDS,
    "closed": ENDS,
    "stopped": {"decide": "stopped", "archive": "archived"},
    "archived": {},
}
HALF = ((0, 500_000),)
ALL = ((0, 1_000_000),)


def walk(experiment: Experiment, step: Step, now: datetime) -> Experiment:
    """Take any step, with what it needs."""
    ways: dict[Step, Callable[[], Experiment]] = {
        "start": lambda: life.start(experiment, Enrolment(layer_salt="layer", slots=HALF, holdouts=("q3",)), now=now),
        "ramp": lambda: life.ramp(experiment, 1.0, ALL),
        "phase": lambda: life.open_phase(
            experiment, experiment.definition, salt=f"salt at {now}", slots=HALF, reason="a bug", now=now
        ),
        "decide": lambda: life.decide(experiment, a_decision("inconclusive", decided_at=now)),
    }
    return ways[step]() if step in ways else life.take(experiment, step, now=now)  # type: ignore[arg-type]


def a_started(**changes: Any) -> Experiment:
    started = walk(a_draft(), "start", later(hours=1))
    return replace(started, **changes)


@pytest.mark.parametrize(("status", "step"), tuple(product(STATUSES, STEPS)))
def test_a_step_leads_where_the_design_says(status: Status, step: Step) -> None:
    experiment = a_draft(status=status, revision=5)
    target = LIFE[status].get(step)
    if target is None:
        with pytest.raises(IllegalTransition, match=f"rate-display is {status}, so it cannot {step}"):
            walk(experiment, step, later(hours=1))
    else:
        after = walk(experiment, step, later(hours=1))
        assert (after.status, after.revision) == (target, 6)
        assert after.salt == experiment.salt, "for ever"


def test_a_refusal_says_what_is_possible() -> None:
    with pytest.raises(IllegalTransition, match="possible now: pause, ramp, phase, close, stop, decide"):
        walk(a_draft(status="running"), "start", later())
    with pytest.raises(IllegalTransition, match=r"cannot start$"):
        walk(a_draft(status="archived"), "start", later())


@given(st.lists(st.sampled_from(STEPS), max_size=15))
def test_any_walk_stays_legal_and_keeps_its_books(steps: list[Step]) -> None:
    experiment, taken = a_draft(), 0
    for number, step in enumerate(steps):
        if (experiment.status, step) in TRANSITIONS:
            experiment, taken = walk(experiment, step, later(hours=number)), taken + 1
    assert experiment.revision == 1 + taken
    assert (experiment.started_at is None) == (experiment.status == "draft")
    assert (experiment.stopped_at is not None) == (experiment.status in {"stopped", "archived"})
    assert (experiment.archived_at is not None) == (experiment.status == "archived")
    assert bool(experiment.slots) == (experiment.status != "draft"), "what was drawn from stays on record"
    times = (experiment.started_at, experiment.closed_at, experiment.stopped_at, experiment.archived_at)
    stamps = [stamp for stamp in times if stamp]
    assert stamps == sorted(stamps)
    # Phases follow each other without a gap, and no two have the same salt.
    starts = [past.started_at for past in experiment.past_phases] + [experiment.phase_started_at]
    assert [past.ended_at for past in experiment.past_phases] == starts[1:]
    assert [past.number for past in experiment.past_phases] == list(range(1, experiment.phase))
    assert len({experiment.in_phase(number + 1).phase_salt for number in range(experiment.phase)}) == experiment.phase


def test_pauses_leave_the_start_as_it_was() -> None:
    resumed = walk(walk(a_started(), "pause", later(hours=2)), "resume", later(hours=3))
    assert (resumed.started_at, resumed.phase_started_at) == (later(hours=1), later(hours=1))
    assert resumed.stopped_at is None


def test_the_start_fixes_slots_layer_and_holdouts() -> None:
    started = a_started()
    assert (started.layer_salt, started.slots, started.holdouts) == ("layer", HALF, ("q3",))
    assert started.phase_salt == started.salt, "of phase 1"


def test_a_ramp_changes_coverage_and_slots_and_nothing_else() -> None:
    before = a_started()
    after = life.ramp(before, 1.0, ALL)
    expected = replace(before, definition=replace(before.definition, coverage=1.0), slots=ALL, revision=3)
    assert after == expected


def test_a_new_phase_keeps_what_held_in_the_last_one() -> None:
    before = a_started(forced={"a" * 64: "control", "b" * 64: "treatment"})
    changes: dict[str, Any] = {
        "variants": (Variant(key="control"), Variant(key="c")),
        "targeting": {"country": "CN"},
        "coverage": 1.0,
        "prerequisites": (Prerequisite(experiment="open-account", variants=("short form",)),),
    }
    assert set(changes) < set(OF_A_PHASE)
    definition = replace(before.definition, **changes)
    after = life.open_phase(before, definition, salt="new", slots=ALL, reason="a bug", now=later(hours=5))
    assert (after.phase, after.phase_salt, after.slots, after.phase_started_at) == (2, "new", ALL, later(hours=5))
    assert after.started_at == before.started_at
    assert after.holdouts == before.holdouts
    assert after.forced == {"a" * 64: "control"}, "the variant of the other is no more"
    (past,) = after.past_phases
    assert (past.reason, past.ended_at) == ("a bug", later(hours=5))
    then = after.in_phase(1)
    assert (then.definition, then.phase_salt, then.slots) == (before.definition, before.phase_salt, before.slots)


@pytest.mark.parametrize("reason", ["", "x" * 4001, "nul\0"])
def test_a_phase_needs_a_reason(reason: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        life.open_phase(a_started(), an_experiment(), salt="new", slots=ALL, reason=reason, now=later())
    assert list(refusal.value.errors) == ["reason"]


def test_there_are_ten_phases_at_most() -> None:
    experiment = a_started()
    for number in range(MOST_PHASES - 1):
        experiment = walk(experiment, "phase", later(days=number + 1))
    assert experiment.phase == 10
    with pytest.raises(Conflict, match="has had 10 phases"):
        walk(experiment, "phase", later(days=99))


def test_regulated_experiments_wait_for_a_reviewer_at_the_start_and_when_variants_change() -> None:
    regulated = an_experiment(risk_class="regulated")
    with pytest.raises(ReviewRequired):
        walk(a_draft(definition=regulated), "start", later())
    with pytest.raises(IllegalTransition):
        walk(a_draft(definition=regulated), "stop", later())
    running = a_draft(definition=regulated, status="running", started_at=later(), phase_started_at=later())
    assert walk(running, "phase", later(days=1)).phase == 2, "the same variants, drawn anew"
    other = replace(regulated, variants=(Variant(key="control"), Variant(key="treatment", payload="unread")))
    with pytest.raises(ReviewRequired, match="before its variants change"):
        life.open_phase(running, other, salt="new", slots=ALL, reason="a bug", now=later(days=1))


def test_shipping_serves_one_variant_and_keeps_the_record_of_its_slots() -> None:
    decision = a_decision("ship", variant="treatment", decided_at=later(days=3))
    after = life.decide(a_started(), decision)
    assert (after.status, after.shipped, after.decision) == ("stopped", "treatment", decision)
    assert (after.slots, after.stopped_at) == (a_started().slots, later(days=3))
    with pytest.raises(IllegalTransition, match="has shipped treatment, so it cannot decide again"):
        life.decide(after, decision)


def test_what_shipped_nothing_can_be_decided_again_and_every_record_stays() -> None:
    stopped = walk(a_started(), "stop", later(days=1))
    records = [
        a_decision(outcome, decided_at=later(days=2 + number))
        for number, outcome in enumerate(("inconclusive", "roll_back", "inconclusive"))
    ]
    experiment = stopped
    for record in records:
        experiment = life.decide(experiment, record)
    assert (experiment.decision, experiment.past_decisions) == (records[-1], tuple(records[:-1]))
    assert (experiment.stopped_at, experiment.shipped) == (later(days=1), None)
    shipped = life.decide(experiment, a_decision("ship", variant="control"))
    assert shipped.past_decisions == tuple(records)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"outcome": "ship", "variant": None}, "variant"),
        ({"outcome": "ship", "variant": "nobody"}, "variant"),
        ({"outcome": "roll_back", "variant": "control"}, "variant"),
        ({"outcome": "inconclusive", "variant": "control"}, "variant"),
        ({"outcome": "continue"}, "outcome"),
        ({"reason": ""}, "reason"),
        ({"reason": "x" * 4001}, "reason"),
        ({"reason": "nul\0"}, "reason"),
    ],
)
def test_a_decision_that_does_not_fit_names_its_part(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        life.decide(a_started(), replace(a_decision("inconclusive"), **changes))
    assert list(refusal.value.errors) == [field]


@pytest.mark.parametrize("step", ["pause", "resume", "ramp", "phase"])
def test_external_experiments_have_no_steps_that_serving_needs(step: Step) -> None:
    external = a_draft(definition=an_external_experiment(), status="running")
    with pytest.raises(IllegalTransition, match=f"external assignment, so there is nothing here to {step}"):
        walk(external, step, later())


def test_what_external_experiments_decide_is_recorded() -> None:
    external = a_draft(definition=an_external_experiment(), status="running")
    decided = life.decide(external, a_decision("ship", variant="treatment"))
    assert (decided.status, decided.shipped) == ("stopped", "treatment")
