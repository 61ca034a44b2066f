"""Keep lists of values and of units that targeting names.

Ids of units are turned into salted digests here, before anything else: below this room nobody sees one.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from abplatform.assignment import named_groups
from abplatform.domain.experiment import UNDER_WAY, Experiment
from abplatform.domain.sameness import say_the_same
from abplatform.domain.segment import Segment, SegmentRequest, seal_segment
from abplatform.errors import InUse, InvalidInput
from abplatform.services import publish
from abplatform.services.revise import apply_changes, claim
from abplatform.storage.segments import StoredSegment
from abplatform.storage.session import Work


def create_segment(work: Work, project: str, request: SegmentRequest, *, now: datetime) -> StoredSegment:
    """Make a segment, with a salt that nobody has chosen.

    Raises:
        InvalidInput: naming each field that is wrong.
        AlreadyExists: the project has a segment of that key.
        NotFound: there is no such project.
    """
    salt = secrets.token_hex(16)
    segment = seal_segment(request, salt=salt)
    work.projects.lock(project)
    stored = StoredSegment(segment=segment, salt=salt, created_at=now)
    work.segments.add(project, stored)
    return stored


def edit_segment(work: Work, project: str, key: str, changes: Mapping[str, Any], *, revision: int) -> StoredSegment:
    """Change the name of a segment, or replace its members whole; publish where that reaches evaluators.

    Changes that change nothing leave the revision as it is.

    Args:
        changes: new values of ``name``, and of ``values`` or ``unit_ids``.

    Raises:
        NotFound: there is no such segment.
        PreconditionFailed: it has another revision by now.
        InUse: the members would change under an experiment that is running, paused or closed; it is named.
        InvalidInput: naming each field that is wrong or fixed.
    """
    stored = claim(work, work.segments, project, key, revision=revision)
    segment = _apply(stored, changes)
    if say_the_same(segment, stored.segment):
        return stored
    is_moving = not say_the_same(replace(segment, name=""), replace(stored.segment, name=""))
    dependants = find_dependants(key, work.experiments.all(project)) if is_moving else ()
    _check_not_under_way(key, dependants)
    edited = replace(stored, segment=segment, revision=stored.revision + 1)
    work.segments.save(project, edited, expected_revision=revision)
    # What has shipped goes on serving the targeted units.
    if any(publish.is_published(each) for each in dependants):
        publish.publish_snapshot(work, project)
    return edited


def delete_segment(work: Work, project: str, key: str, *, revision: int) -> None:
    """Delete a segment that only archived experiments name, if any.

    Raises:
        NotFound: there is no such segment.
        PreconditionFailed: it has another revision by now.
        InUse: an experiment names it, now or in an earlier phase; the sentence says which.
    """
    claim(work, work.segments, project, key, revision=revision)
    for experiment in work.experiments.all(project):
        earlier = (phase.targeting for phase in experiment.past_phases)
        conditions = (experiment.definition.targeting, *earlier)
        if experiment.status != "archived" and any(key in named_groups(condition) for condition in conditions):
            raise InUse(f"{experiment.key} names the segment {key} in its targeting")
    work.segments.remove(project, key, expected_revision=revision)


def _apply(stored: StoredSegment, changes: Mapping[str, Any]) -> Segment:
    before = stored.segment
    if changes.get("kind", before.kind) != before.kind:
        raise InvalidInput({"kind": ["cannot be changed; make another segment"]})
    members = "values" if before.kind == "values" else "unit_ids"
    unchanged = SegmentRequest(key=before.key, name=before.name, kind=before.kind, **{members: ()})
    after = seal_segment(apply_changes(unchanged, changes), salt=stored.salt)
    return after if members in changes else replace(after, values=before.values, digests=before.digests)


def _check_not_under_way(key: str, dependants: Sequence[Experiment]) -> None:
    under_way = [each for each in dependants if each.status in UNDER_WAY]
    if under_way:
        raise InUse(
            f"{under_way[0].key} is {under_way[0].status} and depends on the segment {key}, so its units would move; "
            "make another segment and open a new phase with it"
        )


def find_dependants(key: str, experiments: Sequence[Experiment]) -> tuple[Experiment, ...]:
    """The experiments that evaluate differently with other members of a segment.

    Their targeting names it, or they have a prerequisite, directly or through others, whose targeting does.
    """
    found = {each.key for each in experiments if key in named_groups(each.definition.targeting)}
    size = 0
    while size < len(found):
        size = len(found)
        found |= {each.key for each in experiments if any(p.experiment in found for p in each.definition.prerequisites)}
    return tuple(each for each in experiments if each.key in found)
