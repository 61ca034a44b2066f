"""A metric that experiments are judged by changes in versions only; each experiment keeps the one of its start."""

from __future__ import annotations

from dataclasses import replace

import pytest

from abplatform.domain.experiment import Amount, Pin, pin_metrics
from abplatform.errors import Conflict, InUse, InvalidInput, NotFound, PreconditionFailed
from abplatform.services import define
from abplatform.services.choose import Question, choose
from abplatform.services.fingerprint import fingerprint
from abplatform.services.make_version import MOST_VERSIONS, make_version
from abplatform.storage.metrics import StoredMetric
from abplatform.storage.session import UnitOfWork, Work
from tests.builders import NOW, a_draft, a_metric, a_metric_use, an_experiment, later
from tests.domain.aggregations import an_aggregation
from tests.services.lives import lead, take


def next_version(work: Work, revision: int = 1, **changes: object) -> StoredMetric:
    return make_version(work, "default", "purchase", changes, revision=revision, now=later(days=revision))


def judged_by(uow: UnitOfWork, key: str) -> list[str]:
    return [metric.event for metric in choose(uow, "default", key, Question()).metrics]


def test_a_version_follows_and_the_earlier_one_stays_as_it_was(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        second = next_version(work, event="order")
        third = next_version(work, revision=2, name="Third")
    first = StoredMetric(metric=a_metric(), created_at=NOW)
    assert second == StoredMetric(
        metric=a_metric(event="order"), created_at=NOW, revision=2, version=2, version_created_at=later(days=1)
    )
    assert third.metric == a_metric(event="order", name="Third")
    with uow.reading() as work:
        assert work.metrics.versions("default", "purchase") == (third, second, first)
        assert [work.metrics.get_version("default", "purchase", number) for number in (1, 2, 3)] == [
            first,
            second,
            third,
        ]
        assert work.metrics.all("default") == (third,)
        for number in (0, 4, -1, 10**30):
            with pytest.raises(NotFound, match="it has had the versions 1 to 3"):
                work.metrics.get_version("default", "purchase", number)


def test_an_experiment_is_judged_by_the_versions_of_its_start(uow: UnitOfWork) -> None:
    lead(uow, an_experiment("early"), "start")
    lead(uow, an_experiment("draft"))
    with uow.begin() as work:
        next_version(work, event="order")
        take(work, "draft", "start")
    assert (judged_by(uow, "early"), judged_by(uow, "draft")) == (["purchase"], ["order"])
    with uow.begin() as work:
        later_phase = take(work, "early", "phase", now=later(days=2))
        next_version(work, revision=2, event="third")
    assert later_phase.definition.metrics == (a_metric_use(version=1),)
    assert (judged_by(uow, "early"), judged_by(uow, "draft")) == (["purchase"], ["order"])


def test_an_experiment_from_before_there_were_versions_uses_the_first(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        work.experiments.add("default", a_draft("old", status="running", started_at=NOW))
        with pytest.raises(InUse, match="version 1 of purchase is a metric of old"):
            define.edit_metric(work, "default", "purchase", {"event": "order"}, revision=1)
        next_version(work, event="order")
    assert judged_by(uow, "old") == ["purchase"]
    with uow.begin() as work:
        assert take(work, "old", "phase", now=later(days=3)).definition.metrics == (a_metric_use(version=1),)
    assert judged_by(uow, "old") == ["purchase"]


def test_a_version_that_no_started_experiment_uses_can_be_edited(uow: UnitOfWork) -> None:
    lead(uow, an_experiment(), "start")
    with uow.begin() as work:
        with pytest.raises(InUse, match=r"rate-display, which has started; .*POST /metrics/purchase/versions"):
            define.edit_metric(work, "default", "purchase", {"event": "order"}, revision=1)
        next_version(work, event="order")
        edited = define.edit_metric(work, "default", "purchase", {"event": "paid"}, revision=2)
    assert (edited.version, edited.revision, edited.metric.event) == (2, 3, "paid")
    lead(uow, an_experiment("second"), "start")
    with uow.begin() as work, pytest.raises(InUse, match="version 2 of purchase is a metric of second"):
        define.edit_metric(work, "default", "purchase", {"event": "x"}, revision=3)
    assert (judged_by(uow, "rate-display"), judged_by(uow, "second")) == (["purchase"], ["paid"])


def test_a_version_must_change_something_and_be_sound(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        for changes in ({}, {"event": "purchase", "key": "purchase"}):
            with pytest.raises(InvalidInput, match="must change something: version 1 of purchase says the same"):
                next_version(work, **changes)
        with pytest.raises(InvalidInput, match="event: is required"):
            next_version(work, event="")
        with pytest.raises(InvalidInput, match="key: cannot be changed"):
            next_version(work, key="other")
        with pytest.raises(PreconditionFailed):
            next_version(work, revision=7, event="order")
        with pytest.raises(NotFound):
            make_version(work, "default", "missing", {"event": "x"}, revision=1, now=NOW)
        assert len(work.metrics.versions("default", "purchase")) == 1


def test_there_is_a_most_of_versions(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        stored = work.metrics.get("default", "purchase")
        work.metrics.save("default", replace(stored, version=MOST_VERSIONS), expected_revision=1)
        with pytest.raises(Conflict, match="purchase has had 100 versions, the most there may be"):
            next_version(work, event="order")


def test_deleting_a_metric_deletes_its_versions(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        next_version(work, event="order")
        define.delete_metric(work, "default", "purchase", revision=2)
        define.create_metric(work, "default", a_metric(), now=NOW)
        assert [stored.version for stored in work.metrics.versions("default", "purchase")] == [1]


def test_a_version_is_set_by_the_start_alone(uow: UnitOfWork) -> None:
    pinned = (a_metric_use(version=1),)
    with uow.begin() as work:
        with pytest.raises(InvalidInput, match=r"metrics\.0\.version: is set by the start"):
            define.create_experiment(work, "default", an_experiment(metrics=pinned), now=NOW)
        define.create_experiment(work, "default", an_experiment(), now=NOW)
        with pytest.raises(InvalidInput, match=r"metrics\.0\.version: is set by the start"):
            define.edit_experiment(work, "default", "rate-display", {"metrics": pinned}, revision=1)
        take(work, "rate-display", "start")
        for same in (pinned, (a_metric_use(),)):
            kept = define.edit_experiment(work, "default", "rate-display", {"metrics": same}, revision=2)
            assert (kept.revision, kept.definition.metrics) == (2, pinned)
        other = {"metrics": (a_metric_use(version=2),)}
        with pytest.raises(Conflict, match="froze metrics"):
            define.edit_experiment(work, "default", "rate-display", other, revision=2)


def test_a_phase_is_checked_with_the_pinned_versions(uow: UnitOfWork) -> None:
    """A rise to the double is a margin for what should be rare, and none for what should be common."""
    twice = Amount(relative=1.0)
    guardrail = a_metric_use("complaint", role="guardrail", mde=None, non_inferiority_margin=twice)
    with uow.begin() as work:
        define.create_metric(work, "default", a_metric("complaint", direction="decrease"), now=NOW)
    lead(uow, an_experiment(metrics=(a_metric_use(), guardrail)), "start")
    with uow.begin() as work:
        make_version(work, "default", "complaint", {"direction": "increase"}, revision=1, now=NOW)
        assert take(work, "rate-display", "phase", now=later(days=1)).phase == 2
        new = an_experiment("new", metrics=(a_metric_use(), guardrail))
        with pytest.raises(InvalidInput, match=r"metrics\.1\.non_inferiority_margin: must be below 1"):
            define.create_experiment(work, "default", new, now=NOW)


def test_versions_are_not_in_the_names_of_looks(uow: UnitOfWork) -> None:
    """Looks from before there were versions are known again after the upgrade, and after a pin."""
    draft = a_draft(status="running", started_at=NOW)
    pinned = replace(draft, definition=pin_metrics(draft.definition, {"purchase": Pin(version=1)}))
    names = {fingerprint(each, [a_metric()], an_aggregation()) for each in (draft, pinned)}
    assert len(names) == 1


def test_an_outcome_is_another_metric_of_the_project_and_leads_to_an_end(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        with pytest.raises(InvalidInput, match="outcome: there is no metric 'purchas'; did you mean 'purchase'"):
            define.create_metric(work, "default", a_metric("early", outcome="purchas"), now=NOW)
        define.create_metric(work, "default", a_metric("early", outcome="purchase"), now=NOW)
        define.create_metric(work, "default", a_metric("earlier", outcome="early"), now=NOW)
        with pytest.raises(InvalidInput, match="outcome: must be another metric"):
            define.edit_metric(work, "default", "early", {"outcome": "early"}, revision=1)
        circle = "outcome: leads back to itself: purchase -> earlier -> early -> purchase"
        with pytest.raises(InvalidInput, match=circle):
            define.edit_metric(work, "default", "purchase", {"outcome": "earlier"}, revision=1)
        with pytest.raises(InvalidInput, match=circle):
            next_version(work, outcome="earlier")


def test_a_metric_that_another_leads_to_cannot_be_deleted(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        define.create_metric(work, "default", a_metric("early", outcome="purchase"), now=NOW)
        with pytest.raises(InUse, match="purchase is the outcome of version 1 of the metric early"):
            define.delete_metric(work, "default", "purchase", revision=1)
        make_version(work, "default", "early", {"outcome": None}, revision=1, now=NOW)
        with pytest.raises(InUse, match="purchase is the outcome of version 1 of the metric early"):
            define.delete_metric(work, "default", "purchase", revision=1)
        define.delete_metric(work, "default", "early", revision=2)
        define.delete_metric(work, "default", "purchase", revision=1)
        assert work.metrics.all("default") == ()
