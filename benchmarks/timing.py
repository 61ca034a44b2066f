"""Timing that survives a noisy machine: peers take turns, medians are compared."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

ROUNDS = 7


@dataclass(frozen=True)
class Result:
    """One line of the report.

    Attributes:
        name: what was measured.
        figure: what was seen, for people.
        goal: what is asked.
        met: whether it was.
    """

    name: str
    figure: str
    goal: str
    met: bool


def medians(
    peers: Mapping[str, Callable[[], object]], *, rounds: int = ROUNDS, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Median seconds of each peer; they take turns so that a slow moment hits all of them.

    Args:
        clock: ``time.process_time`` counts what a peer works, on all cores together, and not what it waits for.
    """
    for peer in peers.values():
        peer()
    seconds: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(rounds):
        for name, peer in peers.items():
            start = clock()
            peer()
            seconds[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}
