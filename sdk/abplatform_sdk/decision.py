"""What a product gets back: the variant, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ._assignment import Snapshot, UnsupportedRule, evaluate
from .events import Exposure, Scalar, Unsendable, read_scalar


@dataclass(frozen=True, slots=True)
class Decision:
    """One answer for one unit.

    Attributes:
        experiment: key of the experiment; empty if the product gave something that is not text.
        variant: key of the variant; None when nothing could be decided.
        payload: what the variant carries, a copy of the caller's own; the caller's ``default`` without a variant.
        in_experiment: whether the unit is part of the experiment (reason ``ASSIGNED``).
        reason: why, in UPPER_SNAKE; the list stands in the documentation.
        phase: the phase of the experiment; None without a variant.
    """

    experiment: str
    variant: str | None
    payload: Any
    in_experiment: bool
    reason: str
    phase: int | None = None
    _exposure: Exposure | None = field(default=None, repr=False, compare=False)


def no_decision(experiment: object, reason: str, default: object) -> Decision:
    """The answer when nothing can be decided: the caller's default."""
    key = _plain(experiment) if isinstance(experiment, str) else ""
    return Decision(key, None, default, in_experiment=False, reason=reason)


def decide(
    snapshot: Snapshot | None,
    experiment: str,
    unit_id: str | None,
    attributes: Mapping[str, Any] | None,
    *,
    units: Mapping[str, str] | None,
    default: object,
) -> Decision:
    """Evaluate, and keep with the answer what its exposure will need."""
    experiment, unit_id = _plain(experiment), _plain(unit_id)
    units = None if units is None else dict(units)
    result = evaluate(snapshot, experiment, unit_id, attributes, units=units)
    if result.variant is None or snapshot is None:
        return no_decision(experiment, result.reason, default)
    exposure = None
    if result.in_experiment and result.phase is not None:
        exposure = Exposure(
            experiment=experiment,
            phase=result.phase,
            variant=result.variant,
            unit_id=unit_id,
            units=units or {},
            attributes=_dimensions(snapshot, experiment, attributes),
        )
    return Decision(
        experiment=experiment,
        variant=result.variant,
        payload=_copied(result.payload),
        in_experiment=result.in_experiment,
        reason=result.reason,
        phase=result.phase,
        _exposure=exposure,
    )


def _plain(value: Any) -> Any:
    """A text as plain `str`: a subclass could bring behaviour of its own into hashing and JSON."""
    return str.__str__(value) if isinstance(value, str) else value


def _dimensions(snapshot: Snapshot, experiment: str, attributes: Mapping[str, Any] | None) -> dict[str, Scalar]:
    """The attributes that the experiment is broken down by; no other attribute leaves the process."""
    rule = snapshot.experiments[experiment]
    if not attributes or isinstance(rule, UnsupportedRule):
        return {}
    found: dict[str, Scalar] = {}
    for name in rule.dimensions:
        try:
            value = read_scalar(attributes.get(name), "invalid_attribute")
        except Unsendable:
            continue
        if value is not None:
            found[name] = value
    return found


def _copied(payload: Any) -> Any:
    """A copy of JSON data: what a product does to its payload must not reach the next unit."""
    if isinstance(payload, dict):
        return {key: _copied(value) for key, value in payload.items()}
    if isinstance(payload, list):
        return [_copied(value) for value in payload]
    return payload
