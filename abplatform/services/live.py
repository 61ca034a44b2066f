"""Lead experiments through their life; each step and the snapshot that shows it are kept together, or neither is.

Every function works under the project's lock and in the caller's transaction: of several callers who take the same
step at once, one succeeds. ``revision`` is the one that the caller has read; None steps from whatever is there.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from abplatform.domain import life
from abplatform.domain.checks import is_number
from abplatform.domain.experiment import OF_A_PHASE, DecisionRecord, Experiment, ExperimentDefinition, Pin
from abplatform.domain.life import TimedStep
from abplatform.domain.prerequisites import dependants, unready
from abplatform.errors import Conflict, InUse, InvalidInput
from abplatform.services.define import check_for_project
from abplatform.services.enrol import append_slots, enrol, lay_slots
from abplatform.services.pin import pin_first, pin_newest
from abplatform.services.publish import publish_snapshot
from abplatform.services.revise import apply_changes, claim
from abplatform.storage.session import Work

NO_CAPS: Mapping[str, Pin] = {}
BareStep = Literal["start"] | TimedStep


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseRequest:
    """What a new phase changes, and why it is opened.

    Attributes:
        changes: new values by field name: variants, control, targeting, coverage, prerequisites.
        reason: for people.
    """

    changes: Mapping[str, object]
    reason: str


def take_step(
    work: Work,
    project: str,
    key: str,
    step: BareStep,
    *,
    now: datetime,
    revision: int | None = None,
    caps: Mapping[str, Pin] = NO_CAPS,
) -> Experiment:
    """Take a step that needs nothing further: start, pause, resume, close, stop or archive.

    Args:
        caps: of a start: what caps by quantile come to; see `fix_caps.find_caps`.

    Raises:
        NotFound: there is no such experiment.
        PreconditionFailed: it has another revision by now.
        IllegalTransition: its life has no such step from here.
        ReviewRequired: at the start of a regulated experiment.
        InvalidInput: at the start, if the definition could not run as it says.
        LayerFull: at the start, if its layer has too few free slots.
        Conflict: at the start, if a prerequisite has not started or is archived.
        InUse: another experiment depends on the one to archive.
    """
    before = claim(work, work.experiments, project, key, revision=revision)
    life.check_step(before, step)
    if step == "start":
        return _start(work, project, before, caps, now=now)
    if step == "archive":
        _check_not_needed(work, project, key)
    return _keep(work, project, before, life.take(before, step, now=now))


def ramp(work: Work, project: str, key: str, coverage: float, *, revision: int | None = None) -> Experiment:
    """Let more units in: slots are appended, and nobody who is in moves.

    Raises:
        NotFound: there is no such experiment.
        PreconditionFailed: it has another revision by now.
        IllegalTransition: it is neither running nor paused, or external.
        InvalidInput: naming ``coverage``: it adds nothing.
        LayerFull: its layer has too few free slots.
        InUse: another experiment needs a variant of it, and would lose units to it.
    """
    before = claim(work, work.experiments, project, key, revision=revision)
    life.check_step(before, "ramp")
    _check_not_needed(work, project, key)
    if not is_number(coverage) or not 0 < coverage <= 1:
        raise InvalidInput({"coverage": ["must be a number above 0 and at most 1"]})
    slots = append_slots(work, project, before, coverage)
    return _keep(work, project, before, life.ramp(before, coverage, slots))


def open_phase(
    work: Work, project: str, key: str, request: PhaseRequest, *, now: datetime, revision: int | None = None
) -> Experiment:
    """Open the next phase: everybody is drawn anew, by a new salt, into slots that may be others.

    Raises:
        NotFound: there is no such experiment.
        PreconditionFailed: it has another revision by now.
        IllegalTransition: it is neither running nor paused, or external.
        ReviewRequired: it is regulated and its variants change.
        InvalidInput: naming each field that is wrong or that a phase cannot change.
        InUse: another experiment depends on this one.
        LayerFull: its layer has too few free slots.
        Conflict: a prerequisite has not started or is archived, or it has had as many phases as there may be.
    """
    before = claim(work, work.experiments, project, key, revision=revision)
    life.check_step(before, "phase")
    unknown = {name: ["is not a field that a phase can change"] for name in request.changes if name not in OF_A_PHASE}
    if unknown:
        raise InvalidInput(unknown)
    definition = pin_first(apply_changes(before.definition, request.changes))
    _check_not_needed(work, project, key)
    _check_ready(work, project, definition)
    after = life.open_phase(
        before,
        definition,
        salt=secrets.token_hex(16),
        slots=lay_slots(work, project, definition),
        reason=request.reason,
        now=now,
    )
    return _keep(work, project, before, after)


def decide(work: Work, project: str, key: str, decision: DecisionRecord, *, revision: int | None = None) -> Experiment:
    """Record what people decided, and serve the winner to every targeted unit if there is one.

    The record names the latest look of the current phase: whoever decides has seen that, or could have.

    Raises:
        NotFound: there is no such experiment.
        PreconditionFailed: it has another revision by now.
        IllegalTransition: it has not started, is archived, or has shipped a variant.
        InvalidInput: naming the part of the decision that does not fit.
    """
    before = claim(work, work.experiments, project, key, revision=revision)
    latest = work.looks.latest_number(project, key, before.phase)
    decision = replace(decision, phase=None if latest is None else before.phase, look=latest)
    return _keep(work, project, before, life.decide(before, decision))


def _start(work: Work, project: str, before: Experiment, caps: Mapping[str, Pin], *, now: datetime) -> Experiment:
    _check_ready(work, project, before.definition)
    pinned = replace(before, definition=pin_newest(work, project, before.definition, caps))
    return _keep(work, project, before, life.start(pinned, enrol(work, project, before), now=now))


def _keep(work: Work, project: str, before: Experiment, after: Experiment) -> Experiment:
    work.experiments.save(project, after, expected_revision=before.revision)
    publish_snapshot(work, project)
    return after


def _check_ready(work: Work, project: str, definition: ExperimentDefinition) -> None:
    """Refuse what could not run in the project as it is now."""
    check_for_project(work, work.projects.get(project), definition)
    needed = {need.experiment: work.experiments.get(project, need.experiment) for need in definition.prerequisites}
    missing = unready(definition, needed)
    if missing:
        raise Conflict(f"{definition.key} needs {missing[0]}, which has not started; start it first")


def _check_not_needed(work: Work, project: str, key: str) -> None:
    needed_by = dependants(key, work.experiments.all(project))
    if needed_by:
        raise InUse(
            f"{key} is a prerequisite of {needed_by[0]}, whose units depend on it; stop that, not only pause it"
        )
