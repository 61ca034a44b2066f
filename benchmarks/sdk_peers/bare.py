"""No SDK: the hash and the comparison that any implementation must compute."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from benchmarks.sdk_peers.work import ADULT, COUNTRIES, MANY, OFF


class Bare:
    """A loop over SHA-256. It targets nobody, except where it is checked."""

    def __init__(self) -> None:
        self._prefixes = [(key, b"16:%016x" % number) for number, key in enumerate(MANY)]
        self._queue: list[tuple[str, str, float]] = []

    def evaluate(self, units: Sequence[str]) -> None:
        for unit in units:
            digest = sha256(b"16:experiment salt " + unit.encode()).hexdigest()
            bool(int(digest[:13], 16) % 1_000_000 < 500_000)

    def assign(self, units: Sequence[str]) -> None:
        queue = self._queue
        for unit in units:
            digest = sha256(b"16:experiment salt " + unit.encode()).hexdigest()
            variant = "control" if int(digest[:13], 16) % 1_000_000 < 500_000 else "treatment"
            queue.append((unit, variant, time.time()))

    def evaluate_many(self, unit: str) -> Mapping[str, object]:
        answers = {}
        for key, prefix in self._prefixes:
            digest = sha256(prefix + unit.encode()).hexdigest()
            answers[key] = "control" if int(digest[:13], 16) % 1_000_000 < 500_000 else "treatment"
        return answers

    def variant(self, unit: str, attributes: Mapping[str, Any]) -> str:
        if attributes["country"] not in COUNTRIES or attributes["age"] < ADULT:
            return OFF
        self.assign([unit])
        return self._queue[-1][1]

    def settle(self) -> int:
        queued = len(self._queue)
        self._queue.clear()
        return queued


def start() -> Bare:
    return Bare()
