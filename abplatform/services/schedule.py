"""Say how often the worker looks at the results of an experiment, while it runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from abplatform.domain.experiment import UNDER_WAY, Experiment
from abplatform.errors import Conflict, InvalidInput
from abplatform.services.revise import claim
from abplatform.storage.session import Work

SHORTEST = timedelta(minutes=5)
LONGEST = timedelta(days=30)
_SPENDS = (
    "must be true: a look at a group_sequential plan is a test once 2% more of the planned units are in, and each test "
    "spends some of alpha; choose a schedule with few of them, and say that you know"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How often to look.

    Attributes:
        every: whole seconds; None for never.
        spends_alpha: says that its author knows what looks at a group sequential plan cost.
    """

    every: timedelta | None
    spends_alpha: bool = False


def schedule_refresh(
    work: Work, project: str, key: str, schedule: Schedule, *, revision: int | None = None
) -> Experiment:
    """Set, change or remove the schedule of an experiment: a part of its state, which no plan freezes.

    The same schedule a second time changes nothing, not even the revision.

    Args:
        revision: the one that the caller has read; None to change whatever is there.

    Raises:
        NotFound: there is no such experiment.
        PreconditionFailed: it has another revision by now.
        Conflict: it has not started, or it is stopped or archived.
        InvalidInput: naming ``every``, or ``spends_alpha`` where looks are tests and nobody has said to know it.
    """
    before = claim(work, work.experiments, project, key, revision=revision)
    if schedule.every is not None:
        _check(before, schedule)
    elif schedule.spends_alpha:
        raise InvalidInput({"spends_alpha": ["says something about a schedule only"]})
    if schedule.every == before.refresh_every:
        return before
    after = replace(before, refresh_every=schedule.every, revision=before.revision + 1)
    work.experiments.save(project, after, expected_revision=before.revision)
    return after


def _check(experiment: Experiment, schedule: Schedule) -> None:
    if experiment.status not in UNDER_WAY:
        why = "has not started" if experiment.status == "draft" else f"is {experiment.status}"
        raise Conflict(f"{experiment.key} {why}; a schedule is for experiments that are running, paused or closed")
    every = schedule.every
    whole = every is not None and SHORTEST <= every <= LONGEST and not every.microseconds
    if not whole:
        raise InvalidInput({"every": ["must be whole seconds from PT5M to P30D, or null for no schedule"]})
    tests = experiment.definition.plan.method == "group_sequential"
    if tests and not schedule.spends_alpha:
        raise InvalidInput({"spends_alpha": [_SPENDS]})
    if schedule.spends_alpha and not tests:
        raise InvalidInput({"spends_alpha": ["belongs to group_sequential plans only; other looks spend nothing"]})
