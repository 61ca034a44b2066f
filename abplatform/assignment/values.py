"""JSON values as targeting sees them: their kinds, strict equality, what is not JSON at all, what is too large."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite

from .hashing import encode_text

MAX_LEVELS = 20
MAX_NODES = 1_000

Problems = dict[str, list[str]]

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


def shape_problems(condition: object) -> Problems:
    """Return what makes a condition unusable before its operators are looked at: path -> messages.

    Levels count nested objects and arrays, the condition itself being the first; nodes count every value in
    it. The walk keeps its own stack and stops at a bound, so that no input exhausts the interpreter's.
    """
    if not isinstance(condition, Mapping):
        return {"": ["must be an object"]}
    stack: list[tuple[str, object, int]] = [("", condition, 1)]
    nodes = 0
    while stack:
        path, node, level = stack.pop()
        nodes += 1
        problem = _node_problem(node, level, nodes)
        if problem is not None:
            # A bound concerns the whole condition, anything else one place in it.
            return {path if nodes <= MAX_NODES and level <= MAX_LEVELS else "": [problem]}
        stack.extend((child_path, child, level + 1) for child_path, child in _children(node, path))
    return {}


def join_path(path: str, part: object) -> str:
    """Return the path of a part below ``path``."""
    return f"{path}.{part}" if path else str(part)


def _node_problem(node: object, level: int, nodes: int) -> str | None:
    if nodes > MAX_NODES:
        return f"must not have more than {MAX_NODES} values"
    if isinstance(node, (Mapping, list, tuple)):
        if level > MAX_LEVELS:
            return f"must not be nested deeper than {MAX_LEVELS} levels"
        return _key_problem(node) if isinstance(node, Mapping) else None
    if not is_json(node):
        return "must be a JSON value"
    return _text_problem(node) if isinstance(node, str) else None


def _key_problem(node: Mapping[object, object]) -> str | None:
    if not all(isinstance(key, str) for key in node):
        return "keys must be strings"
    return next((problem for key in node if (problem := _text_problem(str(key))) is not None), None)


def _text_problem(text: str) -> str | None:
    try:
        encode_text(text, "text")
    except ValueError:
        return "must not hold a lone surrogate"
    return None


def _children(node: object, path: str) -> Iterator[tuple[str, object]]:
    if isinstance(node, Mapping):
        return ((join_path(path, key), item) for key, item in node.items())
    if isinstance(node, (list, tuple)):
        return ((join_path(path, index), item) for index, item in enumerate(node))
    return iter(())
