"""Whether an aggregation agrees with an earlier one, number by number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from abplatform.domain.aggregates import Aggregation
from abplatform.domain.arm_cell import ArmCell

CLOSE = 1e-12
"""Relative: an engine adds doubles in whatever order its threads finish."""

# Products of deviations may cancel each other: what they are small against is the size of what was multiplied.
_FACTORS = {
    "before_c": ("m2", "before_m2"),
    "cluster_c_yd": ("cluster_m2_y", "cluster_m2_d"),
    "watch.cluster_c_yd": ("watch.cluster_m2_y", "watch.cluster_m2_d"),
    "denominator.product": ("m2", "denominator.m2"),
}
# So may cubes: they are small against those of the values themselves.
_CUBES = {"m3": ("mean", "m2"), "uncapped.m3": ("uncapped.total", "uncapped.m2")}
_NAMES = frozenset({"name", "variant", "slice"})

Value = int | float | Decimal | datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduced:
    """One number, as it was and as it is.

    Attributes:
        name: where it stands: ``exposed.control``, or ``purchase.control.m2`` of a metric (or covariate).
        was, now: None where there is no such number.
        agrees: counts, sums of metrics and times if they are equal, all else within 1e-12 of what it is made of. None
            where there is nothing to compare with: no cell of the earlier aggregation had that field, which came with
            a later version.
    """

    name: str
    was: Value
    now: Value
    agrees: bool | None


def compare(was: Aggregation, now: Aggregation) -> tuple[Reproduced, ...]:
    """All numbers of two aggregations, those of the earlier one first, in its order."""
    before, after = dict(_numbers(was)), dict(_numbers(now))
    unrecorded = _unrecorded(was, now)
    return tuple(
        Reproduced(name=name, was=None, now=after[name].value, agrees=None)
        if name in unrecorded
        else _compare(name, before.get(name), after.get(name))
        for name in before | after
    )


@dataclass(frozen=True, slots=True)
class _Number:
    """A number, and how large a difference between two of them may be: None for none."""

    value: Value
    scale: float | None = None


def _compare(name: str, was: _Number | None, now: _Number | None) -> Reproduced:
    before, after = None if was is None else was.value, None if now is None else now.value
    agrees = was is not None and now is not None and _agree(was, now)
    return Reproduced(name=name, was=before, now=after, agrees=agrees)


def _agree(was: _Number, now: _Number) -> bool:
    if was.value == now.value:
        return True
    if was.scale is None or now.scale is None:
        return False
    return abs(float(was.value) - float(now.value)) <= CLOSE * max(was.scale, now.scale)  # type: ignore[arg-type]


def _unrecorded(was: Aggregation, now: Aggregation) -> set[str]:
    """Names of numbers whose cell was there, while none of the cells had their field."""
    earlier = {_place(cell): {_field(name) for name, _ in _flat(cell)} for cell in (*was.cells, *was.covariates)}
    recorded = set[str]().union(*earlier.values())
    return {
        f"{_place(cell)}.{name}"
        for cell in (*now.cells, *now.covariates)
        if _place(cell) in earlier
        for name, _ in _flat(cell)
        if _field(name) not in recorded
    }


def _field(name: str) -> str:
    """A number's name without its position: ``below.mean_y`` of ``below.mean_y.3``."""
    path, _, position = name.rpartition(".")
    return path if position.isdecimal() else name


def _numbers(aggregation: Aggregation) -> Iterator[tuple[str, _Number]]:
    for field in fields(aggregation):
        value = getattr(aggregation, field.name)
        if isinstance(value, Mapping):
            yield from ((f"{field.name}.{key}", _Number(number)) for key, number in value.items())
        elif value is not None and not isinstance(value, tuple):
            yield field.name, _Number(value)
    for cell in aggregation.cells:
        yield from _cell_numbers(cell, exact_total=True)
    for cell in aggregation.covariates:
        yield from _cell_numbers(cell, exact_total=False)


def _cell_numbers(cell: ArmCell, *, exact_total: bool) -> Iterator[tuple[str, _Number]]:
    known = {name: value for name, value in _flat(cell) if name not in _NAMES}
    for name, value in known.items():
        exact = isinstance(value, int) or (isinstance(value, Decimal) and exact_total)
        yield f"{_place(cell)}.{name}", _Number(value, None if exact else _scale(known, name, value))


def _place(cell: ArmCell) -> str:
    return ".".join(part for part in (cell.name, cell.variant, cell.slice) if part is not None)


def _flat(part: object, path: str = "") -> Iterator[tuple[str, Any]]:
    """All values of a cell, those of its parts included: ``m2``, ``denominator.m2``, ``below.mean_y.3``."""
    if is_dataclass(part):
        for field in fields(part):
            yield from _flat(getattr(part, field.name), f"{path}.{field.name}" if path else field.name)
    elif isinstance(part, tuple):
        for index, each in enumerate(part):
            yield from _flat(each, f"{path}.{index}")
    elif part is not None:
        yield path, part


def _scale(known: Mapping[str, Any], name: str, value: float | Decimal) -> float:
    """What a number is small against."""
    one, other = (float(known.get(factor, 0)) for factor in _FACTORS.get(name, ("", "")))
    size: float = max(abs(float(value)), math.sqrt(one) * math.sqrt(other))
    if name in _CUBES:
        centre, m2 = (float(known.get(factor, 0)) for factor in _CUBES[name])
        units = float(known["units"])
        mean = centre / max(units, 1.0) if name == "uncapped.m3" else centre
        size = max(size, units * abs(mean) ** 3, m2**1.5)
    return size
