"""Force variants on test accounts, so that people can see each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from abplatform.assignment import unit_digest
from abplatform.domain.checks import Faults, storable
from abplatform.domain.events import LONGEST_ID
from abplatform.domain.experiment import Experiment, ExperimentDefinition
from abplatform.errors import Conflict
from abplatform.services.publish import is_published, publish_snapshot
from abplatform.services.revise import claim
from abplatform.storage.session import Work

MOST_FORCED = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Force:
    """One test account and what it gets.

    Attributes:
        unit_id: as the product sends it, of the experiment's unit type; only its digest is ever stored.
        variant: key of a variant; None lets the unit go.
    """

    unit_id: str
    variant: str | None


def force_variants(
    work: Work, project: str, key: str, units: Sequence[Force], *, revision: int | None = None
) -> Experiment:
    """Add units to the forced ones of an experiment, or let them go, and publish that if it is served now.

    The same request a second time changes nothing, not even the revision. Refusals name units by their place, never by
    their id.

    Args:
        revision: the one that the caller has read; None to change whatever is there.

    Raises:
        NotFound: there is no such experiment.
        PreconditionFailed: it has another revision by now.
        Conflict: it is archived, or its variants are drawn elsewhere.
        InvalidInput: naming each field that is wrong, or ``units`` if more than 200 would be kept.
    """
    before = claim(work, work.experiments, project, key, revision=revision)
    if before.status == "archived" or before.definition.assignment == "external":
        why = "is archived" if before.status == "archived" else "has external assignment"
        raise Conflict(f"{key} {why}, so there is nothing here to force")
    forced = _apply(before, units)
    if forced == before.forced:
        return before
    after = replace(before, forced=forced, revision=before.revision + 1)
    work.experiments.save(project, after, expected_revision=before.revision)
    if is_published(after):
        publish_snapshot(work, project)
    return after


def _apply(experiment: Experiment, units: Sequence[Force]) -> dict[str, str]:
    faults = Faults()
    faults.check(0 < len(units) <= MOST_FORCED, "units", f"must be 1 to {MOST_FORCED} units")
    faults.raise_any()
    _check_units(units, experiment.definition, faults)
    faults.raise_any()
    forced = dict(experiment.forced)
    for unit in units:
        digest = unit_digest(experiment.salt, unit.unit_id)
        if unit.variant is None:
            forced.pop(digest, None)
        else:
            forced[digest] = unit.variant
    rule = f"would make {len(forced)} forced units; at most {MOST_FORCED} are kept: they are for test accounts"
    faults.check(len(forced) <= MOST_FORCED, "units", rule)
    faults.raise_any()
    return forced


def _check_units(units: Sequence[Force], definition: ExperimentDefinition, faults: Faults) -> None:
    known = {variant.key for variant in definition.variants}
    seen: set[str] = set()
    for index, unit in enumerate(units):
        path = f"units.{index}"
        good = 0 < len(unit.unit_id) <= LONGEST_ID and storable(unit.unit_id)
        faults.check(good, f"{path}.unit_id", f"must be 1 to {LONGEST_ID} characters of valid text without NUL")
        faults.check(unit.unit_id not in seen, f"{path}.unit_id", "stands here more than once")
        seen.add(unit.unit_id)
        named = unit.variant is None or unit.variant in known
        faults.check(named, f"{path}.variant", f"must be one of {', '.join(sorted(known))}, or null")
