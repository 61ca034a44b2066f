"""Choose what a reader asks about: a phase of an experiment, a metric, a method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from abplatform.domain.experiment import Experiment, ExperimentDefinition
from abplatform.domain.metric import Metric
from abplatform.domain.phase import choose_phase
from abplatform.domain.plan import METHODS, Method
from abplatform.domain.suggestions import suggest
from abplatform.errors import InvalidInput, NotAnalysable
from abplatform.services.pin import pinned_metrics
from abplatform.storage.looks import Look
from abplatform.storage.session import UnitOfWork


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a reader wants to see.

    Attributes:
        method: another method than the plan's; its comparisons are exploratory and never decide.
        metric: only this metric; the decision still rests on all.
        phase: any that the experiment has had; the current one by default.
    """

    method: str | None = None
    metric: str | None = None
    phase: int | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a question is about, as it is stored: the experiment as it was in the phase, and the method to use.

    Attributes:
        newest: the newest version of each metric, by its key.
    """

    experiment: Experiment
    metrics: Sequence[Metric]
    latest: Look | None
    method: Method
    newest: Mapping[str, int]

    @property
    def explores(self) -> bool:
        """Whether by another method than the plan's."""
        return self.method != self.experiment.definition.plan.method


def choose(uow: UnitOfWork, project: str, key: str, question: Question) -> Asked:
    """Find what a question is about.

    Raises:
        NotFound: without such an experiment.
        NotAnalysable: before the experiment has started.
        InvalidInput: naming a part of the question that does not fit the experiment.
    """
    with uow.reading() as work:
        experiment = choose_phase(work.experiments.get(project, key), question.phase)
        if experiment.status == "draft":
            raise NotAnalysable(f"{key} has not started, so there is nothing to analyse")
        metrics = pinned_metrics(work, project, experiment.definition)
        newest = {metric.key: work.metrics.get(project, metric.key).version for metric in metrics}
        latest = work.looks.latest(project, key, experiment.phase)
    return Asked(experiment, metrics, latest, _check_question(question, experiment, metrics), newest)


def watchable_method(asked: Asked, question: Question) -> Method:
    """The method for results that are no looks: that of the question, else one that may be watched.

    That is the plan's, if it may; else ``sequential``, and ``fixed`` where clusters were randomised and no number of
    them was planned, without which a sequence has nothing to be tuned to.

    Raises:
        InvalidInput: naming ``method``, if its bounds are those of looks alone.
    """
    definition = asked.experiment.definition
    if question.method == "group_sequential":
        raise InvalidInput({"method": ["group_sequential bounds are those of looks alone (see results/looks)"]})
    if question.method is not None or definition.plan.method in {"sequential", "bayesian"}:
        return asked.method
    return "fixed" if _untuned(definition) else "sequential"


def _check_question(question: Question, experiment: Experiment, metrics: Sequence[Metric]) -> Method:
    plan = experiment.definition.plan
    keys = [metric.key for metric in metrics]
    if question.metric is not None and question.metric not in keys:
        said = suggest(question.metric, keys)
        raise InvalidInput({"metric": [f"{experiment.key} does not use a metric {question.metric!r}{said}"]})
    method = question.method or plan.method
    if method not in METHODS:
        raise InvalidInput({"method": [f"must be one of {', '.join(METHODS)}"]})
    if method == "sequential" and _untuned(experiment.definition):
        raise InvalidInput({"method": ["sequential results of clusters need plan.planned_clusters, fixed beforehand"]})
    if method == "group_sequential" != plan.method:
        raise InvalidInput({"method": ["group_sequential bounds need a plan of that method, made before the start"]})
    return method  # type: ignore[return-value]


def _untuned(definition: ExperimentDefinition) -> bool:
    return definition.clustered and definition.plan.planned_clusters is None
