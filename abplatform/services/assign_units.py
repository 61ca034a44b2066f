"""Assign the units of a table: for each row what the product would get for that unit now, or in a past phase.

The answers are those of `abplatform.assignment.evaluate`. Memory does not grow with the table.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from abplatform.assignment import ExperimentRule, Reason, Snapshot, decode_snapshot
from abplatform.domain.phase import choose_phase
from abplatform.errors import Conflict, InvalidInput
from abplatform.services.evaluate_rows import Answers, Mask, Positions, Rows, evaluate_rows
from abplatform.services.match_rows import Matcher, check_types, conditions_of, needed_columns, text_attributes
from abplatform.services.publish import preview_snapshot, why_unpublished
from abplatform.services.read_table.source import Batch, Progress, is_parquet, read_batches, read_header
from abplatform.services.read_table.texts import as_text
from abplatform.storage.session import Work

SCHEMA = pa.schema(
    [
        ("unit_id", pa.string()),
        ("variant", pa.dictionary(pa.int32(), pa.string())),
        ("in_experiment", pa.bool_()),
        ("reason", pa.dictionary(pa.int32(), pa.string())),
        ("phase", pa.int32()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to evaluate an experiment.

    Attributes:
        experiment: its key.
        snapshot: holds it, in a form that this evaluator knows, and those that it needs.
        conditions: the targeting of these, by key.
        texts: of these, which attributes they compare with texts alone.
    """

    experiment: str
    snapshot: Snapshot
    conditions: Mapping[str, object]
    texts: Mapping[str, frozenset[str]]

    @property
    def rule(self) -> ExperimentRule:
        """The experiment's own rule."""
        rule = self.snapshot.experiments[self.experiment]
        if not isinstance(rule, ExperimentRule):
            raise TypeError(f"{self.experiment}: {rule.error}")
        return rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of units.

    Attributes:
        path: the file.
        units: which column holds the ids of which unit type.
        attributes: the columns that hold attributes.
        missing: attributes that targeting names and that no column holds.
    """

    path: Path
    units: Mapping[str, str]
    attributes: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Assigned:
    """Some consecutive rows: the ids as text, null where there was none, and what each gets."""

    units: pa.Array
    answers: Answers

    def as_batch(self) -> pa.RecordBatch:
        """The rows with the columns of `SCHEMA`."""
        answers, codes = self.answers.possible, self.answers.codes
        without = np.array([answer.variant is None for answer in answers])[codes]
        variants = pa.array([answer.variant or "" for answer in answers], pa.string())
        assigned = pa.array([answer.reason == Reason.ASSIGNED for answer in answers])
        columns = [
            self.units.cast(pa.string()),
            pa.DictionaryArray.from_arrays(pa.array(codes, mask=without), variants),
            assigned.take(pa.array(codes)),
            pa.DictionaryArray.from_arrays(codes, pa.array([answer.reason for answer in answers], pa.string())),
            pa.array([answer.phase for answer in answers], pa.int32()).take(pa.array(codes)),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def plan_assignment(work: Work, project: str, key: str, *, phase: int | None = None) -> Plan:
    """What evaluating an experiment needs, as it stands now; in a past phase, as it was while that one ran.

    Raises:
        NotFound: there is no such experiment.
        Conflict: it is a draft, archived, drawn elsewhere, or not to be evaluated.
        InvalidInput: it never had such a phase.
    """
    experiment = work.experiments.get(project, key)
    unpublished = why_unpublished(experiment)
    is_over = experiment.status == "archived" and experiment.definition.assignment == "served"
    if unpublished is not None and not is_over:
        raise Conflict(unpublished)
    then = choose_phase(experiment, phase)
    if then.phase != experiment.phase:
        then = replace(then, status="running", shipped=None)  # as it was while that phase ran
    elif unpublished is not None:
        raise Conflict(f"{unpublished}; name a past phase with --phase")
    document = json.loads(preview_snapshot(work, project, then))
    snapshot = decode_snapshot(document)
    rule = snapshot.experiments[key]
    if not isinstance(rule, ExperimentRule):
        raise Conflict(f"{key} cannot be evaluated: {rule.error}")
    conditions = conditions_of(document, snapshot, key)
    groups = document.get("groups", {})
    texts = {name: text_attributes(condition, groups) for name, condition in conditions.items()}
    return Plan(experiment=key, snapshot=snapshot, conditions=conditions, texts=texts)


def open_table(plan: Plan, path: Path, unit_column: str) -> Table:
    """Find the columns that a plan needs; the ids of other unit types stand in columns of their names.

    Raises:
        InvalidInput: the file cannot be read, or has no such column.
    """
    present = read_header(path, [unit_column])
    rules = [rule for key in plan.conditions if isinstance(rule := plan.snapshot.experiments[key], ExperimentRule)]
    read = {name for rule in rules for name in rule.paths}
    randomised = {rule.unit_type for rule in rules}
    types = randomised | {plan.snapshot.unit_type}
    units = {type_: type_ for type_ in types if type_ in present} | {plan.rule.unit_type: unit_column}
    attributes, missing = needed_columns(read - types, present)
    lost = sorted((randomised | (read & types)) - units.keys())
    return Table(path=path, units=units, attributes=tuple(attributes), missing=(*missing, *lost))


def assign_units(plan: Plan, table: Table, *, progress: Progress | None = None) -> Iterator[Assigned]:
    """The rows of a table in their order, batch by batch, each with what its unit gets.

    Args:
        progress: is called with the share of the file that has been read, from 0 to 1.

    Raises:
        InvalidInput: the table cannot be read, a row cannot be split into columns, or an id is no UTF-8.
    """
    typed = is_parquet(table.path)
    matchers = {
        key: Matcher(rule.targeting, None if typed else {*plan.texts[key], *table.units})
        for key in plan.conditions
        if isinstance(rule := plan.snapshot.experiments[key], ExperimentRule) and rule.targeting is not None
    }
    columns = list(dict.fromkeys((*table.units.values(), *table.attributes)))
    for batch in read_batches(table.path, columns, nested=set(table.attributes), progress=progress):
        rows = _rows(plan, table, batch, matchers)
        yield Assigned(rows.units[plan.rule.unit_type], evaluate_rows(plan.snapshot, plan.experiment, rows))


def read_texts(batch: Batch, column: str) -> pa.Array:
    """A column as text, null where it is empty.

    Raises:
        InvalidInput: a row could not be split into columns (left out, its unit would silently get nothing), or a text
            is no UTF-8.
    """
    for fault in batch.faults:
        raise InvalidInput({"file": [f"row {fault.row} {fault.detail}"]})
    texts, unreadable = as_text(batch.columns[column])
    if unreadable.any():
        row = int(batch.numbers[unreadable.argmax()])
        raise InvalidInput({"file": [f"row {row}: {column!r} is not valid UTF-8; save the table as UTF-8"]})
    return texts


def _paths(snapshot: Snapshot, key: str) -> Iterable[str]:
    rule = snapshot.experiments.get(key)
    return rule.paths if isinstance(rule, ExperimentRule) else ()


def _rows(plan: Plan, table: Table, batch: Batch, matchers: Mapping[str, Matcher]) -> Rows:
    units = {type_: read_texts(batch, column) for type_, column in table.units.items()}
    values = {name: _values(table, batch, name) for name in table.attributes}
    check_types((name, column.type) for name, column in values.items())
    # An id of the call is an attribute too, and wins over one of its name; where there is none, it is missing.
    values |= units

    def matches(experiment: str, positions: Positions) -> Mask:
        needed, _ = needed_columns(_paths(plan.snapshot, experiment), list(values))
        chosen = None if len(positions) == len(batch.numbers) else pa.array(positions)
        columns = {name: values[name] if chosen is None else values[name].take(chosen) for name in needed}
        return matchers[experiment].match(columns, len(positions))

    return Rows(len(batch.numbers), units, matches)


def _values(table: Table, batch: Batch, column: str) -> pa.Array:
    return batch.columns[column] if is_parquet(table.path) else read_texts(batch, column)
