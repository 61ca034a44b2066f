"""Repositories on real databases: what goes in comes out, and of several writers one wins."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from abplatform.domain.access import Project
from abplatform.domain.aggregates import LakeState
from abplatform.domain.experiment import Prerequisite, Variant
from abplatform.errors import AlreadyExists, NotFound, PreconditionFailed
from abplatform.storage.keys import StoredKey
from abplatform.storage.looks import Look
from abplatform.storage.metrics import StoredMetric
from abplatform.storage.replies import Reply
from abplatform.storage.session import UnitOfWork, Work
from abplatform.storage.snapshots import PublishedSnapshot
from tests.builders import NOW, a_decision, a_draft, a_key, a_metric, a_past_phase, a_scorecard, an_experiment, later
from tests.domain.aggregations import a_rate, an_aggregation, an_evidence

UNSTORABLE = ["nul\0", "lone \ud800"]


def test_experiments_come_back_equal(uow: UnitOfWork) -> None:
    finished = a_draft(
        "finished",
        status="archived",
        phase=3,
        phase_salt="of phase 3",
        revision=7,
        preregistered=True,
        slots=((0, 100), (300, 1_000_000)),
        past_phases=(
            a_past_phase(1, variants=(Variant(key="对照", weight=0.1, payload={"big": 10**30}), Variant(key="b"))),
            a_past_phase(2, prerequisites=(Prerequisite(experiment="other", variants=("x",)),), coverage=1 / 3),
        ),
        forced={"f" * 64: "对照"},
        holdouts=("q2", "q3"),
        refresh_every=timedelta(hours=6),
        shipped="b",
        decision=a_decision("ship", variant="b", decided_at=later(microseconds=7), phase=3, look=12),
        past_decisions=(a_decision("roll_back"), a_decision("inconclusive")),
        started_at=later(microseconds=1),
        phase_started_at=later(hours=1),
        closed_at=later(hours=2),
        stopped_at=later(days=1),
        archived_at=later(days=2),
    )
    # In no row: it is what `in_phase` says of a past phase.
    unset = {field.name for field in fields(finished) if getattr(finished, field.name) == field.default}
    assert unset == {"phase_ended_at"}
    with uow.begin() as work:
        work.experiments.add("default", finished)
        work.experiments.add("default", a_draft())
    with uow.reading() as work:
        assert work.experiments.get("default", "finished") == finished
        assert work.experiments.all("default") == (finished, a_draft())


def test_save_replaces_state_and_definition(uow: UnitOfWork) -> None:
    changed = a_draft(status="running", phase=2, started_at=NOW, revision=2, definition=an_experiment(name="Other"))
    with uow.begin() as work:
        work.experiments.add("default", a_draft())
        work.experiments.save("default", changed, expected_revision=1)
    with uow.reading() as work:
        assert work.experiments.get("default", "rate-display") == changed


def test_save_of_an_outdated_revision_changes_nothing(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        work.experiments.add("default", a_draft(revision=2))
    with pytest.raises(PreconditionFailed, match="rate-display"), uow.begin() as work:
        work.experiments.save("default", a_draft(revision=2, phase=9), expected_revision=1)
    with pytest.raises(PreconditionFailed), uow.begin() as work:
        work.experiments.remove("default", "rate-display", expected_revision=1)
    with uow.reading() as work:
        assert work.experiments.get("default", "rate-display") == a_draft(revision=2)


def test_removed_experiments_are_gone(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        work.experiments.add("default", a_draft())
        work.experiments.remove("default", "rate-display", expected_revision=1)
        assert work.experiments.find("default", "rate-display") is None
        with pytest.raises(NotFound, match="rate-display"):
            work.experiments.get("default", "rate-display")


def test_a_taken_key_is_refused_and_the_transaction_goes_on(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        work.experiments.add("default", a_draft())
        with pytest.raises(AlreadyExists, match="experiment rate-display exists already"):
            work.experiments.add("default", a_draft(salt="other"))
        work.experiments.add("default", a_draft("second"))
    with uow.reading() as work:
        assert [experiment.salt for experiment in work.experiments.all("default")] == [
            a_draft().salt,
            a_draft("second").salt,
        ]


def test_projects_do_not_see_each_other(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        work.projects.add(Project(key="other", name="Other", unit_type="device_id", created_at=NOW))
        work.experiments.add("default", a_draft())
        work.experiments.add("other", a_draft(salt="another"))
        work.metrics.add("other", StoredMetric(metric=a_metric(), created_at=NOW))
        work.keys.add(StoredKey(key=a_key(project="other"), secret_hash="x"))
    with uow.reading() as work:
        assert work.experiments.get("other", "rate-display").salt == "another"
        assert work.experiments.all("default") == (a_draft(),)
        assert work.metrics.find("default", "purchase") is None
        assert work.keys.all("default") == ()
        assert [project.key for project in work.projects.all()] == ["default", "other"]


def test_a_fact_is_replaced_by_whoever_knows_it(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        assert not work.installation.replace("fact", "unheard of", "a")
        assert work.installation.replace("fact", None, "a")
        assert not work.installation.replace("fact", None, "b")
        assert work.installation.replace("fact", "a", "c")
        assert not work.installation.replace("fact", "a", "d")
        assert work.installation.find("fact") == "c"


def test_ensure_keeps_the_project_that_is_there(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        first = work.projects.get("default")
        assert work.projects.ensure("default", now=later(days=1)) == first
        assert first == Project(key="default", name="Default", unit_type="user_id", created_at=NOW)
        assert work.projects.lock("default") == first
        with pytest.raises(NotFound, match="elsewhere"):
            work.projects.lock("elsewhere")


def test_metrics_are_added_changed_and_removed(uow: UnitOfWork) -> None:
    stored = StoredMetric(metric=a_metric(), created_at=NOW)
    changed = replace(stored, metric=a_metric(event="other"), revision=2)
    with uow.begin() as work:
        work.metrics.add("default", stored)
        with pytest.raises(AlreadyExists, match="metric purchase exists already"):
            work.metrics.add("default", stored)
        assert work.metrics.get("default", "purchase") == stored
        work.metrics.save("default", changed, expected_revision=1)
        assert work.metrics.all("default") == (changed,)
        with pytest.raises(PreconditionFailed):
            work.metrics.save("default", changed, expected_revision=1)
        with pytest.raises(PreconditionFailed):
            work.metrics.remove("default", "purchase", expected_revision=1)
        work.metrics.remove("default", "purchase", expected_revision=2)
        with pytest.raises(NotFound, match="purchase"):
            work.metrics.get("default", "purchase")


def test_keys_are_found_by_id_and_revoked_once(uow: UnitOfWork) -> None:
    stored = StoredKey(key=a_key(), secret_hash="f" * 64)
    with uow.begin() as work:
        work.keys.add(stored)
        work.keys.add(StoredKey(key=a_key("a" * 16, role="admin", created_at=later(hours=-1)), secret_hash="e" * 64))
        assert work.keys.find(stored.key.id) == stored
        work.keys.revoke(stored.key.id, now=later(hours=1))
        work.keys.revoke(stored.key.id, now=later(hours=2))
        assert work.keys.get(stored.key.id).key == a_key(revoked_at=later(hours=1))
        assert [key.id for key in work.keys.all("default")] == ["a" * 16, stored.key.id]
        assert [key.id for key in work.keys.all("default", role="admin")] == ["a" * 16]


@pytest.mark.parametrize("name", UNSTORABLE)
def test_names_that_no_database_can_hold_are_just_not_there(uow: UnitOfWork, name: str) -> None:
    with uow.reading() as work:
        assert work.experiments.find("default", name) is None
        assert work.metrics.find("default", name) is None
        assert work.keys.find(name) is None


def test_snapshot_versions_follow_each_other(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        assert work.snapshots.find("default") is None
        assert work.snapshots.version("default") == 0
        for version in (1, 2):
            published = PublishedSnapshot(version=version, document=b'{"version":%d}' % version, etag=str(version))
            work.snapshots.publish("default", published)
            assert work.snapshots.find("default") == published
        for version in (1, 2, 4):
            with pytest.raises(ValueError, match="does not follow 2"):
                work.snapshots.publish("default", PublishedSnapshot(version=version, document=b"", etag=""))


def test_looks_are_numbered_and_kept_as_they_were(uow: UnitOfWork) -> None:
    clustered = a_rate("control", 10, 1, slice="web", before_c=-0.1, clusters=3, cluster_c_yd=5e-324)
    found = an_aggregation(clustered, unknown_variants={"x": 1}, data_through=later(days=-1), earlier_phase_units=0)
    metric = a_metric(where={"product": ["a", 1, 1.5, True]}, cuped_lookback=timedelta(days=1))
    evidence = an_evidence(
        found, metrics=(metric,), as_of=later(microseconds=1), state=LakeState(exposures=2**63 - 1, conversions=None)
    )
    old = a_scorecard(look=1)
    new = a_scorecard(look=2, computed_at=later(days=1), cut_off=evidence.cut_off)
    with uow.begin() as work:
        work.experiments.add("default", a_draft())
        assert work.looks.latest("default", "rate-display", 1) is None
        work.looks.append("default", "rate-display", 1, Look(old, "first", None))
        work.looks.append("default", "rate-display", 1, Look(new, "second", evidence))
        work.looks.append("default", "rate-display", 2, Look(a_scorecard(look=1, phase=2), "first", None))
    with uow.reading() as work:
        assert work.looks.history("default", "rate-display", 1) == (old, new)
        assert work.looks.latest("default", "rate-display", 1) == (new, "second", evidence)
        assert work.looks.get("default", "rate-display", 1, 1) == (old, "first", None)
        assert work.looks.state("default", "rate-display", 1, 2) == evidence.request.state
        assert work.looks.latest_number("default", "rate-display", 1) == 2
        assert work.looks.history("default", "rate-display", 3) == ()
        assert work.looks.latest_number("default", "rate-display", 3) is None
        assert work.looks.state("default", "rate-display", 1, 3) is None
        with pytest.raises(NotFound, match="the looks 1 to 2 in phase 1; there is no look 3"):
            work.looks.get("default", "rate-display", 1, 3)
        with pytest.raises(NotFound, match="no look in phase 3"):
            work.looks.get("default", "rate-display", 3, 1)


@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_look_that_does_not_build_on_the_latest_one_is_refused(uow: UnitOfWork, number: int) -> None:
    with uow.begin() as work:
        work.experiments.add("default", a_draft())
        work.looks.append("default", "rate-display", 1, Look(a_scorecard(look=1), "first", None))
        with pytest.raises(AlreadyExists):
            work.looks.append("default", "rate-display", 1, Look(a_scorecard(look=number), "other", None))
        assert len(work.looks.history("default", "rate-display", 1)) == 1


def test_looks_belong_to_an_experiment(uow: UnitOfWork) -> None:
    with pytest.raises(NotFound, match="rate-display"), uow.begin() as work:
        work.looks.append("default", "rate-display", 1, Look(a_scorecard(), "first", None))


def test_replies_are_remembered_and_forgotten(uow: UnitOfWork) -> None:
    reply = Reply(request_hash="a" * 64, status=201, headers={"ETag": '"1"'}, body=b'{"key":"x"}', created_at=NOW)
    with uow.begin() as work:
        work.replies.add("default", "key-1", "POST /experiments", reply)
        assert work.replies.find("default", "key-1", "POST /experiments") == reply
        assert work.replies.find("default", "key-1", "POST /metrics") is None
        with pytest.raises(AlreadyExists):
            work.replies.add("default", "key-1", "POST /experiments", reply)
        assert work.replies.forget(before=NOW) == 0
        assert work.replies.forget(before=later(seconds=1)) == 1
        assert work.replies.find("default", "key-1", "POST /experiments") is None


def test_an_exception_rolls_everything_back(uow: UnitOfWork) -> None:
    def fail(work: Work) -> None:
        work.experiments.add("default", a_draft())
        raise RuntimeError("in between")

    with pytest.raises(RuntimeError), uow.begin() as work:
        fail(work)
    with uow.begin() as work:
        assert work.experiments.all("default") == ()


def test_rows_need_their_project(uow: UnitOfWork) -> None:
    with pytest.raises(sa.exc.IntegrityError), uow.begin() as work:
        work.experiments.add("elsewhere", a_draft())
