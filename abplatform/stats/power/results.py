"""The shape in which planning answers, and why there may be no answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from abplatform.stats.power.goal import round_up
from abplatform.stats.results import Caution, Objects, optional
from abplatform.stats.validation import BoolArray, FloatArray


class Unplannable(StrEnum):
    """Why a metric has no plan. The first that applies is given."""

    NO_MEAN = "NO_MEAN"
    """History has no estimate: no units, or a denominator of 0."""
    NO_VARIANCE = "NO_VARIANCE"
    """History has fewer than two units, or no variation."""
    ZERO_CONTROL = "ZERO_CONTROL"
    """An effect or margin relative to a mean of 0 is none."""
    IMPOSSIBLE_RATE = "IMPOSSIBLE_RATE"
    """The effect would take a rate below 0 or above 1."""
    NOT_REACHED = "NOT_REACHED"
    """No size (or effect, or day) within reach is enough."""


_REASONS = np.array([None, *Unplannable], dtype=object)


def first_reason(shape: tuple[int, ...], causes: Sequence[tuple[BoolArray, Unplannable]]) -> Objects:
    """Return, cell by cell, the first reason whose mask is true, or ``None``."""
    masks = [np.broadcast_to(mask, shape) for mask, _ in causes]
    codes = np.select(masks, [list(Unplannable).index(reason) + 1 for _, reason in causes], 0)
    return np.asarray(_REASONS[codes], dtype=object)


@dataclass(frozen=True, slots=True)
class SizingCell:
    """One cell of a ``Sizing`` as plain values; ``None`` where there is none."""

    method: str
    units: tuple[int, ...] | None
    total: int | None
    expected_total: float | None
    power: float | None
    absolute: float | None
    relative: float | None
    not_plannable: Unplannable | None
    cautions: tuple[str, ...]
    assumptions: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Sizing:
    """Units, power and detectable size that belong together, one entry per metric; NaN where there is no plan.

    Attributes:
        method: of the test.
        units: units of every arm along the last axis (what history's ``n`` counts), those of arms that are not
            compared included.
        total: their sum.
        expected_total: units at which the test stops on average at this effect; ``total`` without early stops.
        power: probability of the claim, in the right direction, at these units.
        absolute: minimum detectable effect, or the margin of non-inferiority or equivalence, in the metric's units.
        relative: the same as a share of the magnitude of the control mean; NaN where that is 0.
        not_plannable: an ``Unplannable`` or ``None``.
        cautions: ``Caution`` flags of the plan.
        assumptions: what the numbers rest on, as sentences.
    """

    method: str
    units: FloatArray
    total: FloatArray
    expected_total: FloatArray
    power: FloatArray
    absolute: FloatArray
    relative: FloatArray
    not_plannable: Objects
    cautions: NDArray[np.int64]
    assumptions: tuple[str, ...]

    def cell(self, *index: int) -> SizingCell:
        """Return one cell as plain values; no index for a single plan."""
        flags, planned = int(self.cautions[index]), bool(np.isfinite(self.total[index]))
        return SizingCell(
            method=self.method,
            # Given totals need not divide into whole arms.
            units=tuple(int(arm) for arm in round_up(self.units[index])) if planned else None,
            total=int(np.ceil(self.total[index])) if planned else None,
            expected_total=optional(self.expected_total[index]),
            power=optional(self.power[index]),
            absolute=optional(self.absolute[index]),
            relative=optional(self.relative[index]),
            not_plannable=self.not_plannable[index],
            cautions=tuple(str(caution.name) for caution in Caution if flags & caution),
            assumptions=self.assumptions,
        )
