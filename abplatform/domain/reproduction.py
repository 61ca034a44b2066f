"""Whether an aggregation agrees with an earlier one, number by number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal

from abplatform.domain.aggregates import Aggregation
from abplatform.domain.arm_cell import ArmCell

CLOSE = 1e-12
"""Relative: an engine adds doubles in whatever order its threads finish."""

_EXACT = frozenset({"units", "open_units", "nonzero", "clusters"})
# Products of deviations may cancel each other: what they are small against is the size of what was multiplied.
_FACTORS = {"before_c": ("m2", "before_m2"), "cluster_c_yd": ("cluster_m2_y", "cluster_m2_d")}
_NAMES = frozenset({"name", "variant", "slice"})

Value = int | float | Decimal | datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduced:
    """One number, as it was and as it is.

    Attributes:
        name: where it stands: ``exposed.control``, or ``purchase.control.m2`` of a metric (or covariate).
        was, now: None where there is no such number.
        agrees: counts, sums of metrics and times if they are equal, all else within 1e-12 relative.
    """

    name: str
    was: Value
    now: Value
    agrees: bool


def compare(was: Aggregation, now: Aggregation) -> tuple[Reproduced, ...]:
    """All numbers of two aggregations, those of the earlier one first, in its order."""
    before, after = dict(_numbers(was)), dict(_numbers(now))
    return tuple(_compare(name, before.get(name), after.get(name)) for name in before | after)


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
    place = ".".join(part for part in (cell.name, cell.variant, cell.slice) if part is not None)
    for field in fields(cell):
        value = getattr(cell, field.name)
        if field.name in _NAMES or value is None:
            continue
        exact = field.name in _EXACT or (field.name == "total" and exact_total)
        yield f"{place}.{field.name}", _Number(value, None if exact else _scale(cell, field.name, value))


def _scale(cell: ArmCell, name: str, value: float | Decimal) -> float:
    factors = [getattr(cell, factor) or 0.0 for factor in _FACTORS.get(name, ())]
    product = math.sqrt(factors[0]) * math.sqrt(factors[1]) if factors else 0.0
    return max(abs(float(value)), product)
