"""What the demo defines, as the API takes it."""

from __future__ import annotations

from typing import Any

# Real windows are days; the demo has a minute.
WINDOW_SECONDS = 5
_WINDOW = {"start": "PT0S", "end": f"PT{WINDOW_SECONDS}S"}

RATE_DISPLAY = "rate-display"
PURCHASE: dict[str, Any] = {
    "key": "purchase",
    "name": "Purchase",
    "kind": "conversion",
    "event": "purchase",
    "where": {"product": "term-deposit"},
    "direction": "increase",
    "window": _WINDOW,
}
COMPLAINT: dict[str, Any] = {
    "key": "complaint",
    "name": "Complaint",
    "kind": "conversion",
    "event": "complaint",
    "direction": "decrease",
    "window": _WINDOW,
}
DEPOSIT: dict[str, Any] = {
    "key": "deposit",
    "name": "Deposited amount",
    "kind": "sum",
    "event": "purchase",
    "where": {"product": "term-deposit"},
    "direction": "increase",
    "window": _WINDOW,
}
COPIES: tuple[dict[str, Any], ...] = (
    {"key": "control", "weight": 1, "payload": {"copy": "3.5% a year"}},
    {"key": "treatment", "weight": 1, "payload": {"copy": "10,000 earns 350 in a year"}},
)
"""The two copies of the rate, as variants."""


def experiment_document(key: str, metrics: dict[str, str]) -> dict[str, Any]:
    """The rate-display experiment.

    Args:
        key: of the experiment.
        metrics: the keys under which the three metrics are there.
    """
    return {
        "key": key,
        "name": "Rate display",
        "hypothesis": "Concrete yuan beat a percentage",
        "unit_type": "user_id",
        "risk_class": "standard",
        "targeting": {"country": {"$in": ["CN", "HK"]}},
        "variants": COPIES,
        "control": "control",
        "metrics": [
            {"metric": metrics["purchase"], "role": "primary", "mde": {"relative": 0.1}},
            {
                "metric": metrics["complaint"],
                "role": "guardrail",
                "non_inferiority_margin": {"absolute": 0.01},
            },
            {"metric": metrics["deposit"], "role": "secondary"},
        ],
        "plan": {"method": "sequential", "alpha": 0.05, "power": 0.8, "planned_units": 20_000},
        "dimensions": ["channel"],
    }
