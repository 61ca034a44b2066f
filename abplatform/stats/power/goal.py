"""What an experiment shall show, and between which arms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from abplatform.stats.margins import Margin
from abplatform.stats.validation import (
    Direction,
    FloatArray,
    finite_values,
    instance_of,
    known_direction,
    positive,
    same_grid,
)

Kind = Literal["superiority", "non_inferiority", "equivalence"]


def round_up(units: FloatArray) -> FloatArray:
    """Return whole units, since nobody has a part of one; what is whole but for rounding errors stays."""
    return np.asarray(np.ceil(units - np.minimum(1e-10 * units, 1e-3)))


@dataclass(frozen=True, slots=True, eq=False)
class Goal:
    """A claim, and the true effect at which the experiment shall be able to make it.

    Attributes:
        kind: ``superiority``, ``non_inferiority`` or ``equivalence``.
        effect: the true effect, positive where it is an *improvement*, whatever the direction of the metric.
        margin: how much worse (or different) is still acceptable; 0 for superiority.
        relative: whether both are shares of the magnitude of the control mean.
        direction: which way is better.
    """

    kind: Kind
    effect: FloatArray
    margin: FloatArray
    relative: bool
    direction: Direction

    @classmethod
    def superiority(cls, effect: ArrayLike, *, relative: bool = False, direction: Direction = "increase") -> Self:
        """Show that the treatment is better, when it is so by ``effect``, above 0 whichever way is better."""
        known_direction(direction)
        return cls("superiority", positive("effect", effect), np.zeros(()), relative, direction)

    @classmethod
    def non_inferiority(cls, margin: Margin, *, direction: Direction, effect: ArrayLike = 0.0) -> Self:
        """Show that the treatment is not worse by the margin, when its true effect is ``effect``.

        Args:
            margin: what is still acceptable.
            direction: which way is better. It has no default: a complaint is planned otherwise than a purchase.
            effect: the true effect, positive where it is an improvement, on the margin's scale.

        Raises:
            ValueError: naming the argument that does not fit, ``margin`` when the effect is that bad itself.
        """
        instance_of("margin", margin, Margin, "Margin(0.001)")
        known_direction(direction)
        true = finite_values("effect", effect)
        same_grid(margin=margin.size, effect=true)
        if (margin.size + true <= 0).any():
            raise ValueError("margin must exceed the harm of the true effect")
        return cls("non_inferiority", true, margin.size, margin.relative, direction)

    @classmethod
    def equivalence(cls, margin: Margin, *, direction: Direction, effect: ArrayLike = 0.0) -> Self:
        """Show that the arms differ by less than the margin either way, when the true effect is ``effect``.

        Args:
            margin: what still counts as the same.
            direction: which way is better, and thereby which way the true effect goes.
            effect: the true effect, positive where it is an improvement, on the margin's scale.

        Raises:
            ValueError: naming the argument that does not fit, ``margin`` when the effect is not inside it.
        """
        goal = cls.non_inferiority(margin, direction=direction, effect=effect)
        if (margin.size <= goal.effect).any():
            raise ValueError("margin must exceed the true effect either way")
        return replace(goal, kind="equivalence")

    @property
    def better(self) -> float:
        """The sign of an improvement."""
        return 1.0 if self.direction == "increase" else -1.0

    @property
    def size(self) -> FloatArray:
        """What a larger experiment makes smaller: the effect of superiority, the margin otherwise."""
        return self.effect if self.kind == "superiority" else self.margin

    def with_size(self, size: FloatArray) -> Goal:
        """Return the same goal with another ``size``."""
        return replace(self, effect=size) if self.kind == "superiority" else replace(self, margin=size)


@dataclass(frozen=True, slots=True)
class Split:
    """How planned units divide over the arms, and which two of them are compared.

    Args:
        weights: of all arms, each above 0, in any proportion.
        treatment: position of the treatment in question.
        control: position of the control.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> Split((2, 1, 1), treatment=2).shares
    (0.5, 0.25, 0.25)
    """

    weights: tuple[float, ...] = (1.0, 1.0)
    treatment: int = 1
    control: int = 0

    def __init__(self, weights: Sequence[float] = (1.0, 1.0), *, treatment: int = 1, control: int = 0) -> None:
        given = positive("weights", list(weights))
        if given.ndim != 1 or given.size < 2:
            raise ValueError("weights must be of two arms or more")
        for name, arm in (("treatment", treatment), ("control", control)):
            if arm not in range(given.size):
                raise ValueError(f"{name} must be the position of a weight")
        if treatment == control:
            raise ValueError("treatment must be another arm than control")
        object.__setattr__(self, "weights", tuple(given.tolist()))
        object.__setattr__(self, "treatment", treatment)
        object.__setattr__(self, "control", control)

    @property
    def shares(self) -> tuple[float, ...]:
        """Share of each arm among all units."""
        total = sum(self.weights)
        return tuple(weight / total for weight in self.weights)

    def units(self, total: FloatArray) -> FloatArray:
        """Return the units of every arm, along a last axis."""
        return np.asarray(total[..., None] * np.array(self.shares))

    def whole_units(self, total: FloatArray) -> FloatArray:
        """Return units of every arm rounded up to whole ones."""
        return round_up(self.units(total))
