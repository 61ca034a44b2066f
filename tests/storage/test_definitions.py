"""The repositories of definitions, kind by kind: what goes in comes out, and of several writers one wins."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from abplatform.domain.access import Project
from abplatform.domain.behaviour import MoneyBins
from abplatform.errors import AlreadyExists, InvalidInput, NotFound, PreconditionFailed
from abplatform.storage.behaviours import StoredBehaviour
from abplatform.storage.definitions import Definitions
from abplatform.storage.holdouts import StoredHoldout
from abplatform.storage.layers import StoredLayer
from abplatform.storage.metrics import StoredMetric
from abplatform.storage.segments import SegmentOutline, StoredSegment
from abplatform.storage.session import UnitOfWork, Work
from tests.builders import NOW, a_behaviour, a_holdout, a_layer, a_metric, a_segment, a_segment_of_units, later

# Repository, one of its kind, and the same after every change that an edit can bring.
KINDS: dict[str, tuple[Any, Any]] = {
    "metrics": (
        StoredMetric(metric=a_metric("one"), created_at=NOW),
        StoredMetric(
            metric=a_metric("one", event="other", window=None),
            created_at=NOW,
            revision=2,
            version=2,
            version_created_at=later(microseconds=1),
        ),
    ),
    "behaviours": (
        StoredBehaviour(behaviour=a_behaviour("one"), as_of=NOW, created_at=NOW),
        StoredBehaviour(
            behaviour=a_behaviour("one", money=MoneyBins(quantiles=2, edges=(Decimal("0.000001"),))),
            as_of=later(microseconds=1),
            created_at=NOW,
            revision=2,
            version=2,
        ),
    ),
    "layers": (
        StoredLayer(layer=a_layer("one"), salt="abc", created_at=NOW),
        StoredLayer(
            layer=a_layer("one", name="首页", unit_type="device_id", description="all of it"),
            salt="abc",
            created_at=NOW,
            revision=2,
        ),
    ),
    "holdouts": (
        StoredHoldout(holdout=a_holdout("one", share=1 / 3), salt="abc", created_at=NOW),
        StoredHoldout(
            holdout=a_holdout("one", name="Other", share=1 / 3, layers=("a", "b")),
            salt="abc",
            created_at=NOW,
            ended_at=later(microseconds=1),
            revision=2,
        ),
    ),
    "segments": (
        StoredSegment(segment=a_segment("one"), salt="abc", created_at=NOW),
        StoredSegment(
            segment=a_segment("one", name="Other", values=("é", 10**60, 0.1, True, 1, "1")),
            salt="abc",
            created_at=NOW,
            revision=2,
        ),
    ),
    "segments of units": (
        StoredSegment(segment=a_segment_of_units("one"), salt="abc", created_at=NOW),
        StoredSegment(segment=a_segment_of_units("one", "u-7"), salt="abc", created_at=NOW, revision=2),
    ),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of definition in turn."""
    name: str = request.param
    return name


def repository(work: Work, kind: str) -> Definitions[Any]:
    found: Definitions[Any] = getattr(work, kind.partition(" ")[0])
    return found


def test_definitions_are_added_changed_and_removed(uow: UnitOfWork, kind: str) -> None:
    stored, changed = KINDS[kind]
    with uow.begin() as work:
        kept = repository(work, kind)
        kept.add("default", stored)
        with pytest.raises(AlreadyExists, match=f"{kept.noun} one exists already"):
            kept.add("default", stored)
        assert kept.get("default", "one") == stored
        kept.save("default", changed, expected_revision=1)
        assert kept.all("default") == (changed,)
        with pytest.raises(PreconditionFailed, match=f"{kept.noun} one"):
            kept.save("default", changed, expected_revision=1)
        with pytest.raises(PreconditionFailed):
            kept.remove("default", "one", expected_revision=1)
        kept.remove("default", "one", expected_revision=2)
        assert kept.find("default", "one") is None
        with pytest.raises(NotFound, match=f"no {kept.noun} 'one'"):
            kept.get("default", "one")


def test_an_edit_keeps_salt_and_time_of_creation(uow: UnitOfWork, kind: str) -> None:
    stored, changed = KINDS[kind]
    other = {"created_at": later(days=1)} | ({"salt": "other"} if hasattr(stored, "salt") else {})
    with uow.begin() as work:
        kept = repository(work, kind)
        kept.add("default", stored)
        kept.save("default", replace(changed, **other), expected_revision=1)
        assert kept.get("default", "one") == changed


def test_projects_do_not_see_each_other(uow: UnitOfWork, kind: str) -> None:
    stored, changed = KINDS[kind]
    with uow.begin() as work:
        work.projects.add(Project(key="other", name="Other", created_at=NOW))
        kept = repository(work, kind)
        kept.add("other", changed)
        assert (kept.find("default", "one"), kept.all("default")) == (None, ())
        kept.add("default", stored)
        kept.remove("default", "one", expected_revision=1)
        assert kept.all("other") == (changed,)
        assert kept.page("default", limit=10, cursor=None).items == ()


def test_names_that_no_database_can_hold_are_just_not_there(uow: UnitOfWork, kind: str) -> None:
    with uow.reading() as work:
        for name in ("nul\0", "lone \ud800"):
            assert repository(work, kind).find("default", name) is None


def test_rows_need_their_project(uow: UnitOfWork, kind: str) -> None:
    with pytest.raises(sa.exc.IntegrityError), uow.begin() as work:
        repository(work, kind).add("elsewhere", KINDS[kind][0])


def test_segments_are_listed_without_their_members(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        for number, segment in enumerate((a_segment("a"), a_segment_of_units("b"), a_segment("c", values=()))):
            created_at = later(seconds=number)
            work.segments.add("default", StoredSegment(segment=segment, salt="abc", created_at=created_at))
        first = work.segments.outlines("default", limit=2, cursor=None)
        rest = work.segments.outlines("default", limit=2, cursor=first.next_cursor)
        assert work.segments.outlines("elsewhere", limit=2, cursor=None).items == ()
        with pytest.raises(InvalidInput, match="cursor"):
            work.segments.outlines("default", limit=2, cursor="x")
    assert first.items[1] == SegmentOutline(
        key="b", name="Staff", kind="units", count=2, created_at=later(seconds=1), revision=1
    )
    assert [(each.key, each.count) for each in (*first.items, *rest.items)] == [("c", 0), ("b", 2), ("a", 2)]
    assert rest.next_cursor is None


def test_keys_of_segments_are_those_of_the_project(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        assert work.segments.keys("default") == frozenset()
        for key in ("a", "b"):
            work.segments.add("default", StoredSegment(segment=a_segment(key), salt="abc", created_at=NOW))
        assert work.segments.keys("default") == {"a", "b"}
        assert work.segments.keys("elsewhere") == frozenset()
