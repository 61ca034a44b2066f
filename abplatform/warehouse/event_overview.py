"""Which events and properties the lake has of those that metrics read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import ibis
import ibis.expr.types as ir

from abplatform.assignment.targeting import LISTS
from abplatform.domain.metric import Filter, Measure, Metric
from abplatform.domain.property_filter import ORDERINGS, normalise_filter
from abplatform.warehouse.catalog import lake_answers
from abplatform.warehouse.duck import open_spilling_duckdb
from abplatform.warehouse.filters import meets
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.manifests import LakeFile
from abplatform.warehouse.missing import files_are_there
from abplatform.warehouse.times import moment
from abplatform.warehouse.wanted import parts_of

_NUMBER = "decimal(20, 6)"
_ROWS_AT_ONCE = 5_000_000
_NUMBERLESS = {"conversion", "count"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one part of a metric reads.

    Attributes:
        event: name of the conversion events.
        where: condition on their properties.
        number: whether it reads a number of each event.
        value: the property that holds that number; None for the event's own value.
    """

    event: str
    where: Filter = field(default_factory=dict)
    number: bool = False
    value: str | None = None

    @property
    def properties(self) -> Mapping[str, bool]:
        """Names of the properties that it reads, and whether each must be a number."""
        found = dict(_properties(normalise_filter(self.where)))
        return found if self.value is None else found | {self.value: True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the lake has for a need.

    Attributes:
        events: of that name.
        last: the time of the latest; None without any.
        matching: those of them that meet the condition.
        numbers: matching ones that have the number that is read; of a need without one, 0.
        properties: events of that name that have a property, by its name.
        numeric: those of them where it is a number.
    """

    events: int = 0
    last: datetime | None = None
    matching: int = 0
    numbers: int = 0
    properties: Mapping[str, int]
    numeric: Mapping[str, int]


def find_needs(metric: Metric) -> tuple[Need, ...]:
    """What a metric reads, in the order of its parts, each once."""
    needs: list[Need] = []
    for part in parts_of(metric):
        number = isinstance(part, Measure) and metric.kind != "time_to" and part.aggregation not in _NUMBERLESS
        value = part.value if number and isinstance(part, Measure) else None
        need = Need(event=part.event, where=part.where, number=number, value=value)
        if need not in needs:
            needs.append(need)
    return tuple(needs)


def count_events(
    lake: Lake,
    project: str,
    needs: Sequence[Need],
    *,
    since: datetime,
    memory_limit: str = "2GB",
    progress: Callable[[float], None] = lambda _share: None,
) -> tuple[Seen, ...]:
    """Count the events of a project for each need.

    Args:
        lake: holds the events.
        project: key of the project.
        needs: see `find_needs`.
        since: earlier events do not count.
        memory_limit: what may be used before it spills to disk.
        progress: told the share of the events that have been read, from 0 to 1.

    Raises:
        Unavailable: if the catalog or the storage does not answer, or files are missing.
    """
    files = [file for file in lake.files(project, "conversion") if file.day >= since.date()]
    total, done = sum(file.rows for file in files), 0
    rows: list[dict[str, Any]] = []
    with files_are_there(), lake_answers(), open_spilling_duckdb(memory_limit) as connection:
        backend = ibis.duckdb.from_connection(connection)
        for group in _groups(files) if needs else ():
            paths = [file.path for file in group]
            # By name: files from before a column lack it.
            table = backend.read_parquet(paths, hive_partitioning=False, union_by_name=True)
            rows += _count(table.filter(table.timestamp >= moment(since)), needs).to_pyarrow().to_pylist()
            done += sum(file.rows for file in group)
            progress(done / total)
    return tuple(_sum_up(need, [row for row in rows if row["event"] == need.event], needs) for need in needs)


def _groups(files: Sequence[LakeFile]) -> Iterator[list[LakeFile]]:
    """Files that are read together."""
    group: list[LakeFile] = []
    for file in files:
        if group and sum(each.rows for each in (*group, file)) > _ROWS_AT_ONCE:
            yield group
            group = []
        group.append(file)
    if group:
        yield group


def _count(conversions: ir.Table, needs: Sequence[Need]) -> ir.Table:
    """``event, events, last`` and counts by property (``p0, d0``) and by need (``m0, n0``)."""
    wanted = conversions.filter(conversions.event.isin(sorted({need.event for need in needs})))
    counts: dict[str, ir.Value] = {"events": wanted.count(), "last": wanted.timestamp.max()}
    for position, name in enumerate(_names(needs)):
        text = wanted.properties.get(name)
        counts[f"p{position}"] = wanted.count(where=text.notnull())
        counts[f"d{position}"] = wanted.count(where=text.try_cast(_NUMBER).notnull())
    for condition, value, position in _distinct(needs):
        matching = meets(wanted.properties, condition) if condition else ibis.literal(True)
        number = wanted.value if value is None else wanted.properties.get(value).try_cast(_NUMBER)
        counts[f"m{position}"] = wanted.count(where=matching)
        counts[f"n{position}"] = wanted.count(where=matching & number.notnull())
    return wanted.group_by("event").aggregate(**counts)


def _sum_up(need: Need, rows: Sequence[Mapping[str, Any]], needs: Sequence[Need]) -> Seen:
    names = {name: position for position, name in enumerate(_names(needs))}
    position = _positions(needs)[_condition(need)]

    def total(column: str) -> int:
        return sum(int(row[column]) for row in rows)

    return Seen(
        events=total("events"),
        last=max((row["last"] for row in rows), default=None),
        matching=total(f"m{position}"),
        numbers=total(f"n{position}") if need.number else 0,
        properties={name: total(f"p{names[name]}") for name in need.properties},
        numeric={name: total(f"d{names[name]}") for name in need.properties},
    )


def _names(needs: Sequence[Need]) -> list[str]:
    return sorted({name for need in needs for name in need.properties})


def _distinct(needs: Sequence[Need]) -> list[tuple[Filter, str | None, int]]:
    """Conditions and numbers, with the position of their columns; needs that ask the same share one."""
    found = {_condition(need): need for need in reversed(needs)}
    return [(found[key].where, found[key].value, position) for key, position in _positions(needs).items()]


def _positions(needs: Sequence[Need]) -> dict[tuple[str, str | None], int]:
    return {key: position for position, key in enumerate(dict.fromkeys(map(_condition, needs)))}


def _condition(need: Need) -> tuple[str, str | None]:
    return json.dumps(need.where, sort_keys=True), need.value


def _properties(condition: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """The properties that a normal filter asks for, and whether each is ordered among numbers.

    One that is only asked to be absent is no need.
    """
    for name, item in condition.items():
        if name in LISTS:
            for each in item:
                yield from _properties(each)
        elif name == "$not":
            yield from _properties(item)
        elif item not in (None, {"$exists": False}):
            yield (
                name,
                isinstance(item, Mapping)
                and any(operator in ORDERINGS and not isinstance(operand, str) for operator, operand in item.items()),
            )
