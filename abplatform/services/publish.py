"""Move experiments through their life, and publish what evaluators need to know of it.

A snapshot has everything that evaluation needs and nothing else: no names, hypotheses, metrics or plans, no
drafts, no archived experiments, and none whose variants are drawn elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime

from abplatform.assignment import HASH_VERSION, SCHEMA_VERSION, coverage_slots, encode_snapshot, variant_ranges
from abplatform.domain.access import Project
from abplatform.domain.experiment import Experiment, Step
from abplatform.errors import IllegalTransition
from abplatform.services.define import check_for_project, check_revision
from abplatform.storage.session import Work
from abplatform.storage.snapshots import PublishedSnapshot

PUBLISHED = frozenset({"running", "paused", "stopped"})


def take_step(
    work: Work, project: str, key: str, step: Step, *, now: datetime, revision: int | None = None
) -> Experiment:
    """Take one step of an experiment's life and publish the next snapshot, both or neither.

    Of several callers who take the same step at once, one succeeds.

    Args:
        now: kept as the time of the start, stop or archiving.
        revision: the one that the caller has read; None to step from whatever is there.

    Raises:
        NotFound: there is no such experiment.
        PreconditionFailed: it has another revision by now.
        IllegalTransition: its life has no such step from here.
        ReviewRequired: at the start of a regulated experiment.
        InvalidInput: at the start, if the definition could not run as it says.
    """
    locked = work.projects.lock(project)
    before = work.experiments.get(project, key)
    if revision is not None:
        check_revision(before, revision)
    if before.definition.assignment == "external" and step in {"pause", "resume"}:
        raise IllegalTransition(f"{key} has external assignment, so there is nothing here to {step}")
    after = before.take(step, now=now)
    if step == "start":
        check_for_project(work, locked, before.definition)
    work.experiments.save(project, after, expected_revision=before.revision)
    _publish(work, locked)
    return after


def read_snapshot(work: Work, project: str) -> PublishedSnapshot:
    """The snapshot that evaluators read now; an empty one, version 0, before anything has started.

    Raises:
        NotFound: there is no such project.
    """
    published = work.snapshots.find(project)
    return published if published is not None else _encode(work.projects.get(project), (), version=0)


def current_version(work: Work, project: str) -> int:
    """The version of the snapshot that is published now; it grows with every step of any experiment."""
    return work.snapshots.version(project)


def _publish(work: Work, project: Project) -> None:
    served = (experiment for experiment in work.experiments.all(project.key) if _is_published(experiment))
    version = work.snapshots.version(project.key) + 1
    work.snapshots.publish(project.key, _encode(project, served, version=version))


def _is_published(experiment: Experiment) -> bool:
    return experiment.definition.assignment == "served" and experiment.status in PUBLISHED


def _encode(project: Project, experiments: Iterable[Experiment], *, version: int) -> PublishedSnapshot:
    document = encode_snapshot(
        {
            "schema_version": SCHEMA_VERSION,
            "version": version,
            "project": project.key,
            "unit_type": project.unit_type,
            "experiments": {experiment.key: _rule(experiment) for experiment in experiments},
        }
    )
    digest = hashlib.sha256(document).hexdigest()[:32]
    return PublishedSnapshot(version=version, document=document, etag=f"{version}-{digest}")


def _rule(experiment: Experiment) -> dict[str, object]:
    definition = experiment.definition
    ranges = variant_ranges([variant.weight for variant in definition.variants])
    return {
        "status": experiment.status,
        "hash_version": HASH_VERSION,
        "unit_type": definition.unit_type,
        "phase": experiment.phase,
        "salt": experiment.salt,
        "layer": {"salt": experiment.layer_salt, "slots": coverage_slots(definition.coverage)},
        "targeting": definition.targeting,
        "variants": [
            {"key": variant.key, "range": buckets, "payload": variant.payload}
            for variant, buckets in zip(definition.variants, ranges, strict=True)
        ],
        "control": definition.control,
        "shipped": None,
        "dimensions": definition.dimensions,
    }
