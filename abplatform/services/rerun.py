"""Compute a look again from what it was computed from, and compare."""

from __future__ import annotations

from dataclasses import dataclass

from abplatform.domain.evidence import Evidence
from abplatform.domain.phase import choose_phase
from abplatform.domain.reproduction import Reproduced, compare
from abplatform.errors import NotAnalysable, SnapshotExpired
from abplatform.services.aggregate import Answering, ask
from abplatform.storage.session import UnitOfWork
from abplatform.warehouse.lake import Lake


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerun:
    """A look, and what came out when it was computed again.

    Attributes:
        experiment, phase, look: which look.
        was, now: what was asked and answered then, and what is answered now.
        numbers: all numbers of both.
    """

    experiment: str
    phase: int
    look: int
    was: Evidence
    now: Evidence
    numbers: tuple[Reproduced, ...]

    @property
    def agrees(self) -> bool:
        """Whether all numbers that the look recorded agree."""
        return all(number.agrees is not False for number in self.numbers)


def rerun(
    uow: UnitOfWork, engine: Answering, lake: Lake, project: str, key: str, *, look: int, phase: int | None = None
) -> Rerun:
    """Compute a look again: the same request, of the same state of the lake, with the time and the metrics of then.

    Args:
        uow: where looks are kept.
        engine: any; it need not be the one that the look was computed with.
        lake: holds the events.
        project: key of the project.
        key: key of the experiment.
        look: its number within the phase.
        phase: the current one by default.

    Raises:
        NotFound: there is no such experiment, or no such look.
        InvalidInput: naming ``phase``, if it never had one of that number.
        NotAnalysable: the look is from before it was kept what looks are computed from.
        SnapshotExpired: the state of the lake is no longer kept.
        Unavailable: the lake or the engine does not answer.
    """
    with uow.reading() as work:
        number = choose_phase(work.experiments.get(project, key), phase).phase
        was = work.looks.get(project, key, number, look).evidence
    if was is None:
        raise NotAnalysable(
            f"look {look} of {key} is from a version that did not record what looks are computed from; "
            "its numbers stand as they were, and cannot be computed again"
        )
    try:
        now = ask(engine, lake, was.request)
    except SnapshotExpired as error:
        raise SnapshotExpired(
            f"look {look} of phase {number} of {key} cannot be computed again: {error.detail}. Kept are the states of "
            "the latest look, and of looks behind a decision until the experiment is archived, unless their events "
            "were deleted. What the look found stands as it was recorded; "
            f"for what is there now, run: abplatform readout {key}"
        ) from None
    numbers = compare(was.aggregation, now.aggregation)
    return Rerun(experiment=key, phase=number, look=look, was=was, now=now, numbers=numbers)
