"""The life of an experiment: which steps there are, where each leads, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from abplatform.domain.checks import Faults
from abplatform.domain.experiment import (
    OUTCOMES,
    DecisionRecord,
    Experiment,
    ExperimentDefinition,
    PastPhase,
    Status,
)
from abplatform.domain.slots import Ranges
from abplatform.domain.suggestions import quote
from abplatform.errors import Conflict, IllegalTransition, ReviewRequired

Step = Literal["start", "pause", "resume", "ramp", "phase", "close", "stop", "decide", "archive"]
TimedStep = Literal["pause", "resume", "close", "stop", "archive"]

TRANSITIONS: Mapping[tuple[Status, Step], Status] = {
    ("draft", "start"): "running",
    ("running", "pause"): "paused",
    ("paused", "resume"): "running",
    ("running", "ramp"): "running",
    ("paused", "ramp"): "paused",
    ("running", "phase"): "running",
    ("paused", "phase"): "paused",
    ("running", "close"): "closed",
    ("paused", "close"): "closed",
    ("running", "stop"): "stopped",
    ("paused", "stop"): "stopped",
    ("closed", "stop"): "stopped",
    ("running", "decide"): "stopped",
    ("paused", "decide"): "stopped",
    ("closed", "decide"): "stopped",
    ("stopped", "decide"): "stopped",
    ("stopped", "archive"): "archived",
}
OF_SERVED: frozenset[Step] = frozenset({"pause", "resume", "ramp", "phase"})
MOST_PHASES = 10
"""Each further phase halves alpha: after ten, next to nothing is left to decide with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """What a start or a new phase gives an experiment: who can be in.

    Attributes:
        layer_salt: of the shared layer, or of the experiment's own.
        slots: buckets of that layer.
        holdouts: keys of the holdouts that cover it.
    """

    layer_salt: str
    slots: Ranges
    holdouts: tuple[str, ...]


def check_step(experiment: Experiment, step: Step) -> Status:
    """Where a step leads.

    Raises:
        IllegalTransition: if the life cycle has no such step from here.
    """
    if experiment.definition.assignment == "external" and step in OF_SERVED:
        raise IllegalTransition(f"{experiment.key} has external assignment, so there is nothing here to {step}")
    after = TRANSITIONS.get((experiment.status, step))
    if after is None:
        possible = [allowed for status, allowed in TRANSITIONS if status == experiment.status]
        if experiment.shipped is not None:
            possible.remove("decide")
        hint = f"; possible now: {', '.join(possible)}" if possible else ""
        raise IllegalTransition(f"{experiment.key} is {experiment.status}, so it cannot {step}{hint}")
    if step == "decide" and experiment.shipped is not None:
        raise IllegalTransition(
            f"{experiment.key} has shipped {experiment.shipped}, so it cannot decide again; archive takes it from the "
            "snapshot, and callers get the default in their code"
        )
    return after


def take(experiment: Experiment, step: TimedStep, *, now: datetime) -> Experiment:
    """The experiment after a step that needs nothing but the time.

    From its stop on, others may have its slots; it keeps the record of them.

    Raises:
        IllegalTransition: if the life cycle has no such step from here.
    """
    after = _moved(experiment, step)
    if step == "close":
        return replace(after, closed_at=now)
    if step == "stop":
        return replace(after, stopped_at=now)
    return replace(after, archived_at=now) if step == "archive" else after


def start(experiment: Experiment, enrolment: Enrolment, *, now: datetime) -> Experiment:
    """The experiment after its start, which freezes its plan, its slots and its holdouts.

    Raises:
        IllegalTransition: it has started.
        ReviewRequired: it is ``regulated``.
    """
    started = _moved(experiment, "start")
    _check_review(experiment, "it starts")
    return replace(
        started,
        layer_salt=enrolment.layer_salt,
        slots=enrolment.slots,
        holdouts=enrolment.holdouts,
        # Only where we serve the variants do we know that nobody was exposed before.
        preregistered=experiment.definition.assignment == "served",
        started_at=now,
        phase_started_at=now,
    )


def ramp(experiment: Experiment, coverage: float, slots: Ranges) -> Experiment:
    """The experiment with more coverage: ``slots`` hold all that it had and more, so that nobody who is in moves.

    Raises:
        IllegalTransition: it is neither running nor paused.
    """
    return replace(
        _moved(experiment, "ramp"), definition=replace(experiment.definition, coverage=coverage), slots=slots
    )


