"""Phases draw everybody anew; prerequisites tie experiments to each other."""

from __future__ import annotations

from typing import Any

import pytest

from abplatform.assignment import decode_snapshot, draw_variant
from abplatform.domain.experiment import Prerequisite, Variant
from abplatform.errors import (
    Conflict,
    InUse,
    InvalidInput,
    ReviewRequired,
)
from abplatform.services import define, publish
from abplatform.storage.session import UnitOfWork
from tests.builders import (
    NOW,
    a_draft,
    a_plan,
    an_experiment,
)
from tests.services.lives import UNITS, decide, lead, needing, open_phase, published, take, variants_of


def test_a_phase_draws_everybody_anew(uow: UnitOfWork) -> None:
    before = lead(uow, an_experiment(coverage=0.5), "start")
    drawn = variants_of(uow)
    variants = (Variant(key="control"), Variant(key="treatment", weight=3, payload="new"))
    after = open_phase(uow, variants=variants, coverage=0.25)
    assert (after.phase, after.status, after.slots) == (2, "running", ((0, 250_000),))
    assert after.phase_salt not in {before.salt, before.layer_salt}
    assert (len(after.phase_salt), after.salt) == (32, before.salt)
    rule = published(uow)["experiments"]["rate-display"]
    assert (rule["phase"], rule["salt"]) == (2, after.phase_salt)
    assert [variant["range"] for variant in rule["variants"]] == [[0, 250_000], [250_000, 1_000_000]]
    both = [unit for unit, (reason, _) in variants_of(uow).items() if reason == drawn[unit][0] == "ASSIGNED"]
    now = variants_of(uow)
    moved = sum(drawn[unit] != now[unit] for unit in both)
    # Of those in both phases half were drawn differently, whatever the weights: 1/2 x 3/4 + 1/2 x 1/4.
    assert len(both) > 400
    assert abs(moved / len(both) - 0.5) < 4 * 0.5 / len(both) ** 0.5


def test_a_past_phase_can_be_drawn_again(uow: UnitOfWork) -> None:
    lead(uow, an_experiment(coverage=0.5), "start")
    with uow.reading() as work:
        old = decode_snapshot(publish.read_snapshot(work, "default").document).experiments["rate-display"]
    after = open_phase(uow, variants=(Variant(key="control"), Variant(key="other")))
    past = after.in_phase(1)
    assert past.phase_salt == old.salt  # type: ignore[union-attr]
    assert [variant.key for variant in past.definition.variants] == ["control", "treatment"]
    assert {draw_variant(old, unit) for unit in UNITS} == {"control", "treatment"}  # type: ignore[arg-type]
    assert past.slots == ((0, 500_000),)


def test_a_phase_that_could_not_run_names_the_field(uow: UnitOfWork) -> None:
    lead(uow, an_experiment(), "start")
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("plan", {"plan": a_plan()}),
        ("layer", {"layer": None}),
        ("name", {"name": "other"}),
        ("metrics", {"metrics": ()}),
        ("control", {"control": "nobody"}),
        ("variants", {"variants": ()}),
        ("coverage", {"coverage": 0}),
        ("targeting.a.$what", {"targeting": {"a": {"$what": 1}}}),
        ("prerequisites", {"prerequisites": (Prerequisite(experiment="rate-display", variants=("control",)),)}),
    ]
    for field, changes in wrong:
        with pytest.raises(InvalidInput) as refusal:
            open_phase(uow, **changes)
        assert field in refusal.value.errors
    assert published(uow)["version"] == 1


def test_a_phase_needs_new_prerequisites_started(uow: UnitOfWork) -> None:
    lead(uow, an_experiment("other"))
    lead(uow, an_experiment(), "start")
    need = Prerequisite(experiment="other", variants=("control",))
    with pytest.raises(Conflict, match="rate-display needs other, which has not started"):
        open_phase(uow, prerequisites=(need,))
    with uow.begin() as work:
        take(work, "other", "start")
    assert open_phase(uow, prerequisites=(need,)).definition.prerequisites == (need,)


def test_a_regulated_phase_that_changes_variants_waits_for_review(uow: UnitOfWork) -> None:
    running = a_draft(definition=an_experiment(risk_class="regulated"), status="running", phase_started_at=NOW)
    with uow.begin() as work:
        work.experiments.add("default", running)
    with pytest.raises(ReviewRequired):
        open_phase(uow, variants=(Variant(key="control"), Variant(key="b")))
    assert open_phase(uow, targeting={"country": "CN"}).phase == 2


def test_a_start_needs_its_prerequisites_started(uow: UnitOfWork) -> None:
    lead(uow, an_experiment("first"))
    lead(uow, needing("second", "first"))
    with pytest.raises(Conflict, match="second needs first, which has not started"), uow.begin() as work:
        take(work, "second", "start")
    with uow.begin() as work:
        take(work, "first", "start")
        take(work, "second", "start")
    first, second = variants_of(uow, "first"), variants_of(uow, "second")
    for unit in UNITS:
        assert (second[unit][0] == "ASSIGNED") == (first[unit][1] == "treatment")
    assert {reason for reason, _ in second.values()} == {"ASSIGNED", "PREREQUISITE"}


def test_what_others_need_is_neither_deleted_nor_archived_nor_drawn_anew(uow: UnitOfWork) -> None:
    lead(uow, an_experiment("first"))
    lead(uow, needing("second", "first"))
    with pytest.raises(InUse, match="first is a prerequisite of second"), uow.begin() as work:
        define.delete_experiment(work, "default", "first", revision=1)
    with uow.begin() as work:
        take(work, "first", "start")
    assert open_phase(uow, "first").phase == 2, "of a draft it is no matter"
    with uow.begin() as work:
        take(work, "second", "start")
    with pytest.raises(InUse, match="first is a prerequisite of second"):
        open_phase(uow, "first")
    with uow.begin() as work:
        take(work, "first", "stop")
    with pytest.raises(InUse, match="first is a prerequisite of second"), uow.begin() as work:
        take(work, "first", "archive")
    decide(uow, "ship", "second", variant="treatment")
    with pytest.raises(InUse, match="second"), uow.begin() as work:
        take(work, "first", "archive")  # what has shipped would go from everybody
    with uow.begin() as work:
        take(work, "second", "archive")
        assert take(work, "first", "archive").status == "archived"


def test_the_words_of_a_stopped_experiment_can_be_edited_whatever_it_needed(uow: UnitOfWork) -> None:
    lead(uow, an_experiment("first"), "start")
    lead(uow, needing("second", "first"), "start", "stop")
    with uow.begin() as work:
        for step in ("stop", "archive"):
            take(work, "first", step)
        edited = define.edit_experiment(work, "default", "second", {"name": "New"}, revision=3)
        with pytest.raises(InvalidInput, match="name"):
            define.edit_experiment(work, "default", "second", {"name": ""}, revision=4)
    assert edited.definition.name == "New"


def test_circles_over_drafts_are_refused_at_the_edit_that_would_close_them(uow: UnitOfWork) -> None:
    lead(uow, an_experiment("a"))
    lead(uow, needing("b", "a"))
    changes: dict[str, object] = {"prerequisites": (Prerequisite(experiment="b", variants=("control",)),)}
    with pytest.raises(InvalidInput, match="prerequisites: a would need itself"), uow.begin() as work:
        define.edit_experiment(work, "default", "a", changes, revision=1)
