"""The work as a snapshot of the platform."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.sdk_peers.work import ADULT, COUNTRIES

PAYLOADS = ({"copy": "3.5% a year"}, {"copy": "10,000 earns 350 in a year"})


def document(keys: Sequence[str], payloads: Sequence[object] = PAYLOADS) -> dict[str, Any]:
    """The snapshot of the experiments ``keys``."""
    return {
        "schema_version": 1,
        "version": 1,
        "project": "default",
        "unit_type": "user_id",
        "experiments": {key: _rule(number, payloads) for number, key in enumerate(keys)},
    }


def _rule(number: int, payloads: Sequence[object]) -> dict[str, Any]:
    control, treatment = payloads
    return {
        "status": "running",
        "hash_version": 1,
        "unit_type": "user_id",
        "phase": 1,
        "salt": f"{number:016x}",
        "layer": {"salt": f"layer-{number:010x}", "slots": [[0, 1_000_000]]},
        "targeting": {"country": {"$in": list(COUNTRIES)}, "age": {"$gte": ADULT}},
        "variants": [
            {"key": "control", "range": [0, 500_000], "payload": control},
            {"key": "treatment", "range": [500_000, 1_000_000], "payload": treatment},
        ],
        "control": "control",
        "shipped": None,
        "dimensions": [],
    }
