"""Layers: made, edited and deleted, but not under those who depend on them."""

from __future__ import annotations

import pytest

from abplatform.domain.experiment import Status
from abplatform.errors import AlreadyExists, InUse, InvalidInput, NotFound, PreconditionFailed
from abplatform.services import arrange, hold_out
from abplatform.storage.session import UnitOfWork
from tests.builders import NOW, a_draft, a_holdout, a_layer, an_experiment


@pytest.fixture
def layered(uow: UnitOfWork) -> UnitOfWork:
    """A project with the layer ``home-page``."""
    with uow.begin() as work:
        arrange.create_layer(work, "default", a_layer(), now=NOW)
    return uow


def put_in(uow: UnitOfWork, status: Status) -> None:
    with uow.begin() as work:
        definition = an_experiment("inside", layer="home-page")
        work.experiments.add("default", a_draft("inside", definition=definition, status=status))


def test_a_layer_is_made_edited_and_deleted(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        made = arrange.create_layer(work, "default", a_layer(), now=NOW)
        other = arrange.create_layer(work, "default", a_layer("other"), now=NOW)
        changes = {"name": "New", "unit_type": "device_id", "description": "d"}
        edited = arrange.edit_layer(work, "default", "home-page", changes, revision=1)
        same = arrange.edit_layer(work, "default", "home-page", {"name": "New"}, revision=2)
        assert work.layers.get("default", "home-page") == edited == same
        arrange.delete_layer(work, "default", "home-page", revision=2)
        assert work.layers.all("default") == (other,)
    assert (made.layer, made.revision, made.created_at) == (a_layer(), 1, NOW)
    assert (edited.layer, edited.revision, edited.salt) == (a_layer(**changes), 2, made.salt)
    assert len({made.salt, other.salt}) == 2
    assert all(len(salt) == 32 and int(salt, 16) >= 0 for salt in (made.salt, other.salt))


def test_wrong_layers_are_refused_by_field(layered: UnitOfWork) -> None:
    with layered.begin() as work:
        for changes in ({"key": "other"}, {"salt": "chosen"}, {"name": ""}, {"unit_type": ""}):
            with pytest.raises(InvalidInput) as refusal:
                arrange.edit_layer(work, "default", "home-page", changes, revision=1)
            assert list(refusal.value.errors) == list(changes)
        with pytest.raises(AlreadyExists):
            arrange.create_layer(work, "default", a_layer(), now=NOW)
        with pytest.raises(NotFound):
            arrange.create_layer(work, "elsewhere", a_layer(), now=NOW)
        with pytest.raises(PreconditionFailed):
            arrange.edit_layer(work, "default", "home-page", {"name": "x"}, revision=2)
        with pytest.raises(PreconditionFailed):
            arrange.delete_layer(work, "default", "home-page", revision=2)
        assert work.layers.get("default", "home-page").layer == a_layer()


@pytest.mark.parametrize("status", ["running", "paused", "closed", "stopped", "archived"])
def test_the_unit_type_stays_once_an_experiment_in_the_layer_has_started(layered: UnitOfWork, status: Status) -> None:
    put_in(layered, status)
    with layered.begin() as work:
        with pytest.raises(InUse, match="inside, which has started"):
            arrange.edit_layer(work, "default", "home-page", {"unit_type": "device_id"}, revision=1)
        edited = arrange.edit_layer(work, "default", "home-page", {"name": "x", "unit_type": "user_id"}, revision=1)
    assert edited.layer == a_layer(name="x")


def test_the_unit_type_may_change_under_a_draft_which_then_cannot_start_as_it_is(layered: UnitOfWork) -> None:
    put_in(layered, "draft")
    with layered.begin() as work:
        edited = arrange.edit_layer(work, "default", "home-page", {"unit_type": "device_id"}, revision=1)
    assert edited.layer.unit_type == "device_id"


@pytest.mark.parametrize("status", ["draft", "running", "stopped", "archived"])
def test_a_layer_that_an_experiment_names_is_not_deleted(layered: UnitOfWork, status: Status) -> None:
    put_in(layered, status)
    with layered.begin() as work, pytest.raises(InUse, match="layer of inside"):
        arrange.delete_layer(work, "default", "home-page", revision=1)


def test_a_layer_that_a_holdout_names_keeps_its_unit_type_and_is_not_deleted(layered: UnitOfWork) -> None:
    with layered.begin() as work:
        hold_out.create_holdout(work, "default", a_holdout(layers=("home-page",)), now=NOW)
        with pytest.raises(InUse, match="holdout q3"):
            arrange.edit_layer(work, "default", "home-page", {"unit_type": "device_id"}, revision=1)
        with pytest.raises(InUse, match="holdout q3"):
            arrange.delete_layer(work, "default", "home-page", revision=1)
        hold_out.delete_holdout(work, "default", "q3", revision=1)
        arrange.delete_layer(work, "default", "home-page", revision=1)
