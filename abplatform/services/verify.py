"""Derive anew what the units of an experiment were drawn, from its salts, weights and slots, to compare with exposures.

Only draws are repeated: targeting and prerequisites hang on attributes, and forced units are exposed to nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from abplatform.assignment import ExperimentRule, decode_snapshot
from abplatform.domain.events import NOT_DRAWN
from abplatform.domain.experiment import Experiment
from abplatform.domain.phase import choose_phase
from abplatform.domain.pseudonym import pseudonymise
from abplatform.errors import Conflict
from abplatform.services.assign_units import read_texts
from abplatform.services.evaluate_rows import inside
from abplatform.services.publish import preview_snapshot
from abplatform.services.read_table.source import Progress, read_batches
from abplatform.storage.session import Work
from abplatform.warehouse.audit import Audit, UnitCounts
from abplatform.warehouse.buckets import draw_buckets
from abplatform.warehouse.draws import DrawnExperiment, draw_query


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """The draws of one phase of an experiment.

    Attributes:
        experiment: as it was in that phase.
        rule: what evaluators know of it.
    """

    experiment: Experiment
    rule: ExperimentRule

    def draw(self, units: pa.Array) -> pa.Array:
        """The variant of each unit, `NOT_DRAWN` for those that are held out or outside the slots."""
        bounds = [variant.high for variant in self.rule.variants]
        places = np.searchsorted(bounds, draw_buckets(self.rule.draws.variant_prefix, units), "right")
        out = np.zeros(len(units), dtype=np.bool_)
        if self.rule.draws.edges is not None:
            out |= ~inside(self.rule.draws.edges, draw_buckets(self.rule.draws.layer_prefix, units))
        for holdout in self.rule.holdouts:
            drawn = draw_buckets(holdout.prefix, units)
            out |= (drawn >= holdout.low) & (drawn < holdout.high)
        keys = pa.array([*(variant.key for variant in self.rule.variants), NOT_DRAWN], pa.string())
        return keys.take(pa.array(np.where(out, len(self.rule.variants), places)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedUnits:
    """What became of a table of units.

    Attributes:
        rows: how many it has.
        without_id: rows whose id is empty or null.
        counts: exposed units against those of the table.
    """

    rows: int
    without_id: int
    counts: UnitCounts


def read_phase(work: Work, project: str, key: str, *, phase: int | None = None) -> Experiment:
    """An experiment that has started, in one of its phases; by default the current one.

    Raises:
        NotFound: there is no such experiment.
        Conflict: it is a draft.
        InvalidInput: it never had such a phase.
    """
    experiment = work.experiments.get(project, key)
    if experiment.status == "draft":
        raise Conflict(f"{key} is a draft: nobody was drawn yet")
    return choose_phase(experiment, phase)


def read_drawing(work: Work, project: str, experiment: Experiment) -> Drawing:
    """The draws of an experiment as `read_phase` gives it.

    Raises:
        Conflict: it is drawn elsewhere.
    """
    if experiment.definition.assignment == "external":
        raise Conflict(f"{experiment.key} has external assignment: its variants were not drawn here")
    running = replace(experiment, status="running", shipped=None)
    rule = decode_snapshot(preview_snapshot(work, project, running)).experiments[experiment.key]
    if not isinstance(rule, ExperimentRule):
        raise Conflict(f"{experiment.key} cannot be evaluated: {rule.error}")
    return Drawing(experiment=experiment, rule=rule)


def compare_units(
    audit: Audit, drawing: Drawing, path: Path, unit_column: str, *, secret: bytes, progress: Progress | None = None
) -> ListedUnits:
    """Compare a table's raw ids with the exposures, which know pseudonyms only.

    Args:
        audit: of the exposures of the same experiment and phase.
        path: CSV or Parquet.
        unit_column: holds ids of the unit type that is randomised.
        secret: the key of the pseudonyms.
        progress: is called with the share of the file that has been read, from 0 to 1.

    Raises:
        InvalidInput: the table cannot be read, or lacks the column.
    """
    rows = without_id = 0
    for units, pseudonyms in _pseudonyms(drawing, path, unit_column, secret=secret, progress=progress):
        rows += len(units)
        known = units.drop_null()
        without_id += len(units) - len(known)
        audit.add_drawn(pseudonyms, drawing.draw(known))
    return ListedUnits(rows=rows, without_id=without_id, counts=audit.compare())


def find_units(
    drawing: Drawing, path: Path, unit_column: str, pseudonyms: Collection[str], *, secret: bytes
) -> dict[str, str]:
    """The raw ids behind some pseudonyms, from the table that holds them; errors as for `compare_units`."""
    found: dict[str, str] = {}
    for units, hidden in _pseudonyms(drawing, path, unit_column, secret=secret):
        known = units.drop_null().to_pylist()
        found |= {name: unit for name, unit in zip(hidden, known, strict=True) if name in pseudonyms}
        if len(found) == len(pseudonyms):
            break
    return found


def print_query(drawing: Drawing, engine: str) -> str:
    """The draws as SQL of an engine, with a word on what they leave out; see `draws.draw_query`."""
    experiment, rule = drawing.experiment, drawing.rule
    query = draw_query(
        engine,
        DrawnExperiment(
            layer_salt=experiment.layer_salt,
            slots=experiment.slots,
            variant_salt=experiment.phase_salt,
            variants=[(variant.key, (variant.low, variant.high)) for variant in rule.variants],
        ),
    )
    lines = [
        f"-- {experiment.key}, phase {experiment.phase}, in {engine}.",
        f"-- units(unit_id): text, the ids as they are, of the type {rule.unit_type}.",
        f"-- Not in here, though it comes before the draws: {', '.join(_left_out(rule)) or 'nothing'}.",
    ]
    return "\n".join([*lines, query])


def _left_out(rule: ExperimentRule) -> list[str]:
    named = {
        "the QA list": rule.forced is not None,
        "targeting": rule.targeting is not None,
        "prerequisites": bool(rule.prerequisites),
    }
    return [
        *(f"the holdout {holdout.key}" for holdout in rule.holdouts),
        *(name for name, is_there in named.items() if is_there),
    ]


def _pseudonyms(
    drawing: Drawing, path: Path, unit_column: str, *, secret: bytes, progress: Progress | None = None
) -> Iterator[tuple[pa.Array, list[str]]]:
    """The ids of each batch, null where there is none, and the pseudonyms of those that are there."""
    unit_type = drawing.rule.unit_type
    for batch in read_batches(path, [unit_column], progress=progress):
        units = read_texts(batch, unit_column)
        yield units, [pseudonymise(secret, unit_type, unit) for unit in units.drop_null().to_pylist()]
