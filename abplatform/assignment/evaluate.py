"""Evaluation: which variant a unit gets from a snapshot, and why. No clock, no I/O, no exceptions."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

from .hashing import bucket_of, encode_text
from .layers import contains
from .model import Draws, Evaluation, ExperimentRule, Reason, Snapshot, UnsupportedRule

_NO_ATTRIBUTES: Mapping[str, object] = {}


def evaluate(
    snapshot: Snapshot | None,
    experiment: str,
    unit_id: str | None,
    attributes: Mapping[str, Any] | None = None,
    *,
    units: Mapping[str, str] | None = None,
) -> Evaluation:
    """Return what a unit gets from an experiment.

    ``unit_id`` identifies the unit of the snapshot's default type; ``units`` holds the ids of other types for
    experiments that randomise those. An id is usable if it is a string, not empty, with a UTF-8 form.
    Never raises: bad arguments give the reason ``ERROR``.
    """
    try:
        if snapshot is None:
            return _unanswered(experiment, Reason.NOT_READY)
        rule = snapshot.experiments.get(experiment)
        if rule is None:
            known_type = isinstance(experiment, str)
            return _unanswered(experiment, Reason.UNKNOWN_EXPERIMENT if known_type else Reason.ERROR)
        unit = unit_id if rule.unit_type == snapshot.unit_type else _other_unit(units, rule.unit_type)
        if not isinstance(unit, str) or not unit:
            return _unanswered(experiment, Reason.NO_UNIT)
        return _apply(rule, unit.encode(), _NO_ATTRIBUTES if attributes is None else attributes)
    except UnicodeEncodeError:
        return _unanswered(experiment, Reason.NO_UNIT)
    except Exception:  # noqa: BLE001 - arguments are the product's own objects; its request must go on
        return _unanswered(experiment, Reason.ERROR)


def draw_variant(rule: ExperimentRule, unit_id: str) -> str:
    """Return the variant that the experiment's salt draws for a unit, whatever its status and targeting.

    Raises:
        ValueError: ``unit_id`` is not a string or has no UTF-8 form.
    """
    return rule.variants[_draw(rule.draws, encode_text(unit_id, "unit_id"))].key


def _apply(rule: ExperimentRule | UnsupportedRule, unit: bytes, attributes: Mapping[str, Any]) -> Evaluation:
    if isinstance(rule, UnsupportedRule) or not (type(attributes) is dict or isinstance(attributes, Mapping)):
        return _unanswered(rule.key, Reason.ERROR)
    outcomes, draws = rule.outcomes, rule.draws
    if outcomes.settled is not None:
        return outcomes.settled
    if rule.targeting is not None and not rule.targeting(attributes):
        return outcomes.not_targeted
    if outcomes.shipped is not None:
        return outcomes.shipped
    if draws.slots is not None and not contains(draws.slots, bucket_of(draws.layer_prefix, unit)):
        return outcomes.not_in_coverage
    return outcomes.assigned[_draw(draws, unit)]


def _draw(draws: Draws, unit: bytes) -> int:
    # An empty range repeats the bound before it, so that the search steps over its variant.
    return bisect_right(draws.bounds, bucket_of(draws.variant_prefix, unit))


def _other_unit(units: Mapping[str, str] | None, unit_type: str) -> str | None:
    return None if units is None else units.get(unit_type)


def _unanswered(experiment: Any, reason: str) -> Evaluation:
    # What is not a string names no experiment. isinstance would run code of the object.
    name = experiment if issubclass(type(experiment), str) else ""
    return Evaluation(name, None, None, in_experiment=False, reason=reason, phase=None)
