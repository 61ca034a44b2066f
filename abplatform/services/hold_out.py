"""Hold units out of experiments.

Who is held out is fixed when a holdout is made. It covers the experiments that start while it is active, never
those that were running before: units that have met a variant already are no untouched comparison.

Making, ending and deleting one publish the next snapshot, in the same transaction, so that whoever remembers a version
knows when what it remembers is no longer so.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import datetime

from abplatform.domain.holdout import EDITABLE, MOST_ACTIVE, Holdout, check_holdout
from abplatform.domain.layer import Layer
from abplatform.errors import Conflict, InUse, InvalidInput
from abplatform.services.publish import publish_snapshot
from abplatform.services.revise import apply_changes, claim
from abplatform.storage.holdouts import StoredHoldout
from abplatform.storage.session import Work


def create_holdout(work: Work, project: str, holdout: Holdout, *, now: datetime) -> StoredHoldout:
    """Make a holdout, with a salt that nobody has chosen, and publish the next snapshot.

    Raises:
        InvalidInput: naming each field that is wrong.
        AlreadyExists: the project has a holdout of that key.
        Conflict: 20 holdouts are active.
        NotFound: there is no such project.
    """
    work.projects.lock(project)
    check_holdout(holdout, layers=_layers(work, project))
    stored = StoredHoldout(holdout=holdout, salt=secrets.token_hex(16), created_at=now)
    active = [each for each in work.holdouts.all(project) if each.ended_at is None and each.key != stored.key]
    if len(active) >= MOST_ACTIVE:
        raise Conflict(f"{MOST_ACTIVE} holdouts are active, which is the most a project may have; end one first")
    work.holdouts.add(project, stored)
    publish_snapshot(work, project)
    return stored


def edit_holdout(work: Work, project: str, key: str, changes: Mapping[str, object], *, revision: int) -> StoredHoldout:
    """Change the name of a holdout; all else was fixed when it was made.

    Changes that change nothing leave the revision as it is.

    Raises:
        NotFound: there is no such holdout.
        PreconditionFailed: it has another revision by now.
        InvalidInput: naming each field that is wrong or fixed.
    """
    stored = claim(work, work.holdouts, project, key, revision=revision)
    holdout = apply_changes(stored.holdout, changes)
    if holdout == stored.holdout:
        return stored
    _check_fixed(stored.holdout, holdout)
    check_holdout(holdout, layers=_layers(work, project))
    edited = replace(stored, holdout=holdout, revision=stored.revision + 1)
    work.holdouts.save(project, edited, expected_revision=revision)
    return edited


def end_holdout(work: Work, project: str, key: str, *, now: datetime, revision: int | None = None) -> StoredHoldout:
    """End a holdout for good, and publish the next snapshot.

    The units that it held out enter what they are eligible for from then on.

    Args:
        revision: the one that the caller has read; None to end whatever is there.

    Raises:
        NotFound: there is no such holdout.
        PreconditionFailed: it has another revision by now.
        Conflict: it has ended already.
    """
    stored = claim(work, work.holdouts, project, key, revision=revision)
    if stored.ended_at is not None:
        raise Conflict(f"the holdout {key} has ended already")
    ended = replace(stored, ended_at=now, revision=stored.revision + 1)
    work.holdouts.save(project, ended, expected_revision=stored.revision)
    publish_snapshot(work, project)
    return ended


def delete_holdout(work: Work, project: str, key: str, *, revision: int) -> None:
    """Delete a holdout that has never held anybody out, and publish the next snapshot.

    Raises:
        NotFound: there is no such holdout.
        PreconditionFailed: it has another revision by now.
        InUse: an experiment has started under it; the sentence names it.
    """
    claim(work, work.holdouts, project, key, revision=revision)
    covered = [experiment.key for experiment in work.experiments.all(project) if key in experiment.holdouts]
    if covered:
        raise InUse(f"{covered[0]} has started under the holdout {key}, so it stays; it can be ended")
    work.holdouts.remove(project, key, expected_revision=revision)
    publish_snapshot(work, project)


def _layers(work: Work, project: str) -> dict[str, Layer]:
    return {stored.key: stored.layer for stored in work.layers.all(project)}


def _check_fixed(before: Holdout, after: Holdout) -> None:
    changed = {field.name for field in fields(Holdout) if getattr(before, field.name) != getattr(after, field.name)}
    rule = "cannot be changed: units would move in or out of the holdout; make another one"
    errors = {name: [rule] for name in sorted(changed - EDITABLE)}
    if errors:
        raise InvalidInput(errors)
