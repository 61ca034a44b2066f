"""Make the next version of a metric: how one changes that experiments are judged by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from abplatform.domain.sameness import say_the_same
from abplatform.errors import Conflict, InvalidInput
from abplatform.services.define import check_among_metrics
from abplatform.services.revise import apply_changes, claim
from abplatform.storage.metrics import StoredMetric
from abplatform.storage.session import Work

MOST_VERSIONS = 100


def make_version(
    work: Work, project: str, key: str, changes: Mapping[str, object], *, revision: int, now: datetime
) -> StoredMetric:
    """Make the next version of a metric: the newest one with changes.

    Drafts, and experiments that start later, use it; those that have started keep theirs.

    Raises:
        NotFound: there is no such metric.
        PreconditionFailed: it has another revision by now.
        InvalidInput: naming each field that is wrong, or the body as a whole if it changes nothing.
        Conflict: it has had as many versions as there may be.
    """
    stored = claim(work, work.metrics, project, key, revision=revision)
    metric = apply_changes(stored.metric, changes)
    if say_the_same(metric, stored.metric):
        raise InvalidInput({"": [f"must change something: version {stored.version} of {key} says the same already"]})
    check_among_metrics(work, project, metric)
    if stored.version >= MOST_VERSIONS:
        raise Conflict(f"{key} has had {MOST_VERSIONS} versions, the most there may be; define another metric instead")
    following = replace(
        stored,
        metric=metric,
        revision=stored.revision + 1,
        version=stored.version + 1,
        version_created_at=now,
    )
    work.metrics.add_version(project, following, before=stored)
    return following
