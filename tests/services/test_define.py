"""Defining experiments and metrics."""

from __future__ import annotations

from typing import Any

import pytest

from abplatform.domain.access import Project
from abplatform.domain.experiment import Variant
from abplatform.errors import AlreadyExists, Conflict, InUse, InvalidInput, NotFound, PreconditionFailed
from abplatform.services import define, live
from abplatform.storage.session import UnitOfWork
from tests.builders import NOW, a_metric, a_metric_use, a_plan, an_experiment, an_external_experiment, later

THREE_VARIANTS = tuple(Variant(key=key) for key in ("control", "b", "c"))


def create(uow: UnitOfWork, *steps: live.BareStep, **changes: Any) -> None:
    """Make ``rate-display`` and lead it through steps."""
    with uow.begin() as work:
        define.create_experiment(work, "default", an_experiment(**changes), now=NOW)
        for step in steps:
            live.take_step(work, "default", "rate-display", step, now=later(hours=1))


def test_a_new_experiment_is_a_draft_with_random_salts(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        first = define.create_experiment(work, "default", an_experiment(), now=NOW)
        second = define.create_experiment(work, "default", an_experiment("other"), now=NOW)
    assert (first.status, first.phase, first.revision, first.created_at) == ("draft", 1, 1, NOW)
    assert first.definition == an_experiment()
    salts = {first.salt, first.layer_salt, second.salt, second.layer_salt}
    assert len(salts) == 4
    assert first.phase_salt == first.salt, "of phase 1"
    assert all(len(salt) == 32 and int(salt, 16) >= 0 for salt in salts)
    with uow.reading() as work:
        assert work.experiments.get("default", "rate-display") == first


def test_the_start_preregisters_what_is_served_here_and_a_draft_has_registered_nothing(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        drafts = [
            define.create_experiment(work, "default", an_experiment("served"), now=NOW),
            define.create_experiment(work, "default", an_external_experiment("external"), now=NOW),
            define.create_experiment(work, "default", an_experiment("turned"), now=NOW),
            define.edit_experiment(work, "default", "turned", {"assignment": "external"}, revision=1),
        ]
        assert not any(draft.preregistered for draft in drafts)
        started = [live.take_step(work, "default", key, "start", now=NOW) for key in ("served", "external", "turned")]
    assert [each.preregistered for each in started] == [True, False, False]


def test_a_wrong_definition_is_refused_by_field_and_not_stored(uow: UnitOfWork) -> None:
    wrong = an_experiment(control="nobody", metrics=(a_metric_use("missing"),), plan=a_plan(planned_units=0))
    with pytest.raises(InvalidInput) as refusal, uow.begin() as work:
        define.create_experiment(work, "default", wrong, now=NOW)
    assert set(refusal.value.errors) == {"control", "metrics.0.metric", "plan.planned_units"}
    with uow.reading() as work:
        assert work.experiments.all("default") == ()


def test_a_taken_key_is_refused(uow: UnitOfWork) -> None:
    create(uow)
    with pytest.raises(AlreadyExists, match="rate-display"):
        create(uow, name="Second")
    with uow.reading() as work:
        assert work.experiments.get("default", "rate-display").definition.name == "Rate display"


def test_an_unknown_project_has_nothing(uow: UnitOfWork) -> None:
    with pytest.raises(NotFound, match="elsewhere"), uow.begin() as work:
        define.create_experiment(work, "elsewhere", an_experiment(), now=NOW)


def test_experiments_use_metrics_of_their_own_project_only(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        work.projects.add(Project(key="other", name="Other", created_at=NOW))
    with pytest.raises(InvalidInput, match=r"metrics\.0\.metric"), uow.begin() as work:
        define.create_experiment(work, "other", an_experiment(), now=NOW)


def test_every_field_of_a_draft_but_the_key_can_be_edited(uow: UnitOfWork) -> None:
    create(uow)
    changes = {"name": "New", "variants": THREE_VARIANTS, "coverage": 0.5, "targeting": {"country": "CN"}}
    with uow.begin() as work:
        edited = define.edit_experiment(work, "default", "rate-display", changes, revision=1)
    assert edited.definition == an_experiment(**changes)
    assert edited.revision == 2
    with uow.reading() as work:
        assert work.experiments.get("default", "rate-display") == edited


def test_an_edit_that_is_wrong_names_the_field(uow: UnitOfWork) -> None:
    create(uow)
    wrong = {"key": "other", "status": "running", "salt": "chosen", "coverage": 2.0, "layer": "shared"}
    for field, value in wrong.items():
        with pytest.raises(InvalidInput) as refusal, uow.begin() as work:
            define.edit_experiment(work, "default", "rate-display", {field: value, "name": "New"}, revision=1)
        assert list(refusal.value.errors) == [field]
    with uow.reading() as work:
        assert work.experiments.get("default", "rate-display").revision == 1


def test_an_edit_that_changes_nothing_keeps_the_revision(uow: UnitOfWork) -> None:
    create(uow, "start")
    for changes in ({}, {"name": "Rate display"}, {"key": "rate-display", "coverage": 1.0}):
        with uow.begin() as work:
            assert define.edit_experiment(work, "default", "rate-display", changes, revision=2).revision == 2


def test_an_edit_of_an_outdated_revision_is_refused(uow: UnitOfWork) -> None:
    create(uow)
    with uow.begin() as work:
        define.edit_experiment(work, "default", "rate-display", {"name": "First"}, revision=1)
    for revision in (0, 1, 3, 10**30, -1):
        with pytest.raises(PreconditionFailed, match="revision 2"), uow.begin() as work:
            define.edit_experiment(work, "default", "rate-display", {"name": "Second"}, revision=revision)
    with uow.reading() as work:
        assert work.experiments.get("default", "rate-display").definition.name == "First"


@pytest.mark.parametrize("steps", [("start",), ("start", "pause"), ("start", "stop"), ("start", "stop", "archive")])
def test_the_start_freezes_all_but_name_and_hypothesis(uow: UnitOfWork, steps: tuple[live.BareStep, ...]) -> None:
    create(uow, *steps)
    revision = 1 + len(steps)
    changes: dict[str, object] = {"name": "New", "variants": THREE_VARIANTS, "coverage": 0.5}
    with pytest.raises(Conflict, match="froze variants, coverage; name and hypothesis can"), uow.begin() as work:
        define.edit_experiment(work, "default", "rate-display", changes, revision=revision)
    changes = {"name": "New", "hypothesis": "Other"}
    with uow.begin() as work:
        edited = define.edit_experiment(work, "default", "rate-display", changes, revision=revision)
    assert edited.definition == an_experiment(name="New", hypothesis="Other", metrics=(a_metric_use(version=1),))
    assert edited.preregistered


def test_only_drafts_can_be_deleted(uow: UnitOfWork) -> None:
    create(uow, "start")
    with pytest.raises(Conflict, match="running; only drafts"), uow.begin() as work:
        define.delete_experiment(work, "default", "rate-display", revision=2)
    with uow.begin() as work:
        define.create_experiment(work, "default", an_experiment("draft"), now=NOW)
        with pytest.raises(PreconditionFailed):
            define.delete_experiment(work, "default", "draft", revision=2)
        define.delete_experiment(work, "default", "draft", revision=1)
        with pytest.raises(NotFound):
            define.delete_experiment(work, "default", "draft", revision=1)
        assert [experiment.key for experiment in work.experiments.all("default")] == ["rate-display"]


def test_a_metric_is_made_edited_and_deleted(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        made = define.create_metric(work, "default", a_metric("spend", kind="sum"), now=NOW)
        edited = define.edit_metric(work, "default", "spend", {"event": "order", "window": None}, revision=1)
        same = define.edit_metric(work, "default", "spend", {"event": "order"}, revision=2)
        assert work.metrics.get("default", "spend") == edited == same
        define.delete_metric(work, "default", "spend", revision=2)
        assert work.metrics.find("default", "spend") is None
    assert (made.metric, made.revision, made.created_at) == (a_metric("spend", kind="sum"), 1, NOW)
    assert (edited.metric, edited.revision) == (a_metric("spend", kind="sum", event="order", window=None), 2)


def test_wrong_metrics_are_refused_by_field(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        with pytest.raises(InvalidInput, match="denominator: is required"):
            define.create_metric(work, "default", a_metric("share", kind="ratio"), now=NOW)
        with pytest.raises(InvalidInput, match="steps: must be 2 to 10 steps"):
            define.edit_metric(work, "default", "purchase", {"kind": "funnel", "event": ""}, revision=1)
        with pytest.raises(InvalidInput, match="key: cannot be changed"):
            define.edit_metric(work, "default", "purchase", {"key": "other"}, revision=1)
        with pytest.raises(InvalidInput, match="revision: is not a field"):
            define.edit_metric(work, "default", "purchase", {"revision": 7}, revision=1)
        with pytest.raises(AlreadyExists):
            define.create_metric(work, "default", a_metric(), now=NOW)
        with pytest.raises(PreconditionFailed):
            define.edit_metric(work, "default", "purchase", {"name": "x"}, revision=2)
        with pytest.raises(PreconditionFailed):
            define.delete_metric(work, "default", "purchase", revision=2)
        assert work.metrics.get("default", "purchase").metric == a_metric()


def test_a_metric_of_a_draft_can_be_edited_but_not_deleted(uow: UnitOfWork) -> None:
    create(uow)
    with uow.begin() as work:
        assert define.edit_metric(work, "default", "purchase", {"event": "order"}, revision=1).revision == 2
        with pytest.raises(InUse, match="metric of rate-display"):
            define.delete_metric(work, "default", "purchase", revision=2)


@pytest.mark.parametrize("steps", [("start",), ("start", "stop", "archive")])
def test_a_metric_that_has_counted_cannot_change(uow: UnitOfWork, steps: tuple[live.BareStep, ...]) -> None:
    create(uow, *steps)
    with uow.begin() as work:
        with pytest.raises(InUse, match="rate-display, which has started"):
            define.edit_metric(work, "default", "purchase", {"event": "order"}, revision=1)
        with pytest.raises(InUse):
            define.delete_metric(work, "default", "purchase", revision=1)
        assert work.metrics.get("default", "purchase").metric == a_metric()
