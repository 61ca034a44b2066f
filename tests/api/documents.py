"""Bodies as clients send them: defaults, plus what matters to the test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

Body = dict[str, Any]


def metric_body(key: str = "purchase", **changes: Any) -> Body:
    """The metric of the design."""
    return {
        "key": key,
        "name": "Purchase",
        "kind": "conversion",
        "event": "purchase",
        "where": {"product": "term-deposit"},
        "direction": "increase",
        "window": {"start": "PT0S", "end": "P30D"},
    } | changes


def experiment_body(key: str = "rate-display", **changes: Any) -> Body:
    """The experiment of the design, with what exists."""
    return {
        "key": key,
        "name": "Rate display",
        "hypothesis": "Concrete yuan beat a percentage",
        "unit_type": "user_id",
        "layer": None,
        "coverage": 1.0,
        "risk_class": "standard",
        "targeting": {"country": {"$in": ["CN", "HK"]}, "app_version": {"$vgte": "3.2.0"}},
        "variants": [
            {"key": "control", "weight": 1, "payload": {"copy": "3.5% a year"}},
            {"key": "treatment", "weight": 1, "payload": {"copy": "10,000 earns 350 in a year"}},
        ],
        "control": "control",
        "metrics": [{"metric": "purchase", "role": "primary", "mde": {"relative": 0.05}}],
        "plan": {"method": "sequential", "alpha": 0.05, "power": 0.8, "planned_units": 100000},
        "dimensions": ["channel"],
    } | changes


def ramp_body(**changes: Any) -> Body:
    """Everybody in."""
    return {"coverage": 1.0} | changes


def phase_body(**changes: Any) -> Body:
    """A phase that draws everybody anew and changes nothing else."""
    return {"reason": "A payload was wrong"} | changes


def decision_body(**changes: Any) -> Body:
    """The treatment ships."""
    return {"outcome": "ship", "variant": "treatment", "reason": "Better, and no guardrail is hurt"} | changes


def forced_body(**changes: Any) -> Body:
    """A test account to force, and one to let go."""
    units = [{"unit_id": "qa-1", "variant": "treatment"}, {"unit_id": "qa-2", "variant": None}]
    return {"units": units} | changes


def schedule_body(**changes: Any) -> Body:
    """A look every six hours."""
    return {"every": "PT6H", "spends_alpha": False} | changes


def layer_body(key: str = "home-page", **changes: Any) -> Body:
    """A layer with every field."""
    return {"key": key, "name": "Home page", "unit_type": "user_id", "description": "one banner at a time"} | changes


def holdout_body(key: str = "q3", **changes: Any) -> Body:
    """A holdout from all experiments, with every field."""
    return {"key": key, "name": "Third quarter", "unit_type": "user_id", "share": 0.05, "layers": None} | changes


def segment_body(key: str = "vip-branches", **changes: Any) -> Body:
    """A segment of values."""
    return {"key": key, "name": "Branches for VIPs", "kind": "values", "values": ["SH-1", 7, True]} | changes


def units_body(key: str = "staff", **changes: Any) -> Body:
    """A segment of units."""
    return {"key": key, "name": "Staff", "kind": "units", "unit_ids": ["u-1", "u-2"]} | changes


def behaviour_body(key: str = "rfm", **changes: Any) -> Body:
    """Customers by what they bought, at fixed edges."""
    return {
        "key": key,
        "name": "Customers by value",
        "kind": "rfm",
        "activity": [{"event": "purchase", "where": {"product": "term-deposit"}}],
        "look_back": "P365D",
        "recency": {"edges": ["P7D", "P30D", "P90D"]},
        "frequency": {"edges": [1, 3], "high_from": 3},
        "money": {"edges": ["100", "1000.5"]},
    } | changes


def exposure_body(event_id: str = "e-1", **changes: Any) -> Body:
    """An exposure that happened now."""
    return {
        "event_id": event_id,
        "experiment": "rate-display",
        "phase": 1,
        "variant": "treatment",
        "unit_id": "u-1",
        "timestamp": ago(),
        "attributes": {"channel": "douyin"},
    } | changes


def holdout_exposure_body(event_id: str = "h-1", **changes: Any) -> Body:
    """A check against a holdout that happened now."""
    return {"event_id": event_id, "holdout": "q3", "group": "open", "unit_id": "u-1", "timestamp": ago()} | changes


def conversion_body(event_id: str = "c-1", **changes: Any) -> Body:
    """A conversion that happened now."""
    return {
        "event_id": event_id,
        "event": "purchase",
        "unit_id": "u-1",
        "timestamp": ago(),
        "value": "350.00",
        "properties": {"product": "term-deposit"},
    } | changes


def key_body(**changes: Any) -> Body:
    """A key for a product's server."""
    return {"name": "product server", "role": "sdk"} | changes


def ago(**delta: float) -> str:
    """A time before now, as clients write it."""
    return (datetime.now(UTC) - timedelta(**delta)).isoformat()


def costs_body(**changes: Any) -> Body:
    """What two channels cost."""
    costs = {"douyin": "120000.10", "wechat": "30000"}
    return {"by": "channel", "metric": "purchase", "costs": costs} | changes


# A good body for every POST that needs one, by path; what it makes is not there yet.
POSTED: dict[str, Body] = {
    "/experiments": experiment_body("new"),
    "/experiments/rate-display/ramp": ramp_body(),
    "/experiments/rate-display/phase": phase_body(),
    "/experiments/rate-display/decide": decision_body(),
    "/experiments/rate-display/forced": forced_body(),
    "/experiments/rate-display/schedule": schedule_body(),
    "/experiments/rate-display/results/acquisition-cost": costs_body(),
    "/metrics": metric_body("new"),
    "/metrics/purchase/versions": {"event": "order"},
    "/metric-templates/install": {"templates": ["registration"]},
    "/layers": layer_body("new"),
    "/holdouts": holdout_body("new"),
    "/segments": segment_body("new"),
    "/behaviours": behaviour_body("new"),
    "/behaviours/rfm/versions": {"name": "Second"},
    "/exposures": exposure_body(),
    "/conversions": conversion_body(),
    "/keys": key_body(),
}
