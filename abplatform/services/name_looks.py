"""Give names to the states of the lake that looks must be able to go back to: a named state is kept."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from abplatform.domain.events import EventKind
from abplatform.domain.experiment import Experiment
from abplatform.storage.session import UnitOfWork, Work
from abplatform.warehouse.lake import Lake

PREFIX = "look-"


def name_looks(uow: UnitOfWork, lake: Lake, project: str, kind: EventKind, *, first_day: date) -> bool:
    """Let a table have a name for each look that has to be kept, and no others; tells whether any changed.

    Kept are, until the experiment is archived, the looks that decisions rest on and the latest look of the current
    phase, since the next decision rests on that. Names follow from what is stored, so that a crash between a decision
    and its name, or between archiving and its removal, is mended by the next call; a state lasts longer without a name
    than from one round of the worker to the next.

    Args:
        uow: where experiments and looks are kept.
        lake: holds the table.
        project: key of the project.
        kind: which table.
        first_day: of events that may be kept; retention goes before names.

    Raises:
        Unavailable: if a part does not answer, or others kept changing the table.
    """

    def wanted() -> dict[str, int]:
        with uow.reading() as work:
            experiments = work.experiments.looked_at(project)
            return dict(named for each in experiments for named in _names(work, project, each, kind))

    return lake.keep_named(project, kind, PREFIX, wanted, first_day=first_day)


def _names(work: Work, project: str, experiment: Experiment, kind: EventKind) -> Iterator[tuple[str, int]]:
    for phase, look in _kept(work, project, experiment):
        state = work.looks.state(project, experiment.key, phase, look)
        number = None if state is None else state.of(kind)
        if number is not None:
            yield f"{PREFIX}{experiment.key}-{phase}-{look}", number


def _kept(work: Work, project: str, experiment: Experiment) -> set[tuple[int, int]]:
    """Phase and number of the looks to keep."""
    decisions = (*experiment.past_decisions, experiment.decision)
    kept = {
        (decision.phase, decision.look)
        for decision in decisions
        if decision is not None and decision.phase is not None and decision.look is not None
    }
    latest = work.looks.latest_number(project, experiment.key, experiment.phase)
    return kept if latest is None else kept | {(experiment.phase, latest)}
