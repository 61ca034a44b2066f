"""Inputs of a scorecard: 1,000 metrics of two treatments and a control."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

METRICS = 1000
TREATMENTS = 2
COMPARISONS = METRICS * TREATMENTS


@dataclass(frozen=True)
class Inputs:
    """Units, means, squared deviations and non-zero units; treatments (metrics, 2), control (metrics, 1)."""

    treatment_n: NDArray[np.int64]
    treatment_mean: NDArray[np.float64]
    treatment_m2: NDArray[np.float64]
    treatment_nonzero: NDArray[np.int64]
    control_n: NDArray[np.int64]
    control_mean: NDArray[np.float64]
    control_m2: NDArray[np.float64]
    control_nonzero: NDArray[np.int64]

    def save(self, file: Path) -> None:
        """Write them for a process that has another numpy."""
        np.savez(file, **asdict(self))


def inputs() -> Inputs:
    """Arms of 5,000 to 200,000 units around a mean of 10."""
    chance = np.random.default_rng(20261125)

    def arm(columns: int) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        shape = METRICS, columns
        n = chance.integers(5_000, 200_000, shape)
        spread = chance.uniform(1, 20, shape)
        return n, chance.normal(10, 1, shape), spread**2 * (n - 1), (n * chance.uniform(0.001, 0.5, shape)).astype(int)

    return Inputs(*arm(TREATMENTS), *arm(1))
