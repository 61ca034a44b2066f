"""Strata of additive statistics: laid along the last axis, added up, and merged where they are too small."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import reduce
from operator import add, itemgetter
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from abplatform.stats.sufficient.means import MeanStats
from abplatform.stats.sufficient.ratios import RatioStats
from abplatform.stats.validation import BoolArray, IntArray

Additive = TypeVar("Additive", bound=MeanStats | RatioStats)

FEWEST = 2
"""Units that a stratum needs in each arm to have a variance there."""
EXPECTED = 5
"""Units that a stratum should have in the smaller arm, by its units in both arms and the arms' sizes.

Merging only what happens to lack units in one arm would collect the strata in which the arms are least alike,
and the merged stratum's variance would not see it. What is expected depends on both arms together only."""


def strata_last(arm: Additive, shape: tuple[int, ...], axis: int) -> Additive:
    """Give every field the full shape, with the strata on the last axis."""
    return _changed(arm, lambda values: np.moveaxis(np.broadcast_to(values, shape), axis, -1))


def merged(arm: Additive) -> Additive:
    """Add up the strata."""
    return reduce(add, (_changed(arm, itemgetter((..., stratum))) for stratum in range(arm.n.shape[-1])))


def collapsed(treatment: Additive, control: Additive) -> tuple[Additive, Additive]:
    """Merge small strata into one more stratum at the end, in both arms; where they were, nobody is left.

    Small is a stratum that lacks ``FEWEST`` units in an arm, or in which the smaller arm should have fewer than
    ``EXPECTED``. The smallest others follow until the merged one has ``FEWEST`` in each arm. Only
    counts decide, so that the choice knows nothing of the outcome.
    """
    small = _to_merge(treatment.n, control.n)
    if not small.any():
        return treatment, control
    return _with_rest(treatment, small), _with_rest(control, small)


def _to_merge(treatment: IntArray, control: IntArray) -> BoolArray:
    units = treatment + control
    smaller = np.minimum(_total(treatment), _total(control)) / np.maximum(_total(units), 1)
    small = (np.minimum(treatment, control) < FEWEST) | (units * smaller < EXPECTED)
    order = np.argsort(np.where(small, -1, units), axis=-1, kind="stable")
    both = np.minimum(*(np.cumsum(np.take_along_axis(n, order, -1), axis=-1) for n in (treatment, control)))
    # Positions in this order up to the first at which the merged stratum is large enough.
    needed = (both < FEWEST).sum(axis=-1, keepdims=True) + 1
    # A stratum without any units is in nobody's way.
    some = (small & (units > 0)).any(axis=-1, keepdims=True)
    length = np.where(some, np.maximum(small.sum(axis=-1, keepdims=True), needed), 0)
    return np.asarray(np.argsort(order, axis=-1) < length)


def _with_rest(arm: Additive, small: BoolArray) -> Additive:
    kept = _changed(arm, lambda values: np.where(small, 0, values))
    rest = merged(_changed(arm, lambda values: np.where(small, values, 0)))
    fields = {
        field.name: np.concatenate([getattr(kept, field.name), getattr(rest, field.name)[..., None]], axis=-1)
        for field in dataclasses.fields(arm)
    }
    return type(arm)(**fields)


def _changed(arm: Additive, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Additive:
    return type(arm)(**{field.name: change(getattr(arm, field.name)) for field in dataclasses.fields(arm)})


def _total(n: IntArray) -> IntArray:
    return np.asarray(n.sum(axis=-1, keepdims=True))
