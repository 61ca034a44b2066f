"""Whether two definitions say the same."""

from __future__ import annotations

from typing import Any

import msgspec


def say_the_same(one: object, other: object) -> bool:
    """Whether two definitions, or parts of such, say the same; events and clients tell ``true`` from 1.

    Args:
        one, other: of one type, with values of JSON, times, durations and decimals inside.

    >>> say_the_same({"vip": 1}, {"vip": 1.0}), say_the_same({"vip": True}, {"vip": 1})
    (True, False)
    """
    return one == other and _as_true(msgspec.to_builtins(one), msgspec.to_builtins(other))


def _as_true(one: Any, other: Any) -> bool:
    """Whether equal values are truth values at the same places: Python calls True and 1 equal."""
    if isinstance(one, dict):
        return all(_as_true(value, other[name]) for name, value in one.items())
    if isinstance(one, list | tuple):
        return all(map(_as_true, one, other))
    return isinstance(one, bool) == isinstance(other, bool)
