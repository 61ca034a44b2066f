"""The one shape in which every method answers, and the reasons why a cell may have no answer.

Arrays of one result all have the same shape, one entry per cell (a metric in a variant, say). A number that
does not exist is NaN in the arrays and ``None`` in ``Comparison.cell``; an unbounded interval has no bound
on that side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntFlag, StrEnum
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from abplatform.stats.validation import BoolArray, FloatArray

IntervalKind = Literal["fixed", "confidence_sequence", "repeated", "credible"]
Codes = NDArray[np.int8]
Objects = NDArray[np.object_]


class NotComputable(StrEnum):
    """Why a cell has no inference, or no relative lift. The first that applies is given."""

    NO_UNITS = "NO_UNITS"
    ONE_UNIT = "ONE_UNIT"
    ZERO_DENOMINATOR = "ZERO_DENOMINATOR"
    NOT_REACHED = "NOT_REACHED"
    ZERO_VARIANCE = "ZERO_VARIANCE"
    OVERFLOW = "OVERFLOW"
    ZERO_CONTROL = "ZERO_CONTROL"
    MIXED_SIGNS = "MIXED_SIGNS"
    TOO_FEW_GROUPS = "TOO_FEW_GROUPS"


class SetKind(StrEnum):
    """Form of the set of relative lifts that the data do not reject."""

    BOUNDED = "bounded"
    HALF_LINE = "half_line"
    DISJOINT = "disjoint"
    WHOLE_LINE = "whole_line"
    UNDEFINED = "undefined"


class Caution(IntFlag):
    """Warnings that come with a number; a cell lists the names."""

    RELATIVE_UNBOUNDED = 1
    RELATIVE_DISJOINT = 2
    FEW_EVENTS = 4
    FEW_CLUSTERS = 8
    HEAVY_TAIL = 16
    COARSE_QUANTILE = 32
    COVARIATE_DROPPED = 64
    STRATUM_DROPPED = 128


_REASONS = np.array([None, *NotComputable], dtype=object)
_KINDS = np.array([*SetKind], dtype=object)


def reason_code(reason: NotComputable) -> int:
    """Return the code of a reason in the arrays of codes that the methods compute with; 0 means none."""
    return list(NotComputable).index(reason) + 1


def named_reasons(codes: Codes) -> Objects:
    """Turn codes into an object array of ``NotComputable`` or ``None``."""
    return np.asarray(_named(_REASONS, codes), dtype=object)


def kind_code(kind: SetKind) -> int:
    """Return the code of a set kind."""
    return list(SetKind).index(kind)


def named_kinds(codes: Codes) -> Objects:
    """Turn codes into an object array of ``SetKind``."""
    return np.asarray(_named(_KINDS, codes), dtype=object)


def _named(names: Objects, codes: Codes) -> Objects:
    # Nearly always all cells are alike: one name seen from everywhere costs a tenth of a look-up per cell.
    return names[codes] if codes.any() else np.broadcast_to(names[:1].reshape(()), codes.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Interval:
    """An estimate and its bounds; NaN where there is none."""

    estimate: FloatArray
    lower: FloatArray
    upper: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class RelativeInterval:
    """A relative lift (0.05 is 5%), its bounds, the form of its set, and why it may be missing.

    ``excludes_zero`` also answers for sets that two bounds cannot describe; ``cautions`` are the flags that the
    form of the set calls for.
    """

    estimate: FloatArray
    lower: FloatArray
    upper: FloatArray
    kind: Objects
    excludes_zero: BoolArray
    not_computable: Objects
    cautions: NDArray[np.int64]

    def over(self, shape: tuple[int, ...]) -> Self:
        """Return the same set over a larger grid."""
        fields = (getattr(self, name) for name in self.__slots__)
        return type(self)(*(field if field.shape == shape else np.broadcast_to(field, shape) for field in fields))


@dataclass(frozen=True, slots=True)
class EffectCell:
    """Estimate and bounds of one cell; ``None`` where there is none."""

    estimate: float | None
    lower: float | None
    upper: float | None


@dataclass(frozen=True, slots=True)
class ComparisonCell:
    """One cell of a ``Comparison`` as plain Python values, ready for JSON."""

    absolute: EffectCell
    relative: EffectCell
    relative_kind: SetKind
    relative_not_computable: NotComputable | None
    p_value: float | None
    chance_to_win: float | None
    expected_loss: float | None
    probability_worse_than_margin: float | None
    interval_kind: IntervalKind
    method: str
    not_computable: NotComputable | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Treatment against control, one entry per cell.

    ``not_computable`` speaks of the absolute inference; a relative lift can be missing on its own
    (``relative.not_computable``), for instance when nobody in control converted. Frequentist methods leave
    the Bayesian fields NaN and the other way round.
    """

    method: str
    interval_kind: IntervalKind
    absolute: Interval
    relative: RelativeInterval
    p_value: FloatArray
    chance_to_win: FloatArray
    expected_loss: FloatArray
    probability_worse_than_margin: FloatArray
    not_computable: Objects
    warnings: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the grid of cells."""
        return self.absolute.estimate.shape

    def cell(self, *index: int) -> ComparisonCell:
        """Return one cell as plain values; no index for a single comparison."""
        flags = int(self.warnings[index])
        return ComparisonCell(
            absolute=_effect_cell(self.absolute, index),
            relative=_effect_cell(self.relative, index),
            relative_kind=self.relative.kind[index],
            relative_not_computable=self.relative.not_computable[index],
            p_value=optional(self.p_value[index]),
            chance_to_win=optional(self.chance_to_win[index]),
            expected_loss=optional(self.expected_loss[index]),
            probability_worse_than_margin=optional(self.probability_worse_than_margin[index]),
            interval_kind=self.interval_kind,
            method=self.method,
            not_computable=self.not_computable[index],
            warnings=tuple(str(caution.name) for caution in Caution if flags & caution),
        )


@dataclass(frozen=True, slots=True, eq=False)
class NonInferiority:
    """One-sided test that a treatment is not worse than control by a margin or more.

    ``bound`` is the one-sided confidence bound on the side of harm, on the scale of the margin: of the
    absolute difference, or of the relative lift for a relative margin (NaN where unbounded). ``limit`` is
    what it has to exclude: minus the margin where more is better, plus the margin where less is.
    ``non_inferior`` is never true where the bound does not exist.
    """

    method: str
    interval_kind: IntervalKind
    bound: FloatArray
    limit: FloatArray
    p_value: FloatArray
    non_inferior: BoolArray
    not_computable: Objects


def optional(value: float) -> float | None:
    """Return a plain float, or ``None`` for NaN and infinity."""
    return float(value) if math.isfinite(value) else None


def _effect_cell(effect: Interval | RelativeInterval, index: tuple[int, ...]) -> EffectCell:
    return EffectCell(
        estimate=optional(effect.estimate[index]),
        lower=optional(effect.lower[index]),
        upper=optional(effect.upper[index]),
    )
