"""A holdout: a share of the units that gets none of the experiments that it covers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from abplatform.assignment import coverage_slots
from abplatform.domain.access import DEFAULT_UNIT_TYPE
from abplatform.domain.checks import Faults, is_number
from abplatform.domain.layer import Layer

LEAST_SHARE = 0.0001
MOST_SHARE = 0.5
MOST_LAYERS = 100
MOST_ACTIVE = 20
EDITABLE = frozenset({"name"})

HoldoutMethod = Literal["sequential", "fixed"]
HOLDOUT_METHODS: tuple[HoldoutMethod, ...] = ("sequential", "fixed")
"""By which a holdout is read out: one may be watched, the other holds at one look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdout:
    """What the author of a holdout writes; only the name can change later.

    Attributes:
        key: name in this project.
        unit_type: what is held out; experiments of another unit type are not covered.
        share: of all units, 0.0001 to 0.5.
        layers: keys of the layers whose experiments it covers; None covers all, those without a layer too.
    """

    key: str
    name: str
    unit_type: str = DEFAULT_UNIT_TYPE
    share: float
    layers: tuple[str, ...] | None = None

    @property
    def buckets(self) -> tuple[int, int]:
        """The buckets ``[low, high)`` of its own draw that are held out."""
        return coverage_slots(self.share)[0]

    def covers(self, unit_type: str, layer: str | None) -> bool:
        """Whether it covers experiments that randomise such units, in that layer or in none."""
        return unit_type == self.unit_type and (self.layers is None or layer in self.layers)


def check_holdout(holdout: Holdout, *, layers: Mapping[str, Layer]) -> None:
    """Refuse a holdout that could not hold out what it says.

    Args:
        layers: all layers of the project by key.

    Raises:
        InvalidInput: naming each field.
    """
    faults = Faults()
    faults.key(holdout.key, "key")
    faults.text(holdout.name, "name", most=200, least=1)
    faults.unit_type(holdout.unit_type, "unit_type")
    in_range = is_number(holdout.share) and LEAST_SHARE <= holdout.share <= MOST_SHARE
    faults.check(in_range, "share", f"must be a number from {LEAST_SHARE} to {MOST_SHARE}")
    if holdout.layers is not None:
        _check_layers(holdout.layers, holdout.unit_type, layers, faults)
    faults.raise_any()


def _check_layers(named: tuple[str, ...], unit_type: str, layers: Mapping[str, Layer], faults: Faults) -> None:
    if not faults.check(
        0 < len(named) <= MOST_LAYERS, "layers", f"must be 1 to {MOST_LAYERS} layers; null covers all experiments"
    ):
        return
    for index, key in enumerate(named):
        path = f"layers.{index}"
        faults.check(named.count(key) == 1, path, f"{key!r} stands here more than once")
        layer = layers.get(key)
        if layer is None:
            faults.add(path, f"there is no layer {key!r}{faults.suggest(key, layers) or '; create it first'}")
        elif layer.unit_type != unit_type:
            faults.add(path, f"the layer {key!r} randomises {layer.unit_type!r}, not {unit_type!r}")
