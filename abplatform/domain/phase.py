"""One phase of an experiment: which, the level at which it is tested, and what a phase that is over may still say."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from abplatform.domain.experiment import Experiment, ExperimentDefinition
from abplatform.domain.scorecard import Decision
from abplatform.errors import InvalidInput


def choose_phase(experiment: Experiment, number: int | None) -> Experiment:
    """The experiment as it was in the phase that is asked for, the current one by default.

    Raises:
        InvalidInput: naming ``phase``, if it never had one of that number.
    """
    try:
        return experiment.in_phase(experiment.phase if number is None else number)
    except ValueError:
        had = "phase 1 only" if experiment.phase == 1 else f"the phases 1 to {experiment.phase}"
        raise InvalidInput({"phase": [f"{experiment.key} has had {had}"]}) from None


def counted_span(experiment: Experiment) -> tuple[datetime | None, datetime | None]:
    """From when to when the events of a phase count: from its start to the next one's, or to the stop.

    An external experiment counts all that it was given.
    """
    if experiment.definition.assignment == "external":
        return None, None
    return experiment.phase_started_at, experiment.phase_ended_at or experiment.stopped_at


def judged_definition(experiment: Experiment) -> ExperimentDefinition:
    """The definition by which a phase is judged: phase k at alpha / 2^(k-1), whatever the metric and its role.

    A false win may come from any phase: the levels of all phases together stay below 2 alpha, however many there are.
    """
    definition = experiment.definition
    if experiment.phase == 1:
        return definition
    alpha = definition.plan.alpha / 2 ** (experiment.phase - 1)
    return replace(definition, plan=replace(definition.plan, alpha=alpha))


def decide_in_phase(decision: Decision, experiment: Experiment) -> Decision:
    """A decision as its phase allows it, with the reasons that the phase adds.

    A past phase recommends nothing: another phase has drawn everybody anew since, perhaps other variants, so that there
    is nothing left that could be shipped, rolled back or continued on its word. It is ``inconclusive``, whatever its
    metrics say (their verdicts stay in view, and so do the reasons); data that are not sound stay ``invalid``.

    Args:
        decision: what the plan recommends by the data alone.
        experiment: as it was in the phase.
    """
    said = []
    if experiment.phase > 1:
        divisor = 2 ** (experiment.phase - 1)
        said.append(
            f"Phase {experiment.phase} is tested at alpha/{divisor}: false wins over all phases stay at most 2 alpha."
        )
    if experiment.phase_ended_at is not None:
        said.append(
            f"Phase {experiment.phase} ended on {experiment.phase_ended_at:%Y-%m-%d}: units were drawn anew since, "
            "so it recommends nothing any more."
        )
        if decision.recommendation != "invalid":
            decision = replace(decision, recommendation="inconclusive", variant=None, awaits=())
    reasons = (*decision.reasons, *(sentence for sentence in said if sentence not in decision.reasons))
    return replace(decision, reasons=reasons)
