"""Many at once: what layers, holdouts and segments promise holds whoever else writes (C-4)."""

from __future__ import annotations

from abplatform.domain.holdout import MOST_ACTIVE
from abplatform.errors import AbplatformError, AlreadyExists, Conflict, InUse, InvalidInput, PreconditionFailed
from abplatform.services import arrange, define, hold_out, segment
from abplatform.storage.session import UnitOfWork
from tests.builders import NOW, a_holdout, a_layer, a_segment_request, an_experiment
from tests.services.test_races import MANY, at_once, kinds


def test_of_many_creations_of_one_key_one_wins(uow: UnitOfWork) -> None:
    for create in (
        lambda work: arrange.create_layer(work, "default", a_layer(), now=NOW),
        lambda work: hold_out.create_holdout(work, "default", a_holdout(), now=NOW),
        lambda work: segment.create_segment(work, "default", a_segment_request(), now=NOW),
    ):
        assert kinds(at_once(uow, *[create] * MANY)) == {AlreadyExists: MANY - 1}


def test_of_many_edits_of_one_revision_one_wins(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        segment.create_segment(work, "default", a_segment_request(), now=NOW)
    outcomes = at_once(
        uow,
        *(
            lambda work, number=number: segment.edit_segment(
                work, "default", "vip-branches", {"values": (number,)}, revision=1
            )
            for number in range(MANY)
        ),
    )
    assert kinds(outcomes) == {PreconditionFailed: MANY - 1}


def test_the_last_free_place_of_a_holdout_goes_to_one(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        for number in range(MOST_ACTIVE - 1):
            hold_out.create_holdout(work, "default", a_holdout(f"h-{number}"), now=NOW)
    creations = [
        lambda work, number=number: hold_out.create_holdout(work, "default", a_holdout(f"new-{number}"), now=NOW)
        for number in range(MANY)
    ]
    assert kinds(at_once(uow, *creations)) == {Conflict: MANY - 1}


def test_a_holdout_ends_once(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        hold_out.create_holdout(work, "default", a_holdout(), now=NOW)
    end = [lambda work: hold_out.end_holdout(work, "default", "q3", now=NOW)] * MANY
    assert kinds(at_once(uow, *end)) == {Conflict: MANY - 1}
    with uow.reading() as work:
        assert work.snapshots.version("default") == 2, "made and ended"


def test_a_layer_or_segment_is_not_deleted_under_a_new_experiment(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        arrange.create_layer(work, "default", a_layer(), now=NOW)
        segment.create_segment(work, "default", a_segment_request(), now=NOW)
    definition = an_experiment(layer="home-page", targeting={"branch": {"$inGroup": "vip-branches"}})
    created, *deleted = at_once(
        uow,
        lambda work: define.create_experiment(work, "default", definition, now=NOW),
        lambda work: arrange.delete_layer(work, "default", "home-page", revision=1),
        lambda work: segment.delete_segment(work, "default", "vip-branches", revision=1),
    )
    if isinstance(created, AbplatformError):
        assert isinstance(created, InvalidInput)
        assert None in deleted
    else:
        assert [type(outcome) for outcome in deleted] == [InUse, InUse]
