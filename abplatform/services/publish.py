"""Publish what evaluators need to know.

A snapshot has everything that evaluation needs and nothing else: no names, hypotheses, metrics or plans, no
drafts, no archived experiments, none whose variants are drawn elsewhere, and of units nothing but salted digests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from abplatform.assignment import HASH_VERSION, SCHEMA_VERSION, encode_snapshot, named_groups, variant_ranges
from abplatform.domain.access import Project
from abplatform.domain.experiment import UNDER_WAY, Experiment
from abplatform.errors import Conflict
from abplatform.storage.holdouts import StoredHoldout
from abplatform.storage.segments import StoredSegment
from abplatform.storage.session import Work
from abplatform.storage.snapshots import PublishedSnapshot

PUBLISHED = UNDER_WAY | {"stopped"}
LARGEST_SNAPSHOT = 8 * 1024 * 1024
"""Half of what the SDK takes: whatever is published reaches it."""
_A_FEW_WORDS = 256  # another status, a longer version
Document = dict[str, object]


def publish_snapshot(work: Work, project: str) -> PublishedSnapshot:
    """Publish the next version of a project's snapshot, from what its definitions are in this transaction.

    For whoever changes what evaluators see, or what events are checked against: steps of experiments, forced units,
    making, ending or deleting a holdout, other members of a segment. It locks the project; of callers at once, each
    publishes a version of its own.

    Raises:
        NotFound: there is no such project.
        Conflict: the snapshot grows beyond what is served; what only stops or shrinks something is never refused.
    """
    locked = work.projects.lock(project)
    before = read_snapshot(work, project)
    published = _encode(locked, _parts(work, project), version=before.version + 1)
    if len(published.document) > max(LARGEST_SNAPSHOT, len(before.document) + _A_FEW_WORDS):
        raise Conflict(
            f"the snapshot would have {len(published.document):,} bytes, more than the {LARGEST_SNAPSHOT:,} that "
            "evaluators are given; archive experiments, or use smaller payloads and segments"
        )
    work.snapshots.publish(project, published)
    return published


def read_snapshot(work: Work, project: str) -> PublishedSnapshot:
    """The snapshot that evaluators read now; an empty one, version 0, before anything has started.

    Raises:
        NotFound: there is no such project.
    """
    published = work.snapshots.find(project)
    return published if published is not None else _encode(work.projects.get(project), {"experiments": {}}, version=0)


def preview_snapshot(work: Work, project: str, experiment: Experiment) -> bytes:
    """The document that would be published if an experiment stood as it is given here, whatever its status.

    For evaluating past phases. Nothing is published.

    Raises:
        NotFound: there is no such project.
    """
    return _encode(work.projects.get(project), _parts(work, project, experiment), version=0).document


def current_version(work: Work, project: str) -> int:
    """The version of the snapshot that is published now; it grows with every call of `publish_snapshot`."""
    return work.snapshots.version(project)


def is_published(experiment: Experiment) -> bool:
    """Whether evaluators know it: served here, started, and not archived."""
    return experiment.definition.assignment == "served" and experiment.status in PUBLISHED


def why_unpublished(experiment: Experiment) -> str | None:
    """Why evaluators do not know an experiment, in words for people; None if they do."""
    if experiment.definition.assignment == "external":
        return f"{experiment.key} has external assignment: its variants are not drawn here"
    if experiment.status == "draft":
        return f"{experiment.key} is a draft: start it first, since its slots and variants are fixed at the start"
    return None if is_published(experiment) else f"{experiment.key} is archived: nobody gets anything from it"


def _encode(project: Project, parts: Document, *, version: int) -> PublishedSnapshot:
    head: Document = {
        "schema_version": SCHEMA_VERSION,
        "version": version,
        "project": project.key,
        "unit_type": project.unit_type,
    }
    document = encode_snapshot(head | parts)
    digest = hashlib.sha256(document).hexdigest()[:32]
    return PublishedSnapshot(version=version, document=document, etag=f"{version}-{digest}")


def _parts(work: Work, project: str, instead: Experiment | None = None) -> Document:
    experiments = [each for each in work.experiments.all(project) if is_published(each)]
    if instead is not None:
        experiments = [*(each for each in experiments if each.key != instead.key), instead]
    active = {stored.key: stored for stored in work.holdouts.all(project) if stored.ended_at is None}
    named = {key for experiment in experiments for key in experiment.holdouts if key in active}
    groups = _groups(work, project, experiments)
    parts: Document = {"experiments": {each.key: _rule(each, active) for each in experiments}}
    if groups:
        parts["groups"] = groups
    if named:
        parts["holdouts"] = {key: _holdout(active[key]) for key in named}
    return parts


def _groups(work: Work, project: str, experiments: Iterable[Experiment]) -> Document:
    """The segments that targeting names; one by one, since all members of all segments may be megabytes."""
    keys = {key for experiment in experiments for key in named_groups(experiment.definition.targeting)}
    found = {key: work.segments.find(project, key) for key in keys}
    return {key: _group(stored) for key, stored in found.items() if stored is not None}


def _group(stored: StoredSegment) -> Document:
    if stored.segment.kind == "values":
        return {"values": stored.segment.values}
    return {"salt": stored.salt, "sha256": stored.segment.digests}


def _holdout(stored: StoredHoldout) -> Document:
    return {"unit_type": stored.holdout.unit_type, "salt": stored.salt, "range": stored.holdout.buckets}


def _rule(experiment: Experiment, active: Mapping[str, StoredHoldout]) -> Document:
    definition = experiment.definition
    rule: Document = {
        "status": experiment.status,
        "hash_version": HASH_VERSION,
        "unit_type": definition.unit_type,
        "phase": experiment.phase,
        "salt": experiment.phase_salt,
        # What has stopped draws nobody, and others may have its slots by now.
        "layer": {"salt": experiment.layer_salt, "slots": experiment.slots if experiment.status in UNDER_WAY else ()},
        "targeting": definition.targeting,
        "variants": _variants(experiment),
        "control": definition.control,
        "shipped": experiment.shipped,
        "dimensions": definition.dimensions,
    }
    holdouts = [key for key in experiment.holdouts if key in active]
    if experiment.forced:
        rule["forced"] = {"salt": experiment.salt, "units": experiment.forced}
    if holdouts:
        rule["holdouts"] = holdouts
    if definition.prerequisites:
        rule["prerequisites"] = [
            {"experiment": need.experiment, "variants": need.variants} for need in definition.prerequisites
        ]
    return rule


def _variants(experiment: Experiment) -> Sequence[Document]:
    variants = experiment.definition.variants
    ranges = variant_ranges([variant.weight for variant in variants])
    return [
        {"key": variant.key, "range": buckets, "payload": variant.payload}
        for variant, buckets in zip(variants, ranges, strict=True)
    ]
