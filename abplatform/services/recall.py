"""Remember what the events of a project are checked against, for as long as its published version stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from abplatform.domain.checks import KEY
from abplatform.domain.events import BadEvent
from abplatform.domain.experiment import Experiment
from abplatform.services.agree import Place, prepare_holdout, prepare_phase
from abplatform.services.publish import current_version
from abplatform.storage.holdouts import StoredHoldout
from abplatform.storage.session import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the events of a project are checked against.

    Attributes:
        version: of the snapshot; as long as it stays, so do these.
        unit_type: what ``unit_id`` identifies.
        analysed: further unit types whose units experiments or holdouts count.
        started: all experiments that have started, by key.
        holdouts: all holdouts that were there then, by key.
        phases, groups: what exposures came for, ready; filled as they come.
    """

    project: str
    version: int
    unit_type: str
    analysed: frozenset[str]
    started: Mapping[str, Experiment]
    holdouts: Mapping[str, StoredHoldout]
    phases: dict[tuple[str, int | None], Place] = field(default_factory=dict)
    groups: dict[str, Place] = field(default_factory=dict)

    def find_phase(self, work: Work, key: str, phase: int | None) -> Place:
        """A phase of an experiment, to check exposures against; without a number the only one that it has had.

        Raises:
            BadEvent: ``UNKNOWN_EXPERIMENT``, ``NOT_STARTED``, ``EXPERIMENT_ARCHIVED``, ``BAD_PHASE``, or
                ``MISSING_FIELD`` without a number where there were several.
        """
        known = self.phases.get((key, phase))
        if known is not None:
            return known
        experiment = self.started.get(key)
        if experiment is None:
            return prepare_phase(_in_phase(_look_up(work, self.project, key), phase), self.holdouts)
        return self.phases.setdefault((key, phase), prepare_phase(_in_phase(experiment, phase), self.holdouts))

    def find_holdout(self, work: Work, key: str) -> Place:
        """A holdout, to check exposures against; one that has ended too, since clients may be late.

        Raises:
            BadEvent: ``UNKNOWN_HOLDOUT``.
        """
        known = self.groups.get(key)
        if known is not None:
            return known
        stored = self.holdouts.get(key)
        if stored is None:
            # New holdouts are not published before an experiment names them.
            return prepare_holdout(_look_up_holdout(work, self.project, key))
        return self.groups.setdefault(key, prepare_holdout(stored))


class Memory:
    """The rules of each project by published version; one per process."""

    def __init__(self) -> None:
        self._rules: dict[str, Rules] = {}

    def read(self, work: Work, project: str) -> Rules:
        """The rules that hold now.

        Raises:
            NotFound: there is no such project.
        """
        # The version first: what is read after it is at least as new as the version says.
        version = current_version(work, project)
        known = self._rules.get(project)
        if known is None or known.version != version:
            known = self._rules[project] = _read(work, project, version)
        return known


def _read(work: Work, project: str, version: int) -> Rules:
    unit_type = work.projects.get(project).unit_type
    started = {one.key: one for one in work.experiments.all(project) if one.status != "draft"}
    holdouts = {one.key: one for one in work.holdouts.all(project)}
    counted = {one.definition.unit_type for one in started.values() if _counts_its_units(one)}
    held_out = {one.holdout.unit_type for one in holdouts.values()}
    return Rules(
        project=project,
        version=version,
        unit_type=unit_type,
        analysed=frozenset((counted | held_out) - {unit_type}),
        started=started,
        holdouts=holdouts,
    )


def _counts_its_units(experiment: Experiment) -> bool:
    """Whether the units that it randomises are counted, now or later."""
    return not experiment.definition.clustered and experiment.status != "archived"


def _look_up(work: Work, project: str, key: str) -> Experiment:
    """An experiment that the rules do not know: not there, or a draft."""
    found = work.experiments.find(project, key) if KEY.fullmatch(key) is not None else None
    if found is None:
        raise BadEvent("UNKNOWN_EXPERIMENT", "experiment", "there is no experiment of that key")
    if found.status == "draft":
        raise BadEvent("NOT_STARTED", "experiment", "is a draft: start it first")
    return found


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


def _look_up_holdout(work: Work, project: str, key: str) -> StoredHoldout:
    found = work.holdouts.find(project, key) if KEY.fullmatch(key) is not None else None
    if found is None:
        raise BadEvent("UNKNOWN_HOLDOUT", "holdout", "there is no holdout of that key")
    return found
