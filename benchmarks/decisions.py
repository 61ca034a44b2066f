"""How long one decision takes, against the bare hash that any implementation must compute."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from abplatform.assignment import coverage_slots, decode_snapshot, evaluate, variant_ranges
from benchmarks.timing import Result, medians

UNITS = 20_000
MOST = 2.2


def document() -> dict[str, Any]:
    """A snapshot with one experiment, 50/50, targeted on two attributes."""
    control, treatment = variant_ranges([1, 1])
    return {
        "schema_version": 1,
        "version": 1,
        "project": "default",
        "unit_type": "user_id",
        "experiments": {
            "rate-display": {
                "status": "running",
                "hash_version": 1,
                "unit_type": "user_id",
                "phase": 1,
                "salt": "experiment salt",
                "layer": {"salt": "layer salt", "slots": [list(slot) for slot in coverage_slots(1.0)]},
                "targeting": {"country": {"$in": ["CN", "HK"]}, "age": {"$gte": 18}},
                "variants": [
                    {"key": "control", "range": list(control), "payload": {"copy": "3.5% a year"}},
                    {"key": "treatment", "range": list(treatment), "payload": {"copy": "10,000 earns 350"}},
                ],
                "control": "control",
                "shipped": None,
                "dimensions": [],
            }
        },
    }


def run() -> Iterator[Result]:
    """Compare `evaluate` with a loop over SHA-256 and two comparisons."""
    snapshot = decode_snapshot(document())
    units = [f"user-{number}" for number in range(UNITS)]
    attributes = {"country": "CN", "age": 30}

    def decide() -> None:
        for unit in units:
            evaluate(snapshot, "rate-display", unit, attributes)

    def bare() -> None:
        for unit in units:
            digest = hashlib.sha256(b"15:experiment salt" + unit.encode()).hexdigest()
            bool(int(digest[:13], 16) % 1_000_000 < 500_000)

    seconds = medians({"evaluate": decide, "bare SHA-256": bare})
    ratio = seconds["evaluate"] / seconds["bare SHA-256"]
    per_decision = {name: value / UNITS * 1e6 for name, value in seconds.items()}
    figure = f"{ratio:.2f}x ({per_decision['evaluate']:.2f} us against {per_decision['bare SHA-256']:.2f} us)"
    yield Result("a decision against a bare SHA-256 loop", figure, f"at most {MOST}x", met=ratio <= MOST)
