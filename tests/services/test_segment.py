"""Segments: members change only where no unit moves, and ids of units are never stored."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from abplatform.assignment import unit_digest
from abplatform.domain.experiment import Experiment, PastPhase, Prerequisite, Status
from abplatform.domain.segment import SegmentRequest
from abplatform.errors import AlreadyExists, InUse, InvalidInput, NotFound, PreconditionFailed
from abplatform.services import publish, segment
from abplatform.storage.schema import metadata
from abplatform.storage.session import UnitOfWork, Work
from tests.builders import NOW, a_draft, a_segment_request, an_experiment

TARGETING = {"branch": {"$inGroup": "vip-branches"}}
STAFF = a_segment_request("staff", kind="units", values=None, unit_ids=("u-1", "u-2"))


@pytest.fixture
def segmented(uow: UnitOfWork) -> UnitOfWork:
    """A project with the segments ``vip-branches`` and ``staff``."""
    with uow.begin() as work:
        for request in (a_segment_request(), STAFF):
            segment.create_segment(work, "default", request, now=NOW)
    return uow


def experiment(key: str, status: Status, **definition: Any) -> Experiment:
    return a_draft(key, definition=an_experiment(key, **definition), status=status, slots=((0, 1_000_000),))


def edit(work: Work, key: str = "vip-branches", revision: int = 1, **changes: Any) -> Any:
    return segment.edit_segment(work, "default", key, changes, revision=revision)


def test_a_segment_of_values_is_made_edited_and_deleted(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        made = segment.create_segment(work, "default", a_segment_request(values=("b", 1, "b")), now=NOW)
        edited = edit(work, values=("c", True))
        renamed = edit(work, name="New", revision=2)
        assert edit(work, name="New", kind="values", key="vip-branches", revision=3) == renamed
        assert work.segments.get("default", "vip-branches") == renamed
        segment.delete_segment(work, "default", "vip-branches", revision=3)
        assert work.segments.all("default") == ()
        assert work.snapshots.version("default") == 0, "nobody evaluates by it"
    assert (made.segment.values, made.revision, made.created_at) == (("b", 1), 1, NOW)
    assert (edited.segment.values, edited.salt) == (("c", True), made.salt)
    assert (renamed.segment.values, renamed.segment.name) == (("c", True), "New")


def test_a_segment_of_units_has_digests_under_its_own_salt(segmented: UnitOfWork) -> None:
    with segmented.begin() as work:
        made = work.segments.get("default", "staff")
        twin = segment.create_segment(work, "default", a_segment_request("twin", **_units("u-1", "u-2")), now=NOW)
        renamed = edit(work, "staff", name="New")
        edited = edit(work, "staff", unit_ids=("u-3",), revision=2)
        assert edit(work, "staff", unit_ids=("u-3", "u-3"), revision=3).revision == 3
    assert made.segment.digests == renamed.segment.digests
    assert set(made.segment.digests) == {unit_digest(made.salt, unit) for unit in ("u-1", "u-2")}
    assert edited.segment.digests == (unit_digest(made.salt, "u-3"),)
    assert made.salt == edited.salt != twin.salt
    assert not set(made.segment.digests) & set(twin.segment.digests)


def _units(*unit_ids: str) -> dict[str, Any]:
    return {"kind": "units", "values": None, "unit_ids": unit_ids}


def test_no_id_reaches_the_database(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        secret = a_segment_request("staff", **_units("13800138000", "secret-id"))
        segment.create_segment(work, "default", secret, now=NOW)
        edit(work, "staff", unit_ids=("13900139000",))
        work.experiments.add("default", experiment("e", "stopped", targeting={"user_id": {"$inGroup": "staff"}}))
        publish.publish_snapshot(work, "default")
        connection = work.segments._connection
        rows = [str(row) for table in metadata.sorted_tables for row in connection.execute(sa.select(table))]
    assert any("Staff" in row or "staff" in row for row in rows)
    assert not [row for row in rows for unit in ("13800138000", "secret-id", "13900139000") if unit in row]


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"key": "other"}, {"key"}),
        ({"kind": "units"}, {"kind"}),
        ({"salt": "chosen"}, {"salt"}),
        ({"name": ""}, {"name"}),
        ({"unit_ids": ("u-1",)}, {"unit_ids"}),
        ({"values": ("x", None)}, {"values.1"}),
    ],
)
def test_a_wrong_edit_is_refused_by_field(segmented: UnitOfWork, changes: dict[str, Any], fields: set[str]) -> None:
    with segmented.begin() as work:
        with pytest.raises(InvalidInput) as refusal:
            segment.edit_segment(work, "default", "vip-branches", changes, revision=1)
        assert set(refusal.value.errors) == fields
        assert work.segments.get("default", "vip-branches").revision == 1


def test_taken_keys_and_outdated_revisions_are_refused(segmented: UnitOfWork) -> None:
    with segmented.begin() as work:
        with pytest.raises(AlreadyExists):
            segment.create_segment(work, "default", STAFF, now=NOW)
        with pytest.raises(NotFound):
            segment.create_segment(work, "elsewhere", STAFF, now=NOW)
        with pytest.raises(PreconditionFailed):
            edit(work, name="x", revision=2)
        with pytest.raises(PreconditionFailed):
            segment.delete_segment(work, "default", "staff", revision=2)


@pytest.mark.parametrize("status", ["running", "paused", "closed"])
def test_members_stay_while_an_experiment_that_names_them_is_under_way(segmented: UnitOfWork, status: Status) -> None:
    with segmented.begin() as work:
        work.experiments.add("default", experiment("e", status, targeting=TARGETING))
        with pytest.raises(InUse, match=f"e is {status} .* make another segment and open a new phase"):
            edit(work, values=("SH-2",))
        assert edit(work, name="New", values=("SH-1", 7)).segment.name == "New"
        assert edit(work, "staff", unit_ids=()).segment.count == 0, "another segment"
        assert work.segments.get("default", "vip-branches").segment.values == ("SH-1", 7)


def test_members_stay_while_others_need_an_experiment_that_names_them(segmented: UnitOfWork) -> None:
    """Who gets a variant of the first decides who may enter the third."""
    with segmented.begin() as work:
        work.experiments.add("default", experiment("first", "stopped", targeting={"$not": TARGETING}))
        for key, status, needs in (("second", "stopped", "first"), ("third", "running", "second")):
            prerequisites = (Prerequisite(experiment=needs, variants=("treatment",)),)
            work.experiments.add("default", experiment(key, status, prerequisites=prerequisites))
        with pytest.raises(InUse, match="third is running"):
            edit(work, values=("SH-2",))


def test_new_members_reach_evaluators_where_a_stopped_experiment_names_them(segmented: UnitOfWork) -> None:
    with segmented.begin() as work:
        work.experiments.add("default", experiment("e", "stopped", targeting=TARGETING))
        publish.publish_snapshot(work, "default")
        edit(work, values=("SH-2",))
        snapshot = json.loads(publish.read_snapshot(work, "default").document)
        assert (snapshot["version"], snapshot["groups"]["vip-branches"]) == (2, {"values": ["SH-2"]})
        edit(work, name="New", revision=2)
        assert work.snapshots.version("default") == 2, "a name is not published"


@pytest.mark.parametrize("status", ["draft", "archived"])
def test_members_change_under_drafts_and_archived_experiments_unpublished(
    segmented: UnitOfWork, status: Status
) -> None:
    with segmented.begin() as work:
        work.experiments.add("default", experiment("e", status, targeting=TARGETING))
        assert edit(work, values=("SH-2",)).segment.values == ("SH-2",)
        assert work.snapshots.version("default") == 0


@pytest.mark.parametrize("status", ["draft", "running", "paused", "closed", "stopped"])
def test_a_segment_that_is_named_is_not_deleted(segmented: UnitOfWork, status: Status) -> None:
    with segmented.begin() as work:
        work.experiments.add("default", experiment("e", status, targeting=TARGETING))
        with pytest.raises(InUse, match="e names the segment vip-branches"):
            segment.delete_segment(work, "default", "vip-branches", revision=1)


def test_a_segment_that_an_earlier_phase_names_is_not_deleted(segmented: UnitOfWork) -> None:
    earlier = PastPhase(
        number=1,
        salt="x",
        slots=(),
        started_at=NOW,
        ended_at=NOW,
        variants=an_experiment().variants,
        control="control",
        targeting=TARGETING,
    )
    with segmented.begin() as work:
        work.experiments.add("default", replace(experiment("e", "running"), past_phases=(earlier,), phase=2))
        assert edit(work, values=("SH-2",)).revision == 2, "nobody enters by it any more"
        with pytest.raises(InUse, match="e names the segment vip-branches"):
            segment.delete_segment(work, "default", "vip-branches", revision=2)


def test_a_segment_that_only_archived_experiments_name_is_deleted(segmented: UnitOfWork) -> None:
    with segmented.begin() as work:
        work.experiments.add("default", experiment("e", "archived", targeting=TARGETING))
        segment.delete_segment(work, "default", "vip-branches", revision=1)
        assert work.segments.keys("default") == {"staff"}


def test_requests_are_checked_before_anything_is_read(uow: UnitOfWork) -> None:
    wrong = SegmentRequest(key="x", name="x", kind="units", unit_ids=("u-1", ""))
    with uow.begin() as work, pytest.raises(InvalidInput, match=r"unit_ids\.1"):
        segment.create_segment(work, "elsewhere", wrong, now=NOW)
