"""Make behaviours, and the next versions of them; what a version says never changes.

Edges by quantile are found first, outside the transaction, since that may take minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from abplatform.domain.behaviour import Behaviour, pin_edges
from abplatform.domain.behaviour_check import check_behaviour
from abplatform.domain.dimension import split_version
from abplatform.domain.sameness import say_the_same
from abplatform.errors import Conflict, InUse, InvalidInput
from abplatform.services.make_version import MOST_VERSIONS
from abplatform.services.pin_edges import Past, find_edges
from abplatform.services.revise import apply_changes, claim
from abplatform.storage.behaviours import StoredBehaviour
from abplatform.storage.session import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A version that is not made yet.

    Attributes:
        behaviour: with the edges that its quantiles came to.
        as_of: when they were found.
        before: the newest version then; None of the first.
    """

    behaviour: Behaviour
    as_of: datetime
    before: StoredBehaviour | None = None


def draft_behaviour(past: Past, project: str, behaviour: Behaviour, *, now: datetime) -> Draft:
    """Check a behaviour and find its edges.

    Raises:
        InvalidInput: naming each field that is wrong, or what too few units are there to cut.
        Unavailable: see `pin_edges.find_edges`.
    """
    check_behaviour(behaviour)
    return Draft(behaviour=find_edges(past, project, behaviour, now=now), as_of=now)


def draft_version(past: Past, project: str, key: str, changes: Mapping[str, object], *, now: datetime) -> Draft:
    """Check the newest version of a behaviour with changes, and find its edges as of now.

    Raises:
        NotFound: there is no such behaviour.
        InvalidInput, Unavailable: see `draft_behaviour`.
    """
    with past.uow.reading() as work:
        before = work.behaviours.get(project, key)
    changed = apply_changes(pin_edges(before.behaviour, {}), changes)
    return replace(draft_behaviour(past, project, changed, now=now), before=before)


def create_behaviour(work: Work, project: str, draft: Draft) -> StoredBehaviour:
    """Make a behaviour, in version 1.

    Raises:
        AlreadyExists: the project has a behaviour of that key.
        InUse: an experiment that has started slices by an attribute of that name, whose results would change.
        NotFound: there is no such project.
    """
    work.projects.lock(project)
    key = draft.behaviour.key
    if work.behaviours.find(project, key) is None:
        _check_free(work, project, key)
    stored = StoredBehaviour(behaviour=draft.behaviour, as_of=draft.as_of, created_at=draft.as_of)
    work.behaviours.add(project, stored)
    return stored


def add_behaviour_version(work: Work, project: str, draft: Draft, *, revision: int) -> StoredBehaviour:
    """Make the next version of a behaviour; earlier ones stay as they are.

    The same definition with quantiles gives another version too: of other edges.

    Args:
        work: the caller's transaction.
        project: key of the project.
        draft: see `draft_version`.
        revision: the one that the caller has read.

    Raises:
        PreconditionFailed: it has another revision by now, or had when the edges were found.
        InvalidInput: nothing changes, and nothing is cut at quantiles.
        Conflict: it has had as many versions as there may be.
    """
    key = draft.behaviour.key
    if draft.before is not None:
        claim(work, work.behaviours, project, key, revision=draft.before.revision)
    stored = claim(work, work.behaviours, project, key, revision=revision)
    if say_the_same(draft.behaviour, stored.behaviour) and not draft.behaviour.quantiles:
        raise InvalidInput({"": [f"must change something: version {stored.version} of {key} says the same already"]})
    if stored.version >= MOST_VERSIONS:
        raise Conflict(f"{key} has had {MOST_VERSIONS} versions, the most there may be; define another one instead")
    following = replace(
        stored,
        behaviour=draft.behaviour,
        as_of=draft.as_of,
        revision=stored.revision + 1,
        version=stored.version + 1,
    )
    work.behaviours.add_version(project, following, before=stored)
    return following


def make_behaviour(past: Past, project: str, behaviour: Behaviour, *, now: datetime) -> StoredBehaviour:
    """Make a behaviour or, where the project has one of its key, the next version of that, whole.

    Raises:
        InvalidInput, Unavailable, InUse, Conflict, PreconditionFailed: see the functions of the two.
    """
    draft = draft_behaviour(past, project, behaviour, now=now)
    with past.uow.begin() as work:
        before = work.behaviours.find(project, behaviour.key)
        if before is None:
            return create_behaviour(work, project, draft)
        return add_behaviour_version(work, project, draft, revision=before.revision)


def _check_free(work: Work, project: str, key: str) -> None:
    for experiment in work.experiments.all(project):
        names = {split_version(name)[0] for name in experiment.definition.dimensions}
        if experiment.status != "draft" and key in names:
            raise InUse(
                f"{experiment.key} has started and slices by an exposure attribute {key}, which would become another "
                "thing; choose another key"
            )
