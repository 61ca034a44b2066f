"""Holdouts: whom they hold out is fixed when they are made, and they end for good."""

from __future__ import annotations

import json
from typing import Any

import pytest

from abplatform.domain.experiment import Status
from abplatform.domain.holdout import MOST_ACTIVE
from abplatform.errors import AlreadyExists, Conflict, InUse, InvalidInput, NotFound, PreconditionFailed
from abplatform.services import arrange, hold_out, publish
from abplatform.storage.session import UnitOfWork, Work
from tests.builders import NOW, a_draft, a_holdout, a_layer, later


def create(work: Work, key: str = "q3", **changes: Any) -> None:
    hold_out.create_holdout(work, "default", a_holdout(key, **changes), now=NOW)


def published(work: Work) -> dict[str, Any]:
    snapshot: dict[str, Any] = json.loads(publish.read_snapshot(work, "default").document)
    return snapshot


def test_a_holdout_is_made_renamed_and_deleted(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        made = hold_out.create_holdout(work, "default", a_holdout(), now=NOW)
        assert publish.current_version(work, "default") == 1
        other = hold_out.create_holdout(work, "default", a_holdout("other"), now=NOW)
        whole = {"key": "q3", "name": "New", "share": 0.05, "unit_type": "user_id", "layers": None}
        edited = hold_out.edit_holdout(work, "default", "q3", whole, revision=1)
        assert hold_out.edit_holdout(work, "default", "q3", {"share": 0.05}, revision=2) == edited
        assert work.holdouts.get("default", "q3") == edited
        assert publish.current_version(work, "default") == 2, "a name is nothing that evaluators see"
        hold_out.delete_holdout(work, "default", "q3", revision=2)
        assert publish.current_version(work, "default") == 3
        assert work.holdouts.all("default") == (other,)
    assert (made.holdout, made.revision, made.created_at, made.ended_at) == (a_holdout(), 1, NOW, None)
    assert (edited.holdout, edited.revision, edited.salt) == (a_holdout(name="New"), 2, made.salt)
    assert len({made.salt, other.salt}) == 2
    assert len(made.salt) == 32


def test_all_but_the_name_is_fixed(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        arrange.create_layer(work, "default", a_layer(), now=NOW)
        create(work)
        fixed = {"share": 0.1, "unit_type": "device_id", "layers": ("home-page",)}
        with pytest.raises(InvalidInput, match="would move in or out") as refusal:
            hold_out.edit_holdout(work, "default", "q3", {**fixed, "name": "New"}, revision=1)
        assert set(refusal.value.errors) == set(fixed)
        for changes in ({"key": "other"}, {"ended_at": NOW}, {"name": ""}):
            with pytest.raises(InvalidInput) as refusal:
                hold_out.edit_holdout(work, "default", "q3", changes, revision=1)
            assert list(refusal.value.errors) == list(changes)
        with pytest.raises(PreconditionFailed):
            hold_out.edit_holdout(work, "default", "q3", {"name": "x"}, revision=2)
        assert work.holdouts.get("default", "q3").holdout == a_holdout()


def test_its_layers_must_exist_in_the_project_and_randomise_the_same(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        arrange.create_layer(work, "default", a_layer(unit_type="device_id"), now=NOW)
        for layers, path in ((("home-page",), "layers.0"), (("nothing",), "layers.0"), ((), "layers")):
            with pytest.raises(InvalidInput) as refusal:
                create(work, layers=layers)
            assert list(refusal.value.errors) == [path]
        create(work, layers=("home-page",), unit_type="device_id")
        with pytest.raises(AlreadyExists):
            create(work)
        with pytest.raises(NotFound):
            hold_out.create_holdout(work, "elsewhere", a_holdout(), now=NOW)


def test_a_holdout_ends_once_and_is_out_of_the_snapshot_at_once(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        create(work)
        covered = a_draft(status="running", slots=((0, 1_000_000),), holdouts=("q3",), started_at=NOW)
        work.experiments.add("default", covered)
        publish.publish_snapshot(work, "default")
        before = published(work)
        assert before["holdouts"]["q3"]["range"] == [0, 50_000]
        assert before["experiments"]["rate-display"]["holdouts"] == ["q3"]
        with pytest.raises(PreconditionFailed):
            hold_out.end_holdout(work, "default", "q3", now=NOW, revision=2)
        ended = hold_out.end_holdout(work, "default", "q3", now=later(days=1), revision=1)
        assert work.holdouts.get("default", "q3") == ended
        assert (ended.ended_at, ended.revision) == (later(days=1), 2)
        after = published(work)
        assert after["version"] == before["version"] + 1
        assert "holdouts" not in after
        assert not after["experiments"]["rate-display"].get("holdouts")
        with pytest.raises(Conflict, match="ended already"):
            hold_out.end_holdout(work, "default", "q3", now=later(days=2))
        with pytest.raises(NotFound):
            hold_out.end_holdout(work, "default", "nothing", now=NOW)
        assert hold_out.edit_holdout(work, "default", "q3", {"name": "Late"}, revision=2).ended_at == later(days=1)


@pytest.mark.parametrize("status", ["running", "stopped", "archived"])
def test_a_holdout_under_which_an_experiment_has_started_is_not_deleted(uow: UnitOfWork, status: Status) -> None:
    with uow.begin() as work:
        create(work)
        work.experiments.add("default", a_draft(status=status, holdouts=("q3",), started_at=NOW))
        for revision in (1, 2):
            with pytest.raises(InUse, match="rate-display has started under the holdout q3"):
                hold_out.delete_holdout(work, "default", "q3", revision=revision)
            if revision == 1:
                hold_out.end_holdout(work, "default", "q3", now=NOW)
        with pytest.raises(PreconditionFailed):
            hold_out.delete_holdout(work, "default", "q3", revision=1)


def test_at_most_twenty_are_active(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        for number in range(MOST_ACTIVE):
            create(work, f"h-{number}")
        with pytest.raises(Conflict, match="end one first"):
            create(work, "one-more")
        with pytest.raises(AlreadyExists):
            create(work, "h-7")
        hold_out.end_holdout(work, "default", "h-7", now=NOW)
        create(work, "one-more")
