"""Turn what the lake holds into a scorecard, and write each look once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import cast

from abplatform.domain.decision import UNSOUND, decide
from abplatform.domain.evidence import Evidence
from abplatform.domain.experiment import Experiment, ExperimentDefinition, Status
from abplatform.domain.health import check_health
from abplatform.domain.information import earlier_fractions, keep_tested
from abplatform.domain.interference import warn_of_spillover
from abplatform.domain.late_outcomes import add_maturity, release
from abplatform.domain.metric import Metric
from abplatform.domain.phase import choose_phase, decide_in_phase, judged_definition
from abplatform.domain.scorecard import Decision, MetricResult, Scorecard, Staleness, VariantResult
from abplatform.domain.scoring import score_metrics
from abplatform.domain.soundness import Health
from abplatform.errors import AlreadyExists
from abplatform.services.choose import Asked, Question, choose
from abplatform.services.fingerprint import fingerprint
from abplatform.services.pin import pin_first
from abplatform.storage.looks import Look
from abplatform.storage.session import UnitOfWork

LOOKED_AGAIN = "LOOKED_AGAIN_AFTER_PLAN"

Aggregate = Callable[[Experiment, Sequence[Metric], Evidence | None], Evidence]
"""Reduces the events of an experiment, or gives again what the latest look rests on if that would be the same."""


def read_results(
    uow: UnitOfWork, aggregate: Aggregate, project: str, key: str, *, question: Question, now: datetime
) -> Scorecard:
    """The scorecard of a phase of an experiment as of now.

    By the plan's own method it is a look: numbered within its phase, stored once with its decision, and given again
    unchanged as long as nothing has changed in the data. Phase k is tested at alpha / 2^(k-1); a past phase has results
    but recommends nothing. What people have decided, and which metrics have newer versions, is shown beside it, and is
    no part of the stored look.

    Args:
        uow: where definitions and looks are kept.
        aggregate: reduces the experiment's events.
        project: key of the project.
        key: key of the experiment.
        question: what to see.
        now: decides which windows have closed.

    Raises:
        NotFound: without such an experiment.
        NotAnalysable: before the experiment has started.
        InvalidInput: naming a part of the question that does not fit the experiment.
    """
    while True:
        answer = _look(uow, aggregate, project, key, question=question, now=now)
        if answer is not None:
            scorecard, asked = answer
            return _only(_as_of_now(scorecard, asked), question.metric)


def read_last_look(uow: UnitOfWork, project: str, key: str, *, question: Question, reason: str) -> Scorecard | None:
    """The latest look that was recorded of a phase, for when a newer one cannot be had: marked, and with a warning.

    Another method is applied to what that look rests on. Nothing is computed from the lake, and nothing is written.

    Args:
        uow: where definitions and looks are kept.
        project: key of the project.
        key: key of the experiment.
        question: what to see.
        reason: why a newer one cannot be had, for people.

    Returns:
        None before the first look, or where it did not keep what another method needs.

    Raises:
        NotFound: without such an experiment.
        NotAnalysable: before the experiment has started.
        InvalidInput: naming a part of the question that does not fit the experiment.
        Unavailable: if the database does not answer.
    """
    asked = choose(uow, project, key, question)
    if asked.latest is None:
        return None
    look, _, evidence = asked.latest
    scorecard = _mark_stale(look, reason)
    if asked.explores:
        if evidence is None:
            return None
        scorecard = _explore(asked, scorecard, evidence.request.metrics, evidence)
    return _only(_as_of_now(scorecard, asked), question.metric)


def read_looks(uow: UnitOfWork, project: str, key: str, *, phase: int | None = None) -> tuple[Scorecard, ...]:
    """All looks of a phase, the current one by default, oldest first, as they were recorded.

    Raises:
        NotFound: without such an experiment.
        InvalidInput: naming ``phase``, if it never had one of that number.
    """
    with uow.reading() as work:
        experiment = choose_phase(work.experiments.get(project, key), phase)
        return work.looks.history(project, key, experiment.phase)


def _look(
    uow: UnitOfWork, aggregate: Aggregate, project: str, key: str, *, question: Question, now: datetime
) -> tuple[Scorecard, Asked] | None:
    """One try, with the experiment as it was then.

    None if another look was written meanwhile: this one must build on it, with data that are no older.
    """
    asked = choose(uow, project, key, question)
    experiment, metrics, latest = asked.experiment, asked.metrics, asked.latest
    evidence = aggregate(experiment, metrics, None if latest is None else latest.evidence)
    previous = None if latest is None else latest.scorecard
    look = _score(experiment, metrics, evidence, previous=previous, now=now)
    if asked.explores:
        return _explore(asked, look, metrics, evidence), asked
    name = fingerprint(experiment, metrics, evidence.aggregation)
    again = _give_again(asked, evidence, name)
    if again is not None:
        return again, asked
    try:
        with uow.begin() as work:
            work.looks.append(project, key, experiment.phase, Look(look, name, evidence))
    except AlreadyExists:
        return None
    return look, asked


def _give_again(asked: Asked, evidence: Evidence, name: str) -> Scorecard | None:
    """The latest look, if it rests on what has this name; else None."""
    latest, experiment = asked.latest, asked.experiment
    if latest is None or latest.fingerprint not in {name, *_names_before_the_end(asked, evidence)}:
        return None
    health = replace(latest.scorecard.health, earlier_phase_units=evidence.aggregation.earlier_phase_units)
    # A past phase is shown as it ended.
    status = experiment.status if experiment.phase_ended_at is None else latest.scorecard.status
    return replace(latest.scorecard, health=health, status=status)


def _names_before_the_end(asked: Asked, evidence: Evidence) -> Iterator[str]:
    """What the same data were called while the experiment ran, if its plan was decided by then.

    That it was stopped since, as every decision of people does, says nothing new, and is no second look.
    """
    if asked.latest is not None and _is_final(asked.latest.scorecard):
        status = cast("Status", asked.latest.scorecard.status)
        yield fingerprint(replace(asked.experiment, status=status), asked.metrics, evidence.aggregation)


def _explore(asked: Asked, look: Scorecard, metrics: Sequence[Metric], evidence: Evidence) -> Scorecard:
    """A look with the numbers of another method, which is no look any more."""
    explored = score_metrics(_judged(asked.experiment), metrics, evidence.aggregation, method=asked.method)
    return replace(look, look=0, method=asked.method, metrics=_mature(explored, metrics, evidence))


def _judged(experiment: Experiment) -> ExperimentDefinition:
    return pin_first(judged_definition(experiment))


def _mature(results: Sequence[MetricResult], metrics: Sequence[Metric], evidence: Evidence) -> tuple[MetricResult, ...]:
    return add_maturity(results, metrics, evidence.request, data_through=evidence.aggregation.data_through)


def _mark_stale(look: Scorecard, reason: str) -> Scorecard:
    stale = Staleness(since=look.computed_at, reason=reason)
    return replace(look, stale=stale, health=replace(look.health, warnings=(stale.warning, *look.health.warnings)))


def _score(
    experiment: Experiment,
    metrics: Sequence[Metric],
    evidence: Evidence,
    *,
    previous: Scorecard | None,
    now: datetime,
) -> Scorecard:
    definition, aggregation = _judged(experiment), evidence.aggregation
    health = check_health(definition, aggregation, previous=previous.health if previous else None)
    earlier = earlier_fractions(previous)
    results = score_metrics(definition, metrics, aggregation, method=definition.plan.method, earlier=earlier)
    if definition.plan.method == "group_sequential":
        results = keep_tested(previous, results)
    results = _mature(results, metrics, evidence)
    decision = decide(definition, health, results, finished=_finished(experiment, results))
    if previous is not None and _is_final(previous):
        results = tuple(_looked_again(result) for result in results)
        decision = release(_stand_by(previous, health), results, definition.control)
    decision = decide_in_phase(decision, experiment)
    return Scorecard(
        experiment=experiment.key,
        name=definition.name,
        phase=experiment.phase,
        status=experiment.status,
        method=definition.plan.method,
        alpha=definition.plan.alpha,
        planned_units=definition.plan.planned_units,
        planned_clusters=definition.plan.planned_clusters,
        look=1 if previous is None else previous.look + 1,
        computed_at=now,
        data_through=aggregation.data_through,
        preregistered=experiment.preregistered,
        health=replace(health, warnings=(*health.warnings, *_spillover(definition, metrics, evidence))),
        metrics=results,
        decision=decision,
        phase_ended_at=experiment.phase_ended_at,
        cut_off=evidence.cut_off,
    )


def _spillover(definition: ExperimentDefinition, metrics: Sequence[Metric], evidence: Evidence) -> tuple[str, ...]:
    return warn_of_spillover(definition, metrics, single_units=evidence.request.unit_type is None)


def _finished(experiment: Experiment, results: Sequence[MetricResult]) -> bool:
    """Whether no further data can come that the plan would wait for."""
    if _closed_units(results) >= experiment.definition.plan.planned_units or experiment.phase_ended_at is not None:
        return True
    # Nobody enters any more. A served experiment that has stopped counts nothing that comes later, while the windows of
    # one whose enrolment is closed run on, as they do elsewhere.
    ended = experiment.status in {"closed", "stopped", "archived"}
    cut_off = experiment.definition.assignment == "served" and experiment.status != "closed"
    return ended and (cut_off or not any(variant.open_units for variant in _arms(results)))


def _closed_units(results: Sequence[MetricResult]) -> int:
    """Analysed units of all arms whose windows have closed, for the primary metric that has the fewest."""
    return min(
        (sum(variant.units for variant in result.variants) for result in results if result.role == "primary"),
        default=0,
    )


def _arms(results: Sequence[MetricResult]) -> Iterator[VariantResult]:
    return (variant for result in results if result.role == "primary" for variant in result.variants)


def _is_final(look: Scorecard) -> bool:
    """Whether that look spent all of the plan's error rate: a second one at more data would be a second chance."""
    # Units can leave: what was spent once stays spent.
    if any(LOOKED_AGAIN in each.warnings for result in look.metrics for each in result.comparisons):
        return True
    sound = look.decision.recommendation != "invalid"
    return look.method in {"fixed", "group_sequential"} and sound and _closed_units(look.metrics) >= look.planned_units


