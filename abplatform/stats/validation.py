"""Checks on what callers pass in. Each failure is a ``ValueError`` that names the parameter."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

Direction = Literal["increase", "decrease"]
"""Which way a metric should move: ``increase`` means that more is better."""

_INT64_MAX = 2**63 - 1


def finite_values(name: str, values: ArrayLike) -> FloatArray:
    """Return a read-only float64 copy, refusing NaN, infinity and anything that is not a number."""
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} must be numbers") from None
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite")
    array.setflags(write=False)
    return array


def whole_counts(name: str, values: ArrayLike) -> IntArray:
    """Return a read-only int64 copy of counts; whole floats are taken, fractions and negatives refused."""
    given = np.asarray(values)
    exact = given if given.dtype.kind in "iu" else finite_values(name, values)
    if exact.dtype.kind == "f" and (exact != np.floor(exact)).any():
        raise ValueError(f"{name} must be whole numbers")
    if exact.size and exact.min() < 0:
        raise ValueError(f"{name} must not be negative")
    if exact.size and float(exact.max()) >= float(_INT64_MAX):
        raise ValueError(f"{name} is beyond 64-bit integers")
    counts = exact.astype(np.int64)
    counts.setflags(write=False)
    return counts


def non_negative(name: str, values: ArrayLike) -> FloatArray:
    """Return finite values of at least 0."""
    array = finite_values(name, values)
    if (array < 0).any():
        raise ValueError(f"{name} must not be negative")
    return array


def positive(name: str, values: ArrayLike) -> FloatArray:
    """Return finite values greater than 0."""
    array = finite_values(name, values)
    if (array <= 0).any():
        raise ValueError(f"{name} must be greater than 0")
    return array


def probability(name: str, values: ArrayLike, *, below: float = 1.0) -> FloatArray:
    """Return error rates strictly between 0 and ``below``."""
    array = finite_values(name, values)
    if ((array <= 0) | (array >= below)).any():
        raise ValueError(f"{name} must lie strictly between 0 and {below:g}")
    return array


def instance_of(name: str, value: object, kind: type, example: str) -> None:
    """Refuse a value of another class, saying what to pass instead.

    >>> instance_of("margin", 0.001, Margin := type("Margin", (), {}), "Margin(0.001)")
    Traceback (most recent call last):
    ValueError: margin must be Margin, such as Margin(0.001), not float
    """
    if not isinstance(value, kind):
        raise ValueError(f"{name} must be {kind.__name__}, such as {example}, not {type(value).__name__}")


def known_direction(direction: str) -> None:
    """Refuse a direction that is neither ``increase`` nor ``decrease``."""
    if direction not in get_args(Direction):
        raise ValueError(f"direction must be 'increase' or 'decrease', not {direction!r}")


def same_grid(**arrays: NDArray[np.generic]) -> tuple[int, ...]:
    """Return the common shape of named arrays, naming them all when they do not broadcast."""
    found = {array.shape for array in arrays.values()}
    if len(found) == 1:
        return found.pop()
    try:
        return np.broadcast_shapes(*found)
    except ValueError:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ValueError(f"shapes do not broadcast: {shapes}") from None
