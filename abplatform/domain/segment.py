"""A segment: a list of values or of units, kept once, that targeting names as a group."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from abplatform.assignment import unit_digest
from abplatform.domain.checks import Faults, is_number, storable
from abplatform.domain.events import LONGEST_ID
from abplatform.domain.metric import Scalar

SegmentKind = Literal["values", "units"]

SEGMENT_KINDS = ("values", "units")
MOST_MEMBERS = 50_000
LONGEST_VALUE = 256
MOST_NAMED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRequest:
    """What the author of a segment sends. It is never stored: it may hold raw ids of units.

    Attributes:
        key: name in this project.
        kind: what its members are.
        values: members of the kind ``values``; None if the request does not say.
        unit_ids: members of the kind ``units``; None if the request does not say.
    """

    key: str
    name: str
    kind: SegmentKind
    values: tuple[object, ...] | None = None
    unit_ids: tuple[object, ...] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A segment as the platform keeps it.

    Attributes:
        values: distinct members of the kind ``values``, in the order in which they were sent.
        digests: members of the kind ``units``: their `unit_digest` under the segment's salt, in ascending order.
    """

    key: str
    name: str
    kind: SegmentKind
    values: tuple[Scalar, ...] = ()
    digests: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many members it has."""
        return len(self.values) + len(self.digests)


def seal_segment(request: SegmentRequest, *, salt: str) -> Segment:
    """Check a request, and turn its ids into digests.

    Members that stand in it twice count once.

    Args:
        salt: the segment's own.

    Raises:
        InvalidInput: naming each field; of wrong members the first 20, by their place and never by what they are.
    """
    faults = Faults()
    faults.key(request.key, "key")
    faults.text(request.name, "name", most=200, least=1)
    faults.check(request.kind in SEGMENT_KINDS, "kind", "must be values or units")
    _check_lists(request, faults)
    faults.raise_any()
    values, unit_ids = request.values or (), request.unit_ids or ()
    return Segment(
        key=request.key,
        name=request.name,
        kind=request.kind,
        values=_distinct(value for value in values if isinstance(value, (str, int, float))),
        digests=tuple(sorted({unit_digest(salt, unit) for unit in unit_ids if isinstance(unit, str)})),
    )


def _check_lists(request: SegmentRequest, faults: Faults) -> None:
    for kind, path, members in (("values", "values", request.values), ("units", "unit_ids", request.unit_ids)):
        if request.kind not in SEGMENT_KINDS:
            return
        if request.kind != kind:
            faults.check(members is None, path, f"belongs to segments of the kind {kind} only")
        elif faults.check(members is not None, path, "is required") and members is not None:
            _check_members(members, path, faults)


def _check_members(members: tuple[object, ...], path: str, faults: Faults) -> None:
    if not faults.check(len(members) <= MOST_MEMBERS, path, f"must be at most {MOST_MEMBERS}"):
        return
    is_good, rule = (_is_value, _VALUE_RULE) if path == "values" else (_is_unit_id, _UNIT_RULE)
    wrong = (index for index, member in enumerate(members) if not is_good(member))
    for index, _ in zip(wrong, range(MOST_NAMED), strict=False):
        faults.add(f"{path}.{index}", rule)


def _is_value(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= LONGEST_VALUE and storable(value)
    return isinstance(value, bool) or is_number(value)


def _is_unit_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_ID and storable(value)


_VALUE_RULE = f"must be a text of at most {LONGEST_VALUE} characters without NUL, a finite number or a boolean"
_UNIT_RULE = f"must be a text of 1 to {LONGEST_ID} characters without NUL"


def _distinct(values: Iterable[Scalar]) -> tuple[Scalar, ...]:
    """The values without repetitions; true is not 1, but 1 is 1.0, as in targeting."""
    distinct: dict[tuple[bool, Scalar], Scalar] = {}
    for value in values:
        distinct.setdefault((isinstance(value, bool), value), value)
    return tuple(distinct.values())
