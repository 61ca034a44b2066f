"""Snapshot documents for tests of the client."""

from __future__ import annotations

from typing import Any

DEFAULT = {"copy": "3.5% a year"}
TREATMENT = {"copy": "10,000 earns 350 in a year"}


def rule(**changes: Any) -> dict[str, Any]:
    """An experiment of two equal variants, running, on everybody."""
    return {
        "status": "running",
        "hash_version": 1,
        "unit_type": "user_id",
        "phase": 1,
        "salt": "salt-of-rate-display",
        "layer": {"salt": "layer-of-rate-display", "slots": [[0, 1_000_000]]},
        "targeting": {},
        "variants": [
            {"key": "control", "range": [0, 500_000], "payload": DEFAULT},
            {"key": "treatment", "range": [500_000, 1_000_000], "payload": TREATMENT},
        ],
        "control": "control",
        "shipped": None,
        "dimensions": ["channel"],
    } | changes


def snapshot(version: int = 7, **experiments: dict[str, Any]) -> dict[str, Any]:
    """A snapshot with `rate-display` and further experiments (underscores become hyphens)."""
    named = {key.replace("_", "-"): value for key, value in experiments.items()}
    return {
        "schema_version": 1,
        "version": version,
        "project": "default",
        "unit_type": "user_id",
        "experiments": {"rate-display": rule()} | named,
    }
