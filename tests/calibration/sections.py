"""All sections, in the order of the page."""

from __future__ import annotations

from tests.calibration import (
    adjusted,
    clusters,
    counts,
    decision,
    discovery,
    intervals,
    peeking,
    quality,
    sequences,
    staged,
)

SECTIONS = (
    peeking.SECTION,
    sequences.SECTION,
    staged.SECTION,
    adjusted.SECTION,
    counts.SECTION,
    intervals.SECTION,
    quality.SECTION,
    discovery.SECTION,
    decision.SECTION,
    clusters.SECTION,
)
