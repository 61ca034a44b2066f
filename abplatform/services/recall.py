"""Remember what the events of a project are checked against, for as long as its published version stays."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from abplatform.domain.events import BadEvent
from abplatform.domain.experiment import Experiment, Status
from abplatform.domain.suggestions import Suggestions
from abplatform.services.agree import Place, prepare_holdout, prepare_phase
from abplatform.services.publish import current_version
from abplatform.storage.holdouts import StoredHoldout
from abplatform.storage.session import UnitOfWork, Work

TRUSTED_SECONDS = 1.0


class Unpublished:
    """What a project has beyond what is published: read at most once, and only if somebody asks.

    Args:
        uow: where definitions are kept.
        project: key of the project.
        suggestions: of the request, for what is neither there nor published.
    """

    def __init__(self, uow: UnitOfWork, project: str, suggestions: Suggestions | None = None) -> None:
        self._uow = uow
        self._project = project
        self._suggestions = suggestions or Suggestions()

    @cached_property
    def statuses(self) -> Mapping[str, Status]:
        """The status of every experiment, by key."""
        with self._uow.reading() as work:
            return work.experiments.statuses(self._project)

    def suggest(self, key: str, published: Iterable[str]) -> str:
        """The end of a sentence about a key that is not there; drafts are not suggested: products do not see them."""
        return self._suggestions.suggest(key, published)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the events of a project are checked against.

    Attributes:
        version: of the snapshot; as long as it stays, so do these.
        unit_type: what ``unit_id`` identifies.
        analysed: further unit types whose units experiments or holdouts count.
        started: all experiments that have started, by key.
        holdouts: all holdouts by key, those that have ended too.
        phases, groups: what exposures came for, ready; filled as they come.
    """

    version: int
    unit_type: str
    analysed: frozenset[str]
    started: Mapping[str, Experiment]
    holdouts: Mapping[str, StoredHoldout]
    phases: dict[tuple[str, int | None], Place] = field(default_factory=dict)
    groups: dict[str, Place] = field(default_factory=dict)

    def find(
        self, experiment: str | None, phase: int | None, holdout: str | None, unpublished: Unpublished | None = None
    ) -> Place:
        """What an exposure is to: a holdout, or a phase of an experiment.

        Raises:
            BadEvent: as `find_phase` or `find_holdout`.
        """
        if holdout is None:
            return self.find_phase(experiment or "", phase, unpublished)
        return self.find_holdout(holdout, unpublished)

    def find_phase(self, key: str, phase: int | None, unpublished: Unpublished | None) -> Place:
        """A phase of an experiment, to check exposures against; without a number the only one that it has had.

        Args:
            key: of the experiment.
            phase: its number.
            unpublished: tells what else there is; None asks for nothing beyond these rules.

        Raises:
            BadEvent: ``UNKNOWN_EXPERIMENT``, ``NOT_STARTED``, ``EXPERIMENT_ARCHIVED``, ``BAD_PHASE``, or
                ``MISSING_FIELD`` without a number where there were several.
        """
        known = self.phases.get((key, phase))
        if known is not None:
            return known
        experiment = self.started.get(key)
        if experiment is None:
            raise self._unknown(key, unpublished)
        return self.phases.setdefault((key, phase), prepare_phase(_in_phase(experiment, phase), self.holdouts))

    def find_holdout(self, key: str, unpublished: Unpublished | None) -> Place:
        """A holdout, to check exposures against; one that has ended too, since clients may be late.

        Args:
            key: of the holdout.
            unpublished: of the request, for suggestions; None for none.

        Raises:
            BadEvent: ``UNKNOWN_HOLDOUT``.
        """
        known = self.groups.get(key)
        if known is not None:
            return known
        stored = self.holdouts.get(key)
        if stored is None:
            hint = "" if unpublished is None else unpublished.suggest(key, self.holdouts)
            raise BadEvent("UNKNOWN_HOLDOUT", "holdout", f"there is no holdout of that key{hint}")
        return self.groups.setdefault(key, prepare_holdout(stored))

    def _unknown(self, key: str, unpublished: Unpublished | None) -> BadEvent:
        """Why these rules do not know an experiment: not there, or a draft."""
        if unpublished is not None and key in unpublished.statuses:
            return BadEvent("NOT_STARTED", "experiment", "is a draft: start it first")
        taking = (each.key for each in self.started.values() if each.status != "archived")
        hint = "" if unpublished is None else unpublished.suggest(key, taking)
        return BadEvent("UNKNOWN_EXPERIMENT", "experiment", f"there is no experiment of that key{hint}")


class Memory:
    """The rules of each project by published version; one per process.

    Args:
        uow: where definitions are kept.
        clock: seconds that never go back.
    """

    def __init__(self, uow: UnitOfWork, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._uow = uow
        self._clock = clock
        self._known: dict[str, tuple[Rules, float]] = {}

    def recall(self, project: str) -> Rules:
        """The rules as they were at most `TRUSTED_SECONDS` ago.

        Definitions only grow while they are in use, so that an event that agrees with older rules agrees with newer
        ones too. What does not agree has to be compared with those that `renew` gives.

        Raises:
            NotFound: there is no such project.
            Unavailable: the database does not answer.
        """
        known = self._known.get(project)
        if known is not None and self._clock() - known[1] < TRUSTED_SECONDS:
            return known[0]
        return self.renew(project)

    def renew(self, project: str) -> Rules:
        """The rules that hold now: the same object if nothing has changed.

        Raises:
            NotFound, Unavailable: as `recall`.
        """
        asked_at = self._clock()
        known = self._known.get(project)
        with self._uow.reading() as work:
            # The version first: what is read after it is at least as new as the version says.
            version = current_version(work, project)
            same = known is not None and known[0].version == version
            rules = known[0] if known is not None and same else _read(work, project, version)
        self._known[project] = rules, asked_at
        return rules


def _read(work: Work, project: str, version: int) -> Rules:
    unit_type = work.projects.get(project).unit_type
    started = {one.key: one for one in work.experiments.all(project) if one.status != "draft"}
    counted = {one.definition.unit_type for one in started.values() if _counts_its_units(one)}
    holdouts = {one.key: one for one in work.holdouts.all(project)}
    held_out = {one.holdout.unit_type for one in holdouts.values()}
    return Rules(
        version=version,
        unit_type=unit_type,
        analysed=frozenset((counted | held_out) - {unit_type}),
        started=started,
        holdouts=holdouts,
    )


def _counts_its_units(experiment: Experiment) -> bool:
    """Whether the units that it randomises are counted, now or later."""
    return not experiment.definition.clustered and experiment.status != "archived"


def _in_phase(experiment: Experiment, phase: int | None) -> Experiment:
    if experiment.status == "archived":
        raise BadEvent("EXPERIMENT_ARCHIVED", "experiment", "is archived; nothing more is counted")
    if phase is None:
        if experiment.phase > 1:
            # Taken for the first one, it would keep its unit out of the phase that it was exposed in.
            raise BadEvent("MISSING_FIELD", "phase", f"is required: the experiment is in phase {experiment.phase}")
        phase = 1
    if not 1 <= phase <= experiment.phase:
        raise BadEvent("BAD_PHASE", "phase", f"the experiment is in phase {experiment.phase}")
    try:
        return experiment.in_phase(phase)
    except ValueError:
        # An older program knew no phases, and kept only the last one.
        raise BadEvent("BAD_PHASE", "phase", "is not known any more") from None
