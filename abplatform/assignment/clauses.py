"""Clauses: an attribute is read, checked and tested, in one function where its path is a plain name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .logic import Test, unknown
from .values import is_json

# Values of one exact type, which needs no check, and a test of them: in C where that can be.
_ShortWay = tuple[type, Callable[[Any], bool | None]]

_ALWAYS_JSON = frozenset({str, int, bool, type(None)})

# What an operator asks of the value, as what the operand says about it: value < operand is operand > value.
_MIRRORED = {"$eq": "__eq__", "$ne": "__ne__", "$lt": "__gt__", "$lte": "__ge__", "$gt": "__lt__", "$gte": "__le__"}


def attribute_clause(path: str, name: str, operand: object, test: Test) -> Test:
    """Apply the test of an operator to the attribute at a dotted path; what goes wrong there is unknown."""
    if "." in path:
        return _nested_clause(path, test)
    exact, accepts = _short_way(name, operand, test)

    def run(attributes: Mapping[str, object]) -> bool | None:
        try:
            value = attributes.get(path)
            if type(value) is exact:
                return accepts(value)
            return test(value) if type(value) in _ALWAYS_JSON or is_json(value) else None
        except Exception:  # noqa: BLE001 - attributes are the product's own objects and may do anything
            return None

    return run


def _nested_clause(path: str, test: Test) -> Test:
    first, *rest = path.split(".")

    def run(attributes: Mapping[str, object]) -> bool | None:
        try:
            value = attributes.get(first)
            for part in rest:
                value = value.get(part) if isinstance(value, Mapping) else None
            return test(value) if type(value) in _ALWAYS_JSON or is_json(value) else None
        except Exception:  # noqa: BLE001 - attributes are the product's own objects and may do anything
            return None

    return run


def _short_way(name: str, operand: object, test: Test) -> _ShortWay:
    """Return a type and what answers as the test does for values of exactly that type."""
    exact = type(operand)
    if test is unknown:
        return str, unknown
    if name in _MIRRORED and exact in {str, int, bool}:
        return exact, getattr(operand, _MIRRORED[name])
    if name in {"$in", "$nin"} and isinstance(operand, (list, tuple)):
        return _membership(operand, wanted=name == "$in")
    return str, test


def _membership(items: list[object] | tuple[object, ...], *, wanted: bool) -> _ShortWay:
    exact = str if any(isinstance(item, str) for item in items) else int
    # Sets compare as targeting does, booleans apart: 1 is 1.0.
    members = frozenset(item for item in items if isinstance(item, (str, int, float)) and type(item) is not bool)
    return exact, members.__contains__ if wanted else lambda value: value not in members
