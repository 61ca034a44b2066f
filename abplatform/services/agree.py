"""What this platform draws for the unit of an exposure, to be compared with what the product says it gave.

Only draws are repeated here. Targeting and prerequisites hang on attributes that no exposure carries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from abplatform.assignment import prepare_draws, variant_ranges
from abplatform.assignment.hashing import salt_prefix
from abplatform.assignment.model import Draws
from abplatform.domain.events import HELD_OUT, HOLDOUT_GROUPS, NOT_DRAWN, OPEN, name_holdout
from abplatform.domain.experiment import Experiment
from abplatform.storage.holdouts import StoredHoldout
from abplatform.warehouse.buckets import Units, draw_buckets

Mask = npt.NDArray[np.bool_]
_GROUPS = pa.array([OPEN, HELD_OUT], pa.string())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """What a unit can be exposed to, ready for checking many exposures: one phase of an experiment, or a holdout.

    Attributes:
        experiment, phase: as the lake names them.
        variants: keys that an exposure may have.
        unit_type: what is randomised.
        clustered: whether what is randomised are clusters of the units that count.
        attributes: names of those that are kept.
        expect: gives the variants that this platform draws for ids of ``unit_type``, as an array of texts: `NOT_DRAWN`
            where it gives none, null where it does not draw.
    """

    experiment: str
    phase: int
    variants: tuple[str, ...]
    unit_type: str
    clustered: bool = False
    attributes: tuple[str, ...] = ()
    expect: Callable[[Units], pa.Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Holding:
    """The draw of a holdout, prepared for hashing."""

    prefix: bytes
    low: int
    high: int

    def holds_out(self, units: Units) -> Mask:
        buckets = draw_buckets(self.prefix, units)
        return (buckets >= self.low) & (buckets < self.high)

    def expect(self, units: Units) -> pa.Array:
        return _GROUPS.take(pa.array(self.holds_out(units).astype(np.int8)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawing:
    """The draws of a phase, prepared for hashing, and the holdouts that come before them.

    Attributes:
        names: of the variants, and behind them that of none.
    """

    holdouts: tuple[_Holding, ...]
    draws: Draws
    names: pa.Array

    def expect(self, units: Units) -> pa.Array:
        # `abplatform.assignment.layers.draw_position`, for many units at once.
        positions = np.searchsorted(self.draws.bounds, draw_buckets(self.draws.variant_prefix, units), side="right")
        inside = np.ones(len(positions), dtype=bool)
        if self.draws.edges is not None:
            inside &= np.searchsorted(self.draws.edges, draw_buckets(self.draws.layer_prefix, units), "right") % 2 == 1
        for holdout in self.holdouts:
            inside &= ~holdout.holds_out(units)
        return self.names.take(pa.array(np.where(inside, positions, len(self.names) - 1)))


def prepare_phase(experiment: Experiment, holdouts: Mapping[str, StoredHoldout]) -> Place:
    """One phase of an experiment.

    Args:
        experiment: as it was in that phase, see `Experiment.in_phase`.
        holdouts: of the project by key.
    """
    definition = experiment.definition
    served = definition.assignment == "served"
    return Place(
        experiment=experiment.key,
        phase=experiment.phase,
        variants=tuple(variant.key for variant in definition.variants),
        unit_type=definition.unit_type,
        clustered=definition.clustered,
        attributes=(*definition.dimensions, *definition.covariates),
        expect=_draw_phase(experiment, holdouts).expect if served else _drawn_elsewhere,
    )


def prepare_holdout(stored: StoredHoldout) -> Place:
    """A holdout: its groups are its variants, and it has one phase."""
    return Place(
        experiment=name_holdout(stored.key),
        phase=1,
        variants=HOLDOUT_GROUPS,
        unit_type=stored.holdout.unit_type,
        expect=_hold(stored).expect,
    )


def _draw_phase(experiment: Experiment, holdouts: Mapping[str, StoredHoldout]) -> _Drawing:
    variants = experiment.definition.variants
    covering = (holdouts[key] for key in experiment.holdouts if key in holdouts)
    return _Drawing(
        holdouts=tuple(_hold(stored) for stored in covering if stored.ended_at is None),
        draws=prepare_draws(
            experiment.layer_salt,
            experiment.slots,
            experiment.phase_salt,
            variant_ranges([variant.weight for variant in variants]),
        ),
        names=pa.array([*(variant.key for variant in variants), NOT_DRAWN], pa.string()),
    )


def _hold(stored: StoredHoldout) -> _Holding:
    low, high = stored.holdout.buckets
    return _Holding(prefix=salt_prefix(stored.salt), low=low, high=high)


def _drawn_elsewhere(units: Units) -> pa.Array:
    return pa.nulls(len(units), pa.string())
