"""Resolve one flag, or all flags of a snapshot, for one unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from abplatform.assignment import ExperimentRule, Snapshot, UnsupportedRule, evaluate
from abplatform.assignment.flags import FlagResolution, resolve_evaluation


def resolve_flag(
    snapshot: Snapshot,
    flag_key: str,
    unit_id: str | None,
    attributes: Mapping[str, Any] | None = None,
    *,
    units: Mapping[str, str] | None = None,
) -> FlagResolution:
    """Return what a unit gets for a flag; the arguments but ``flag_key`` are those of ``evaluate``."""
    experiment = flag_key.partition(".")[0]
    evaluation = evaluate(snapshot, experiment, unit_id, attributes, units=units)
    return resolve_evaluation(flag_key, evaluation, snapshot.experiments.get(experiment))


def resolve_flags(
    snapshot: Snapshot,
    unit_id: str | None,
    attributes: Mapping[str, Any] | None = None,
    *,
    units: Mapping[str, str] | None = None,
) -> list[FlagResolution]:
    """Return what a unit gets for each experiment, followed by the fields at the top of its payloads.

    Clients in browsers and apps can read only what they were given. Deeper parts are left out, since each level would
    send the payload once more; they are in their field's value. So are names that hold a dot: no key can reach them.
    Each experiment is evaluated once.
    """
    resolutions: list[FlagResolution] = []
    for experiment, rule in snapshot.experiments.items():
        evaluation = evaluate(snapshot, experiment, unit_id, attributes, units=units)
        keys = (experiment, *(f"{experiment}.{name}" for name in _fields(rule)))
        resolutions += [resolve_evaluation(key, evaluation, rule) for key in keys]
    return resolutions


def _fields(rule: ExperimentRule | UnsupportedRule) -> list[str]:
    if isinstance(rule, UnsupportedRule):
        return []
    payloads = (variant.payload for variant in rule.variants if isinstance(variant.payload, Mapping))
    # A dict keeps the order in which they first stand.
    return list(dict.fromkeys(name for payload in payloads for name in payload if "." not in name))
