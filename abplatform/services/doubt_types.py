"""Doubt types of units that nobody counts by: pseudonyms of a mistyped one join with nothing."""

from __future__ import annotations

from collections.abc import Iterable

from abplatform.domain.suggestions import suggest
from abplatform.storage.session import UnitOfWork, Work


def doubt_types(uow: UnitOfWork, project: str, unit_types: Iterable[str]) -> tuple[str, ...]:
    """A sentence about each type that neither the project nor an experiment, layer or holdout of it knows.

    It may be right all the same: history often comes before the experiment that counts by it.

    Raises:
        NotFound: there is no such project.
    """
    with uow.reading() as work:
        known = _known(work, project)
    return tuple(
        f"nobody counts by {unit_type!r}{suggest(unit_type, sorted(known))}"
        for unit_type in unit_types
        if unit_type not in known
    )


def _known(work: Work, project: str) -> set[str]:
    definitions = [each.definition for each in work.experiments.all(project)]
    return {
        work.projects.get(project).unit_type,
        *(each.unit_type for each in definitions),
        *(each.analysis_unit for each in definitions if each.analysis_unit is not None),
        *(each.layer.unit_type for each in work.layers.all(project)),
        *(each.holdout.unit_type for each in work.holdouts.all(project)),
    }