def _looked_again(result: MetricResult) -> MetricResult:
    comparisons = tuple(
        replace(
            comparison,
            exploratory=True,
            warnings=(*(code for code in comparison.warnings if code != LOOKED_AGAIN), LOOKED_AGAIN),
        )
        for comparison in result.comparisons
    )
    return replace(result, comparisons=comparisons)


def _stand_by(previous: Scorecard, health: Health) -> Decision:
    if not health.ok:
        return Decision(recommendation="invalid", variant=None, reasons=(UNSOUND, *health.warnings))
    sentence = f"Decided at look {previous.look}, at the planned units; such a plan is not decided again."
    reasons = previous.decision.reasons
    if any(reason.startswith("Decided at look ") for reason in reasons):
        return previous.decision
    return replace(previous.decision, reasons=(*reasons, sentence))


def _as_of_now(scorecard: Scorecard, asked: Asked) -> Scorecard:
    """A look with what people have done since: decided, and made newer versions of metrics."""
    results = tuple(_beside_newer(result, asked.newest[result.metric]) for result in scorecard.metrics)
    return replace(scorecard, metrics=results, decision_taken=asked.experiment.decision)


def _beside_newer(result: MetricResult, newest: int) -> MetricResult:
    older = result.version is not None and result.version < newest
    return replace(result, newer_version=newest) if older else result


def _only(scorecard: Scorecard, metric: str | None) -> Scorecard:
    if metric is None:
        return scorecard
    return replace(scorecard, metrics=tuple(result for result in scorecard.metrics if result.metric == metric))
