"""Repetitions in blocks that fit into memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def in_blocks(run: Callable[[int], np.ndarray], repetitions: int, size: int) -> np.ndarray:
    """Call ``run`` with numbers of repetitions, at most ``size``, and join what it returns (repetitions first)."""
    return np.concatenate([run(min(size, repetitions - done)) for done in range(0, repetitions, size)])
