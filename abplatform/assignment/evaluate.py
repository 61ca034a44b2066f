"""Evaluation: which variant a unit gets from a snapshot, and why. No clock, no I/O, no exceptions."""

from __future__ import annotations

from typing import Any

from .hashing import encode_text
from .layers import variant_position
from .model import Attributes, Evaluation, ExperimentRule, Reason, Snapshot, Units


def evaluate(
    snapshot: Snapshot | None,
    experiment: str,
    unit_id: str | None,
    attributes: Attributes | None = None,
    *,
    units: Units | None = None,
) -> Evaluation:
    """Return what a unit gets from an experiment.

    ``unit_id`` identifies the unit of the snapshot's default type; ``units`` holds the ids of other types for
    experiments that randomise those. An id is usable if it is a string, not empty, with a UTF-8 form.
    Never raises: bad arguments give the reason ``ERROR``.
    """
    if snapshot is None:
        return unanswered(experiment, Reason.NOT_READY)
    try:
        rule = snapshot.experiments.get(experiment)
        if rule is not None:
            return rule.decide(unit_id, attributes, units)
        known_type = isinstance(experiment, str)
        return unanswered(experiment, Reason.UNKNOWN_EXPERIMENT if known_type else Reason.ERROR)
    except Exception:  # noqa: BLE001 - arguments are the product's own objects; its request must go on
        return unanswered(experiment, Reason.ERROR)


def draw_variant(rule: ExperimentRule, unit_id: str) -> str:
    """Return the variant that the experiment's salt draws for a unit, whatever its status and targeting.

    Raises:
        ValueError: ``unit_id`` is not a string or has no UTF-8 form.
    """
    return rule.variants[variant_position(rule.draws, encode_text(unit_id, "unit_id"))].key


def unanswered(experiment: Any, reason: str) -> Evaluation:
    """Return an evaluation without a variant."""
    # What is not a string names no experiment. isinstance would run code of the object.
    name = experiment if issubclass(type(experiment), str) else ""
    return Evaluation(name, None, None, in_experiment=False, reason=reason, phase=None)
