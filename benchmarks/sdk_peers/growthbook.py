"""`growthbook`: one instance whose attributes are set for each user, which is faster than an instance per user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from growthbook import GrowthBook

from benchmarks.sdk_peers.work import ADULT, ATTRIBUTES, COUNTRIES, EXPERIMENT, MANY, OFF, VARIANTS


def features(keys: Sequence[str]) -> dict[str, Any]:
    """The experiments ``keys`` as features."""
    return {key: _feature(key) for key in keys}


def _feature(key: str) -> dict[str, Any]:
    return {
        "defaultValue": OFF,
        "rules": [
            {
                "key": key,
                "seed": key,
                "hashAttribute": "id",
                "hashVersion": 2,
                "condition": {"country": {"$in": list(COUNTRIES)}, "age": {"$gte": ADULT}},
                "coverage": 1.0,
                "weights": [0.5, 0.5],
                "variations": list(VARIANTS),
            }
        ],
    }


class GrowthBookPeer:
    """With and without a callback for exposures."""

    def __init__(self) -> None:
        self._queue: list[tuple[Any, Any]] = []
        self._silent = GrowthBook(features=features([EXPERIMENT]))
        self._many = GrowthBook(features=features(MANY))
        self._open()

    def _open(self) -> None:
        """The instance remembers which exposures it reported: each round begins with an empty memory."""
        self._logging = GrowthBook(features=features([EXPERIMENT]), on_experiment_viewed=self._viewed)

    def _viewed(self, experiment: Any, result: Any, **_: Any) -> None:
        self._queue.append((experiment, result))

    def evaluate(self, units: Sequence[str]) -> None:
        self._decide(self._silent, units)

    def assign(self, units: Sequence[str]) -> None:
        self._decide(self._logging, units)

    def _decide(self, instance: GrowthBook, units: Sequence[str]) -> None:
        for unit in units:
            instance.set_attributes({"id": unit, **ATTRIBUTES})
            instance.get_feature_value(EXPERIMENT, OFF)

    def evaluate_many(self, unit: str) -> Mapping[str, object]:
        instance = self._many
        instance.set_attributes({"id": unit, **ATTRIBUTES})
        return {key: instance.get_feature_value(key, OFF) for key in MANY}

    def variant(self, unit: str, attributes: Mapping[str, Any]) -> str:
        self._silent.set_attributes({"id": unit, **attributes})
        return self._silent.get_feature_value(EXPERIMENT, OFF)

    def settle(self) -> int:
        queued = len(self._queue)
        self._queue.clear()
        self._open()
        return queued


def start() -> GrowthBookPeer:
    return GrowthBookPeer()
