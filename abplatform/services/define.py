"""Define experiments and metrics.

Each function works inside the caller's transaction, under the project's lock: a definition and the metrics that
it names cannot drift apart, whoever else writes.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from abplatform.domain.access import Project
from abplatform.domain.behaviour import VERSION_MARK
from abplatform.domain.definition_check import Catalogue, check_definition, check_words
from abplatform.domain.experiment import (
    EDITABLE_AFTER_START,
    OF_A_PHASE,
    Experiment,
    ExperimentDefinition,
    Pin,
    changed_fields,
    pin_metrics,
)
from abplatform.domain.life import still_forced
from abplatform.domain.metric import Metric
from abplatform.domain.metric_check import check_metric
from abplatform.domain.prerequisites import dependants
from abplatform.domain.sameness import say_the_same
from abplatform.errors import Conflict, InUse, InvalidInput
from abplatform.services.pin import pinned_metrics, uses_version
from abplatform.services.revise import apply_changes, claim
from abplatform.storage.metrics import StoredMetric
from abplatform.storage.session import Work


def draw_salt() -> str:
    """A salt that nobody can foresee."""
    return secrets.token_hex(16)


def create_experiment(
    work: Work,
    project: str,
    definition: ExperimentDefinition,
    *,
    now: datetime,
    draw_salt: Callable[[], str] = draw_salt,
) -> Experiment:
    """Make a draft, with salts that nobody has chosen.

    Args:
        work: the transaction.
        project: key of the project.
        definition: what its author writes.
        now: the present time.
        draw_salt: makes salts; a simulation that is to be repeated draws them from its seed.

    Raises:
        InvalidInput: naming each field that is wrong or not supported yet.
        AlreadyExists: the project has an experiment of that key.
        NotFound: there is no such project.
    """
    _check_unpinned(definition)
    check_for_project(work, work.projects.lock(project), definition)
    salt = draw_salt()
    experiment = Experiment(
        definition=definition,
        salt=salt,
        phase_salt=salt,
        layer_salt=draw_salt(),
        created_at=now,
    )
    work.experiments.add(project, experiment)
    return experiment


def edit_experiment(work: Work, project: str, key: str, changes: Mapping[str, object], *, revision: int) -> Experiment:
    """Change fields of a definition: of a draft any but the key, later only name and hypothesis.

    Changes that change nothing leave the revision as it is. A unit that is forced into a variant that goes is no longer
    forced.

    Args:
        changes: new values by field name.
        revision: the one that the caller has read.

    Raises:
        NotFound: there is no such experiment.
        PreconditionFailed: it has another revision by now.
        Conflict: it has started, and the changes touch what its start has frozen; the sentence names the fields, and
            the step that may change them.
        InvalidInput: naming each field that is wrong or not supported yet.
    """
    experiment = claim(work, work.experiments, project, key, revision=revision)
    definition = _keep_versions(experiment, apply_changes(experiment.definition, changes))
    changed = changed_fields(experiment.definition, definition)
    if not changed:
        return experiment
    _check_not_frozen(experiment, changed)
    if experiment.status == "draft":
        _check_unpinned(definition)
        check_for_project(work, work.projects.get(project), definition)
    else:
        check_words(definition)
    edited = replace(
        experiment,
        definition=definition,
        forced=still_forced(experiment.forced, definition),
        revision=experiment.revision + 1,
    )
    work.experiments.save(project, edited, expected_revision=revision)
    return edited


def delete_experiment(work: Work, project: str, key: str, *, revision: int) -> None:
    """Delete a draft.

    Raises:
        NotFound: there is no such experiment.
        PreconditionFailed: it has another revision by now.
        Conflict: it has started.
        InUse: another experiment names it as a prerequisite; the sentence says which.
    """
    experiment = claim(work, work.experiments, project, key, revision=revision)
    if experiment.status != "draft":
        raise Conflict(f"{key} is {experiment.status}; only drafts can be deleted")
    needed_by = dependants(key, work.experiments.all(project), drafts=True)
    if needed_by:
        raise InUse(f"{key} is a prerequisite of {needed_by[0]}")
    work.experiments.remove(project, key, expected_revision=revision)


def create_metric(work: Work, project: str, metric: Metric, *, now: datetime) -> StoredMetric:
    """Make a metric, in version 1.

    Raises:
        InvalidInput: naming each field that is wrong.
        AlreadyExists: the project has a metric of that key.
        NotFound: there is no such project.
    """
    work.projects.lock(project)
    check_among_metrics(work, project, metric)
    stored = StoredMetric(metric=metric, created_at=now)
    work.metrics.add(project, stored)
    return stored


def edit_metric(work: Work, project: str, key: str, changes: Mapping[str, object], *, revision: int) -> StoredMetric:
    """Change any field of the newest version of a metric but its key, unless it has counted for an experiment already.

    Changes that change nothing leave the revision as it is. What an archived experiment was judged by stays too: its
    results can still be read.

    Raises:
        NotFound: there is no such metric.
        PreconditionFailed: it has another revision by now.
        InUse: an experiment that has started uses the version; the sentence names it.
        InvalidInput: naming each field that is wrong.
    """
    stored = claim(work, work.metrics, project, key, revision=revision)
    metric = apply_changes(stored.metric, changes)
    if say_the_same(metric, stored.metric):
        return stored
    check_among_metrics(work, project, metric)
    frozen_by = [each for each in _users(work, project, key) if uses_version(each, key, stored.version)]
    if frozen_by:
        raise InUse(
            f"version {stored.version} of {key} is a metric of {frozen_by[0].key}, which has started; make the next "
            f"version instead (POST /metrics/{key}/versions): experiments that start after it use that"
        )
    edited = replace(stored, metric=metric, revision=stored.revision + 1)
    work.metrics.save(project, edited, expected_revision=revision)
    return edited


def delete_metric(work: Work, project: str, key: str, *, revision: int) -> None:
    """Delete a metric that no experiment uses, with all its versions.

    Raises:
        NotFound: there is no such metric.
        PreconditionFailed: it has another revision by now.
        InUse: an experiment uses it, or it is the outcome of another metric; the sentence names that.
    """
    claim(work, work.metrics, project, key, revision=revision)
    users = _users(work, project, key)
    if users:
        raise InUse(f"{key} is a metric of {users[0].key}")
    for stored in work.metrics.every_version(project):
        if stored.metric.outcome == key and stored.key != key:
            raise InUse(f"{key} is the outcome of version {stored.version} of the metric {stored.key}")
    work.metrics.remove(project, key, expected_revision=revision)


def check_among_metrics(work: Work, project: str, metric: Metric) -> None:
    """Refuse a metric that could not be computed as it says, or whose outcome is not among the project's others.

    Raises:
        InvalidInput: naming each field that is wrong.
    """
    others = None
    if metric.outcome is not None:
        others = {stored.key: stored.metric for stored in work.metrics.all(project)}
    check_metric(metric, others)


def check_for_project(work: Work, project: Project, definition: ExperimentDefinition) -> None:
    """Refuse a definition that could not run in the project as it is now.

    Raises:
        InvalidInput: naming each field that is wrong or not supported yet.
    """
    # Projects keep all that they ever ran: read it only for definitions that name others.
    experiments = work.experiments.all(project.key) if definition.prerequisites else ()
    versioned = any(VERSION_MARK in name for name in definition.dimensions)
    behaviours = work.behaviours.all(project.key) if versioned else ()
    catalogue = Catalogue(
        unit_type=project.unit_type,
        metrics=_usable_metrics(work, project.key, definition),
        layers={stored.key: stored.layer.unit_type for stored in work.layers.all(project.key)},
        segments=work.segments.keys(project.key),
        experiments={each.key: each for each in experiments},
        behaviours={stored.key: stored.version for stored in behaviours},
    )
    check_definition(definition, catalogue)


def _check_not_frozen(experiment: Experiment, changed: tuple[str, ...]) -> None:
    frozen = [name for name in changed if name not in EDITABLE_AFTER_START]
    if experiment.status == "draft" or not frozen:
        return
    moving = [name for name in frozen if name in OF_A_PHASE]
    hint = ""
    if moving and experiment.status in {"running", "paused"} and experiment.definition.assignment == "served":
        hint = f"; to change {', '.join(moving)}, open a new phase (POST /experiments/{experiment.key}/phase)"
        hint += ", or ramp to a larger coverage" if "coverage" in moving else ""
    raise Conflict(
        f"{experiment.key} has started, which froze {', '.join(frozen)}; "
        f"{' and '.join(sorted(EDITABLE_AFTER_START, reverse=True))} can still be edited{hint}"
    )


def _usable_metrics(work: Work, project: str, definition: ExperimentDefinition) -> dict[str, Metric]:
    """All metrics of a project by key, in the versions that the definition has pinned, else the newest."""
    newest = {stored.key: stored.metric for stored in work.metrics.all(project)}
    pinned = replace(definition, metrics=tuple(use for use in definition.metrics if use.version is not None))
    return newest | {metric.key: metric for metric in pinned_metrics(work, project, pinned)}


def _keep_versions(experiment: Experiment, definition: ExperimentDefinition) -> ExperimentDefinition:
    """The definition with the versions that the experiment has pinned, where an edit says none."""
    pinned = {use.metric: Pin(use.version, use.cap) for use in experiment.definition.metrics}
    return pin_metrics(definition, pinned)


def _check_unpinned(definition: ExperimentDefinition) -> None:
    rule = "is set by the start; must be null or absent"
    paths = [
        f"metrics.{index}.{name}"
        for index, use in enumerate(definition.metrics)
        for name in ("version", "cap")
        if getattr(use, name) is not None
    ]
    if paths:
        raise InvalidInput({path: [rule] for path in paths})


def _users(work: Work, project: str, key: str) -> list[Experiment]:
    return [
        experiment
        for experiment in work.experiments.all(project)
        if any(use.metric == key for use in experiment.definition.metrics)
    ]
