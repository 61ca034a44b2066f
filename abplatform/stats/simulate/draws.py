"""Sums of simulated values per cell, drawn in chunks so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

from abplatform.stats.validation import FloatArray, IntArray

CHUNK = 1_000_000
"""Values drawn at a time; at most twice as many are held."""


def drawn_sums(counts: IntArray, draw: Callable[[int], FloatArray]) -> tuple[FloatArray, FloatArray]:
    """Draw values for every cell and return their sums and sums of squares.

    Args:
        counts: values of each cell, any shape.
        draw: returns that many values; called with at most twice ``CHUNK``.

    Returns:
        Two arrays of the shape of ``counts``; 0 where there are no values.
    """
    cell, size = _pieces(counts.ravel())
    totals, squares = np.zeros(size.shape), np.zeros(size.shape)
    for part in _parts(size):
        values = draw(int(size[part].sum()))
        starts = np.cumsum(size[part]) - size[part]
        totals[part] = np.add.reduceat(values, starts)
        squares[part] = np.add.reduceat(np.square(values), starts)

    def gathered(sums: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(cell, weights=sums, minlength=counts.size).reshape(counts.shape))

    return gathered(totals), gathered(squares)


def _pieces(counts: IntArray) -> tuple[IntArray, IntArray]:
    """Cut every cell into pieces of at most ``CHUNK`` values: whose each piece is, and its size."""
    pieces = -(-counts // CHUNK)
    cell = np.repeat(np.arange(counts.size), pieces)
    size = np.full(cell.shape, CHUNK, dtype=np.int64)
    last = np.cumsum(pieces)[pieces > 0] - 1
    size[last] = (counts - (pieces - 1) * CHUNK)[pieces > 0]
    return cell, size


def _parts(sizes: IntArray) -> Iterator[slice]:
    """Slices of neighbouring pieces with at most twice ``CHUNK`` values together."""
    chunk = np.cumsum(sizes) // CHUNK
    edges = [0, *(np.flatnonzero(np.diff(chunk)) + 1).tolist(), sizes.size]
    for begin, end in pairwise(edges):
        if end > begin:
            yield slice(begin, end)
