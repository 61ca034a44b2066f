"""Read all past experiments on one metric together, from the looks that were recorded."""

from __future__ import annotations

from abplatform.domain.experiment import Experiment
from abplatform.domain.portfolio import (
    NO_LOOK,
    NOT_KEPT,
    UNSOUND,
    LeftOut,
    PastEffect,
    Portfolio,
    build_portfolio,
    has_ended,
    lift,
)
from abplatform.domain.suggestions import suggest
from abplatform.errors import InvalidInput
from abplatform.services.pin import FIRST
from abplatform.storage.looks import Look
from abplatform.storage.session import UnitOfWork, Work


def read_portfolio(uow: UnitOfWork, project: str, metric: str) -> Portfolio:
    """The effects of all past experiments on a metric, raw and shrunken. The lake is not read.

    Args:
        uow: where definitions and looks are kept.
        project: key of the project.
        metric: key of the metric.

    Raises:
        InvalidInput: naming ``metric`` where there is no such.
    """
    effects, left_out = list[PastEffect](), list[LeftOut]()
    with uow.reading() as work:
        stored = work.metrics.find(project, metric)
        if stored is None:
            raise InvalidInput({"metric": [f"there is no metric {metric!r}{_suggest(work, project, metric)}"]})
        for experiment in work.experiments.all(project):
            if has_ended(experiment) and any(use.metric == metric for use in experiment.definition.metrics):
                look = work.looks.latest(project, experiment.key, experiment.phase)
                found, missing = _read(experiment, metric, look)
                effects += found
                left_out += missing
    return build_portfolio(stored.metric, effects, left_out)


def _suggest(work: Work, project: str, metric: str) -> str:
    """The metric that may be meant or, where there are too many to list, those that past experiments used."""
    known = [each.key for each in work.metrics.all(project)]
    past = (each.definition for each in work.experiments.all(project) if has_ended(each))
    used = sorted({use.metric for definition in past for use in definition.metrics})
    return suggest(metric, known) or suggest(metric, used)


def _read(experiment: Experiment, key: str, look: Look | None) -> tuple[list[PastEffect], list[LeftOut]]:
    reason = _unusable(look)
    if look is None or look.evidence is None or reason is not None:
        return [], [LeftOut(experiment=experiment.key, variant=None, reason=reason or NO_LOOK)]
    metric = next((each for each in look.evidence.request.metrics if each.key == key), None)
    lifts = () if metric is None else lift(experiment, metric, look.evidence.aggregation)
    found, missing = list[PastEffect](), list[LeftOut]()
    for each in lifts:
        if each.raw is None:
            missing.append(LeftOut(experiment=experiment.key, variant=each.variant, reason=each.reason or NOT_KEPT))
            continue
        found.append(
            PastEffect(
                experiment=experiment.key,
                variant=each.variant,
                version=_version(experiment, key),
                look=look.scorecard.look,
                computed_at=look.scorecard.computed_at,
                shipped=experiment.shipped == each.variant,
                raw=each.raw,
            )
        )
    return found, missing


def _unusable(look: Look | None) -> str | None:
    if look is None:
        return NO_LOOK
    if look.evidence is None:
        return NOT_KEPT
    return None if look.scorecard.health.ok else UNSOUND


def _version(experiment: Experiment, metric: str) -> int:
    return next(use.version or FIRST for use in experiment.definition.metrics if use.metric == metric)
