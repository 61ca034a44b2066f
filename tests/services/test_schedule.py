"""Schedules: whom they are for, how long they are, and what they cost."""

from __future__ import annotations

from datetime import timedelta

import pytest

from abplatform.domain.experiment import Experiment
from abplatform.errors import Conflict, InvalidInput, NotFound, PreconditionFailed
from abplatform.services.schedule import Schedule, schedule_refresh
from abplatform.storage.session import UnitOfWork
from tests.builders import a_plan, an_experiment
from tests.services.lives import WAYS, lead, published, take

DAILY = Schedule(every=timedelta(days=1))
GROUPED = a_plan(method="group_sequential")


def schedule(uow: UnitOfWork, wanted: Schedule, key: str = "rate-display", revision: int | None = None) -> Experiment:
    with uow.begin() as work:
        return schedule_refresh(work, "default", key, wanted, revision=revision)


def test_a_schedule_is_set_changed_and_removed_while_the_experiment_runs(uow: UnitOfWork) -> None:
    before, snapshot = lead(uow, an_experiment(), "start"), published(uow)
    daily = schedule(uow, DAILY)
    assert (daily.refresh_every, daily.revision) == (timedelta(days=1), before.revision + 1)
    assert daily.definition == before.definition
    assert schedule(uow, DAILY).revision == daily.revision, "the same again changes nothing"
    with uow.reading() as work:
        assert work.experiments.scheduled() == (("default", "rate-display", timedelta(days=1)),)
    assert schedule(uow, Schedule(every=None)).refresh_every is None
    with uow.reading() as work:
        assert work.experiments.scheduled() == ()
    assert published(uow) == snapshot, "evaluators need not know"


@pytest.mark.parametrize("status", ["running", "paused", "closed"])
def test_what_is_under_way_may_have_one(uow: UnitOfWork, status: str) -> None:
    lead(uow, an_experiment(), *WAYS[status])
    schedule(uow, DAILY)
    with uow.reading() as work:
        assert len(work.experiments.scheduled()) == 1


@pytest.mark.parametrize("status", ["draft", "stopped", "archived"])
def test_what_is_not_may_not(uow: UnitOfWork, status: str) -> None:
    lead(uow, an_experiment(), *WAYS[status])
    with pytest.raises(Conflict, match="running, paused or closed"):
        schedule(uow, DAILY)
    assert schedule(uow, Schedule(every=None)).refresh_every is None


def test_after_the_stop_nothing_is_due(uow: UnitOfWork) -> None:
    for key in ("rate-display", "other"):
        lead(uow, an_experiment(key), "start")
        schedule(uow, DAILY, key)
    with uow.begin() as work:
        take(work, "rate-display", "stop")
        assert [each.key for each in work.experiments.scheduled()] == ["other"]


@pytest.mark.parametrize(
    "every",
    [
        timedelta(0),
        timedelta(minutes=5, microseconds=-1),
        timedelta(days=30, seconds=1),
        timedelta(hours=1, microseconds=1),
    ],
)
def test_too_short_too_long_or_broken_is_refused(uow: UnitOfWork, every: timedelta) -> None:
    lead(uow, an_experiment(), "start")
    with pytest.raises(InvalidInput, match="every: must be whole seconds from PT5M to P30D"):
        schedule(uow, Schedule(every=every))


@pytest.mark.parametrize("every", [timedelta(minutes=5), timedelta(days=30)])
def test_the_bounds_are_allowed(uow: UnitOfWork, every: timedelta) -> None:
    lead(uow, an_experiment(), "start")
    assert schedule(uow, Schedule(every=every)).refresh_every == every


def test_where_looks_are_tests_somebody_has_to_say_so(uow: UnitOfWork) -> None:
    lead(uow, an_experiment(plan=GROUPED), "start")
    with pytest.raises(InvalidInput, match=r"spends_alpha: must be true.*spends some of alpha"):
        schedule(uow, DAILY)
    assert schedule(uow, Schedule(every=timedelta(days=7), spends_alpha=True)).refresh_every == timedelta(days=7)
    with pytest.raises(InvalidInput, match="spends_alpha"):
        schedule(uow, Schedule(every=None, spends_alpha=True))


@pytest.mark.parametrize("method", ["sequential", "fixed", "bayesian"])
def test_elsewhere_it_means_nothing(uow: UnitOfWork, method: str) -> None:
    extra = {"loss_threshold": 0.01, "minimum_units": 100} if method == "bayesian" else {}
    lead(uow, an_experiment(plan=a_plan(method=method, **extra)), "start")
    with pytest.raises(InvalidInput, match="group_sequential plans only"):
        schedule(uow, Schedule(every=timedelta(days=1), spends_alpha=True))


def test_an_outdated_revision_or_an_unknown_experiment_is_refused(uow: UnitOfWork) -> None:
    revision = lead(uow, an_experiment(), "start").revision
    with pytest.raises(PreconditionFailed):
        schedule(uow, DAILY, revision=revision - 1)
    with pytest.raises(NotFound):
        schedule(uow, DAILY, "nothing")
