"""JSON values as targeting sees them: their kinds, strict equality, and what is not JSON at all."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

KINDS = ("string", "number", "boolean", "array", "object", "null")

_EXACT: dict[type, str] = {
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    list: "array",
    tuple: "array",
    dict: "object",
    type(None): "null",
}
# bool can have no subclasses; the order among the others does not matter.
_FAMILIES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (str, "string"),
    ((int, float), "number"),
    ((list, tuple), "array"),
    (Mapping, "object"),
)


def kind(value: object) -> str | None:
    """Return the JSON kind of a value (one of ``KINDS``), or None for a value that JSON has no place for."""
    exact = _EXACT.get(type(value))
    if exact is not None:
        return exact
    return next((name for family, name in _FAMILIES if isinstance(value, family)), None)


def is_json(value: object) -> bool:
    """Tell whether a value is JSON throughout: known kinds, finite numbers, string keys."""
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, (list, tuple)):
        return all(is_json(item) for item in value)
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and is_json(item) for key, item in value.items())
    return kind(value) is not None


def equal(left: object, right: object) -> bool:
    """Compare two JSON values strictly.

    Kinds must agree (``true`` is not 1, "1" is not 1), numbers compare by value (1 equals 1.0), arrays in
    order, objects key by key.
    """
    if kind(left) != kind(right):
        return False
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return len(left) == len(right) and all(key in right and equal(item, right[key]) for key, item in left.items())
    return left == right