def open_phase(
    experiment: Experiment, definition: ExperimentDefinition, *, salt: str, slots: Ranges, reason: str, now: datetime
) -> Experiment:
    """The experiment in its next phase: everybody is drawn anew.

    Test accounts stay forced, but for those whose variant is no more.

    Args:
        definition: with what changes.
        salt: new and random.
        slots: those of the new phase.
        reason: why; kept with the phase that ends.

    Raises:
        IllegalTransition: it is neither running nor paused.
        ReviewRequired: it is ``regulated`` and its variants change.
        Conflict: it has had as many phases as there may be.
        InvalidInput: naming ``reason``.
    """
    moved = _moved(experiment, "phase")
    check_reason(reason)
    if definition.variants != experiment.definition.variants:
        _check_review(experiment, "its variants change")
    if experiment.phase >= MOST_PHASES:
        raise Conflict(f"{experiment.key} has had {MOST_PHASES} phases, the most there may be; make another experiment")
    return replace(
        moved,
        definition=definition,
        phase=experiment.phase + 1,
        phase_salt=salt,
        slots=slots,
        phase_started_at=now,
        past_phases=(*experiment.past_phases, _past(experiment, reason, now)),
        forced=still_forced(experiment.forced, definition),
    )


def decide(experiment: Experiment, decision: DecisionRecord) -> Experiment:
    """The experiment after people decided: stopped, its slots free for others, and the winner shipped if there is one.

    What was decided without shipping anything can be decided again; the earlier records stay.

    Raises:
        IllegalTransition: it has not started, is archived, or has shipped a variant.
        InvalidInput: naming the part of the decision that does not fit.
    """
    moved = _moved(experiment, "decide")
    _check_decision(decision, experiment.definition)
    earlier = () if experiment.decision is None else (experiment.decision,)
    return replace(
        moved,
        shipped=decision.variant,
        decision=decision,
        past_decisions=(*experiment.past_decisions, *earlier),
        stopped_at=experiment.stopped_at or decision.decided_at,
    )


def still_forced(forced: Mapping[str, str], definition: ExperimentDefinition) -> dict[str, str]:
    """The forced units whose variant the definition has."""
    known = {variant.key for variant in definition.variants}
    return {digest: variant for digest, variant in forced.items() if variant in known}


def check_reason(reason: str) -> None:
    """Refuse a step without a reason for people.

    Raises:
        InvalidInput: naming ``reason``.
    """
    faults = Faults()
    faults.text(reason, "reason", least=1)
    faults.raise_any()


def _check_decision(decision: DecisionRecord, definition: ExperimentDefinition) -> None:
    faults = Faults()
    faults.check(decision.outcome in OUTCOMES, "outcome", f"must be one of {', '.join(OUTCOMES)}")
    if decision.outcome == "ship":
        known = [variant.key for variant in definition.variants]
        rule = f"must be the key of the variant that ships, one of {quote(known)}"
        faults.check(decision.variant in known, "variant", rule)
    elif decision.outcome in OUTCOMES:
        faults.check(decision.variant is None, "variant", "belongs to the outcome ship only")
    faults.text(decision.reason, "reason", least=1)
    faults.raise_any()


def _moved(experiment: Experiment, step: Step) -> Experiment:
    return replace(experiment, status=check_step(experiment, step), revision=experiment.revision + 1)


def _check_review(experiment: Experiment, when: str) -> None:
    if experiment.definition.risk_class == "regulated":
        raise ReviewRequired(
            f"{experiment.key} has the risk_class regulated: a reviewer has to approve it before {when}, and reviews "
            "are not supported yet"
        )


def _past(experiment: Experiment, reason: str, now: datetime) -> PastPhase:
    definition = experiment.definition
    return PastPhase(
        number=experiment.phase,
        salt=experiment.phase_salt,
        slots=experiment.slots,
        started_at=experiment.phase_started_at or experiment.created_at,
        ended_at=now,
        variants=definition.variants,
        control=definition.control,
        targeting=definition.targeting,
        coverage=definition.coverage,
        prerequisites=definition.prerequisites,
        reason=reason,
    )
