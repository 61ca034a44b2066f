"""Snapshot documents and vectors for the tests of the evaluator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "tests" / "vectors"


def read_vectors(name: str) -> dict[str, Any]:
    """The document of one vector file."""
    document: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    return document


def a_rule(**changes: Any) -> dict[str, Any]:
    """The document of a running experiment with two equal variants that covers everybody."""
    defaults: dict[str, Any] = {
        "status": "running",
        "hash_version": 1,
        "unit_type": "user_id",
        "phase": 1,
        "salt": "variant-salt",
        "layer": {"salt": "layer-salt", "slots": [[0, 1_000_000]]},
        "targeting": {},
        "variants": [
            {"key": "control", "range": [0, 500_000], "payload": {"copy": "3.5% a year"}},
            {"key": "treatment", "range": [500_000, 1_000_000], "payload": {"copy": "10,000 earns 350"}},
        ],
        "control": "control",
        "shipped": None,
        "dimensions": ["channel"],
    }
    return defaults | changes


def a_snapshot(experiments: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A snapshot document; without experiments given, of one called ``rate-display``."""
    defaults: dict[str, Any] = {
        "schema_version": 1,
        "version": 17,
        "project": "default",
        "unit_type": "user_id",
        "experiments": {"rate-display": a_rule()} if experiments is None else experiments,
    }
    return defaults | changes
