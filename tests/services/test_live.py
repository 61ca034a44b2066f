"""The life of an experiment in the database: its steps, what people decide, what is randomised."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import pytest

from abplatform.assignment import decode_snapshot, evaluate
from abplatform.domain.experiment import Prerequisite
from abplatform.domain.life import TRANSITIONS, Step
from abplatform.errors import (
    Conflict,
    IllegalTransition,
    InUse,
    InvalidInput,
    NotFound,
    PreconditionFailed,
    ReviewRequired,
)
from abplatform.services import define, live, publish
from abplatform.storage.session import UnitOfWork, Work
from tests.builders import (
    NOW,
    a_draft,
    a_plan,
    an_experiment,
    an_external_experiment,
    later,
)
from tests.services.lives import UNITS, WAYS, decide, lead, published, take, variants_of

STEPS: tuple[Step, ...] = ("start", "pause", "resume", "ramp", "phase", "close", "stop", "decide", "archive")


def test_steps_follow_the_life_cycle_and_nothing_else(uow: UnitOfWork) -> None:
    expected = {}
    for status, step in product(WAYS, STEPS):
        key = f"{status}-{step}"
        lead(uow, an_experiment(key, coverage=0.5), *WAYS[status])
        expected[key] = TRANSITIONS.get((status, step), status)  # type: ignore[call-overload]
        if (status, step) in TRANSITIONS:
            with uow.begin() as work:
                take(work, key, step)
        else:
            with pytest.raises(IllegalTransition, match=f"is {status}"), uow.begin() as work:
                take(work, key, step)
    with uow.reading() as work:
        assert {each.key: each.status for each in work.experiments.all("default")} == expected


def test_steps_are_stamped_with_their_times_and_come_back_equal(uow: UnitOfWork) -> None:
    lead(uow, an_experiment(coverage=0.5))
    steps: tuple[Step, ...] = ("start", "pause", "resume", "ramp", "phase", "close", "decide", "archive")
    with uow.begin() as work:
        for hours, step in enumerate(steps, start=1):
            after = take(work, "rate-display", step, now=later(hours=hours))
            assert work.experiments.get("default", "rate-display") == after
    times = (after.started_at, after.phase_started_at, after.closed_at, after.stopped_at, after.archived_at)
    assert times == tuple(later(hours=hours) for hours in (1, 5, 6, 7, 8))
    assert (after.revision, after.phase) == (9, 2)


def test_a_step_from_an_outdated_revision_is_refused(uow: UnitOfWork) -> None:
    steps: tuple[Step, ...] = ("pause", "ramp", "phase", "close", "stop", "decide")
    for step in steps:
        lead(uow, an_experiment(step, coverage=0.5), "start")
        with pytest.raises(PreconditionFailed), uow.begin() as work:
            take(work, step, step, revision=1)
        with uow.begin() as work:
            assert take(work, step, step, revision=2).revision == 3


def test_the_start_checks_the_definition_again(uow: UnitOfWork) -> None:
    # A version that knew fewer rules may have stored it.
    with uow.begin() as work:
        work.experiments.add("default", a_draft(definition=an_experiment(layer="shared")))
    with pytest.raises(InvalidInput, match="layer"), uow.begin() as work:
        take(work, "rate-display", "start")
    assert published(uow)["version"] == 0


def test_a_regulated_experiment_waits_for_review(uow: UnitOfWork) -> None:
    lead(uow, an_experiment(risk_class="regulated"))
    with pytest.raises(ReviewRequired, match="reviewer"), uow.begin() as work:
        take(work, "rate-display", "start")
    with uow.reading() as work:
        assert work.experiments.get("default", "rate-display").status == "draft"
    assert published(uow)["version"] == 0


def test_external_experiments_are_only_analysed(uow: UnitOfWork) -> None:
    started = lead(uow, an_external_experiment(), "start")
    assert started.slots == ()
    for step in ("pause", "resume", "ramp", "phase"):
        sentence = f"external assignment, so there is nothing here to {step}"
        with pytest.raises(IllegalTransition, match=sentence), uow.begin() as work:
            take(work, "imported", step)  # type: ignore[arg-type]
    with uow.begin() as work:
        take(work, "imported", "close")
        decided = take(work, "imported", "decide")
        assert decided.decision is not None
        assert take(work, "imported", "archive").status == "archived"


def test_unknown_experiments_and_projects_are_not_found(uow: UnitOfWork) -> None:
    for step in STEPS:
        with pytest.raises(NotFound, match="rate-display"), uow.begin() as work:
            take(work, "rate-display", step)
    with uow.begin() as work:
        with pytest.raises(NotFound, match="elsewhere"):
            live.take_step(work, "elsewhere", "rate-display", "start", now=NOW)
        with pytest.raises(NotFound, match="elsewhere"):
            publish.publish_snapshot(work, "elsewhere")


def test_a_failed_step_publishes_nothing(uow: UnitOfWork) -> None:
    lead(uow, an_experiment(), "start")

    def stop_and_fail() -> None:
        with uow.begin() as work:
            take(work, "rate-display", "stop")
            raise RuntimeError("the power went")

    with pytest.raises(RuntimeError):
        stop_and_fail()
    assert published(uow)["version"] == 1
    assert published(uow)["experiments"]["rate-display"]["status"] == "running"


def test_shipping_serves_the_winner_to_every_targeted_unit(uow: UnitOfWork) -> None:
    lead(uow, an_experiment(coverage=0.1), "start")
    after = decide(uow, "ship", variant="treatment")
    assert (after.status, after.shipped, after.slots) == ("stopped", "treatment", ((0, 100_000),))
    assert set(variants_of(uow).values()) == {("SHIPPED", "treatment")}


@pytest.mark.parametrize("outcome", ["roll_back", "inconclusive"])
def test_other_outcomes_serve_the_control(uow: UnitOfWork, outcome: str) -> None:
    lead(uow, an_experiment(), "start", "close")
    assert decide(uow, outcome).shipped is None
    assert set(variants_of(uow).values()) == {("NOT_RUNNING", "control")}


def test_closing_serves_on(uow: UnitOfWork) -> None:
    lead(uow, an_experiment(), "start")
    before = variants_of(uow)
    with uow.begin() as work:
        take(work, "rate-display", "close")
    assert variants_of(uow) == before


def test_experiments_randomise_other_types_and_clusters(uow: UnitOfWork) -> None:
    lead(uow, an_experiment("devices", unit_type="device_id"), "start")
    circles: dict[str, Any] = {"unit_type": "referral_circle", "analysis_unit": "user_id"}
    lead(uow, an_experiment("circles", **circles, plan=a_plan(method="fixed")), "start")
    with uow.reading() as work:
        snapshot = decode_snapshot(publish.read_snapshot(work, "default").document)
    for key, unit_type in (("devices", "device_id"), ("circles", "referral_circle")):
        assert evaluate(snapshot, key, "u-1").reason == "NO_UNIT"
        assert evaluate(snapshot, key, "u-1", units={unit_type: "x-1"}).reason == "ASSIGNED"
    same = {evaluate(snapshot, "circles", unit, units={"referral_circle": "c-1"}).variant for unit in UNITS[:50]}
    assert len(same) == 1, "a circle is drawn as a whole"


def test_what_is_edited_after_the_start_says_which_step_to_take(uow: UnitOfWork) -> None:
    def refused(work: Work, changes: dict[str, object]) -> str:
        revision = work.experiments.get("default", "rate-display").revision
        with pytest.raises(Conflict) as refusal:
            define.edit_experiment(work, "default", "rate-display", changes, revision=revision)
        return refusal.value.detail

    lead(uow, an_experiment(), "start")
    phase = r"open a new phase (POST /experiments/rate-display/phase)"
    with uow.begin() as work:
        both = refused(work, {"coverage": 0.5, "targeting": {"a": 1}})
        assert f"to change coverage, targeting, {phase}, or ramp to a larger coverage" in both
        assert refused(work, {"control": "treatment"}).endswith(phase)
        assert phase not in refused(work, {"plan": a_plan(alpha=0.1)})
        take(work, "rate-display", "stop")
        assert phase not in refused(work, {"coverage": 0.5}), "too late"


def test_what_others_under_way_need_is_not_ramped_but_can_always_be_stopped(uow: UnitOfWork) -> None:
    lead(uow, an_experiment("first", coverage=0.2), "start")
    lead(
        uow, an_experiment("second", prerequisites=(Prerequisite(experiment="first", variants=("control",)),)), "start"
    )
    with pytest.raises(InUse, match="first is a prerequisite of second"), uow.begin() as work:
        live.ramp(work, "default", "first", 0.9)
    for step in ("pause", "resume", "stop"):
        with uow.begin() as work:
            take(work, "first", step)


def test_a_snapshot_that_evaluators_would_not_take_is_not_published(
    uow: UnitOfWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead(uow, an_experiment("first"), "start")
    size = len(json.dumps(published(uow), separators=(",", ":"), ensure_ascii=False).encode())
    monkeypatch.setattr(publish, "LARGEST_SNAPSHOT", size)
    lead(uow, an_experiment("second"))
    with pytest.raises(Conflict, match=r"the snapshot would have [\d,]+ bytes, more than the"), uow.begin() as work:
        take(work, "second", "start")
    assert set(published(uow)["experiments"]) == {"first"}
    # The limit may have been lower once: what only stops something goes through.
    monkeypatch.setattr(publish, "LARGEST_SNAPSHOT", 10)
    for step in ("pause", "resume", "close", "stop", "archive"):
        with uow.begin() as work:
            take(work, "first", step)
