"""Edit a project: its name, and the time zone whose days its metrics count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from zoneinfo import available_timezones

from abplatform.domain.access import Project, check_project
from abplatform.errors import InUse, InvalidInput, PreconditionFailed
from abplatform.services.pin import pinned_metrics
from abplatform.storage.session import Work

EDITABLE = ("name", "time_zone")
_NO_PLACES = frozenset({"localtime", "Factory"})
"""Names that a computer may know, and that mean something else on the next one."""


def edit_project(work: Work, key: str, changes: Mapping[str, object], *, revision: int | None = None) -> Project:
    """Change the name or the time zone of a project.

    Changes that change nothing leave the revision as it is. The zone stays while results depend on it: those of
    experiments that have started and are not archived, and use a metric whose window counts calendar days.

    Args:
        work: the caller's transaction.
        key: of the project.
        changes: new values by field name.
        revision: the one that the caller has read; None to change whatever is there.

    Raises:
        NotFound: there is no such project.
        PreconditionFailed: it has another revision by now.
        InvalidInput: naming each field that is wrong or cannot be edited.
        InUse: results depend on the time zone; the sentence names an experiment and its metric.
    """
    before = work.projects.lock(key)
    if revision is not None and before.revision != revision:
        raise PreconditionFailed(f"the project {key} was changed by someone else; read it again")
    unknown = {name: ["is not a field that can be edited"] for name in changes if name not in EDITABLE}
    if unknown:
        raise InvalidInput(unknown)
    after = replace(before, **changes)  # type: ignore[arg-type]
    if after == before:
        return before
    check_project(after, known_time_zones())
    if after.time_zone != before.time_zone:
        _check_no_days_counted(work, before)
    after = replace(after, revision=before.revision + 1)
    work.projects.save(after, expected_revision=before.revision)
    return after


@cache
def known_time_zones() -> tuple[str, ...]:
    """Names of all time zones that this computer knows, in order."""
    return tuple(sorted(available_timezones() - _NO_PLACES))


def _check_no_days_counted(work: Work, project: Project) -> None:
    for experiment in work.experiments.looked_at(project.key):
        for metric in pinned_metrics(work, project.key, experiment.definition):
            if metric.window is not None and metric.window.calendar:
                raise InUse(
                    f"{experiment.key} has started, and its metric {metric.key} counts calendar days of "
                    f"{project.time_zone}; the time zone can be changed once it is archived"
                )
