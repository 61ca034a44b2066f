"""A rule compiled into one function: unit id, attributes and ids of other types in, evaluation out.

All evaluations that a rule can end in are made once: none of them depends on the unit. What most rules do not have
(a QA list, holdouts, prerequisites, a shipped variant) stands behind two gates that are None without it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from .hashing import BUCKETS, bucket_of, first_eight_bytes
from .model import (
    HELD_OUT,
    OPEN,
    Attributes,
    Decider,
    Evaluation,
    ExperimentRule,
    Forced,
    Reason,
    Units,
)

_NOTHING: Mapping[str, Any] = {}


class Outcomes(NamedTuple):
    """The evaluations that a rule can end in; ``assigned``, ``forced`` follow the order of the variants.

    ``held_out`` follows the order of the holdouts. ``settled`` holds for every unit, None while the rule is running;
    ``shipped`` is None while nothing is.
    """

    no_unit: Evaluation
    error: Evaluation
    settled: Evaluation | None
    forced: tuple[Evaluation, ...]
    held_out: tuple[Evaluation, ...]
    not_targeted: Evaluation
    prerequisite: Evaluation
    shipped: Evaluation | None
    not_in_coverage: Evaluation
    assigned: tuple[Evaluation, ...]


def build_decider(  # noqa: C901 - for the function inside
    rule: ExperimentRule, default_unit_type: str, peers: Mapping[str, Decider]
) -> Decider:
    """Compile a rule.

    ``peers`` holds the functions of all experiments by key, for prerequisites; it may still be filled later.
    """
    outcomes = _prepare_outcomes(rule)
    layer_prefix, edges, variant_prefix, bounds = rule.draws
    no_unit, error, not_targeted = outcomes.no_unit, outcomes.error, outcomes.not_targeted
    not_in_coverage, assigned = outcomes.not_in_coverage, outcomes.assigned
    targeting, reads_default_id = rule.targeting, default_unit_type in rule.paths
    other_type = None if rule.unit_type == default_unit_type else rule.unit_type
    settle_first = _build_first_gate(rule, outcomes)
    settle_later = _build_later_gate(rule, outcomes, peers)
    # Nearly all experiments have two variants: one comparison finds the one that is drawn.
    split = bounds[0] if len(bounds) == 2 else None
    first, second = assigned[0], assigned[-1]
    # A hash that has read the prefix already: copying it is cheaper than beginning anew.
    begin_draw = sha256(variant_prefix).copy

    # One function on purpose: each call in it would cost what the whole of it should.
    def decide(unit_id: Any, attributes: Any, units: Any) -> Evaluation:  # noqa: C901, PLR0911, PLR0912
        try:
            randomised = unit_id if other_type is None else (units or _NOTHING).get(other_type)
            if type(randomised) is not str:
                randomised = plain_text(randomised)
            if not randomised:
                return no_unit
            unit = randomised.encode()
            if attributes is None:
                attributes = _NOTHING
            elif type(attributes) is not dict and not isinstance(attributes, Mapping):
                return error
            if settle_first is not None and (settled := settle_first(unit)) is not None:
                return settled
            if targeting is not None:
                if units or reads_default_id:
                    attributes = CallAttributes(
                        attributes, _usable({**(units or _NOTHING), default_unit_type: unit_id})
                    )
                if not targeting(attributes):
                    return not_targeted
            if settle_later is not None and (settled := settle_later(unit_id, attributes, units)) is not None:
                return settled
            if edges is not None and not bisect_right(edges, bucket_of(layer_prefix, unit)) & 1:
                return not_in_coverage
            # As variant_position does, without its calls.
            draw = begin_draw()
            draw.update(unit)
            bucket = (first_eight_bytes(draw.digest())[0] >> 12) % BUCKETS
            if split is not None:
                return second if bucket >= split else first
            return assigned[bisect_right(bounds, bucket)]
        except UnicodeEncodeError:
            return no_unit
        except Exception:  # noqa: BLE001 - arguments are the product's own objects; its request must go on
            return error

    return decide


def build_refusal(key: str, unit_type: str, default_unit_type: str) -> Decider:
    """Return the function of a rule that cannot be honoured: an error for every unit."""
    error, no_unit = (_undecided(key, reason) for reason in (Reason.ERROR, Reason.NO_UNIT))

    def decide(unit_id: Any, _: Any, units: Any) -> Evaluation:
        try:
            unit = plain_text(unit_id if unit_type == default_unit_type else (units or _NOTHING).get(unit_type))
            return error if unit and unit.encode() else no_unit
        except UnicodeEncodeError:
            return no_unit
        except Exception:  # noqa: BLE001 - as in build_decider
            return error

    return decide


def _build_first_gate(rule: ExperimentRule, outcomes: Outcomes) -> Callable[[bytes], Evaluation | None] | None:
    """What comes before targeting: rules that do not run, the QA list, holdouts. None where there is none of it."""
    if outcomes.settled is not None:
        return lambda _: outcomes.settled
    if rule.forced is None and not rule.holdouts:
        return None
    forced_prefix, positions = rule.forced or Forced(b"", {})

    def settle(unit: bytes) -> Evaluation | None:
        if positions and (position := positions.get(sha256(forced_prefix + unit).digest())) is not None:
            return outcomes.forced[position]
        for place, (_, _, prefix, low, high) in enumerate(rule.holdouts):
            if low <= bucket_of(prefix, unit) < high:
                return outcomes.held_out[place]
        return None

    return settle


def _build_later_gate(
    rule: ExperimentRule, outcomes: Outcomes, peers: Mapping[str, Decider]
) -> Callable[[Any, Attributes, Any], Evaluation | None] | None:
    """What comes between targeting and the draws: prerequisites, a shipped variant."""
    if not rule.prerequisites:
        return None if outcomes.shipped is None else lambda *_: outcomes.shipped

    def settle(unit_id: Any, attributes: Attributes, units: Any) -> Evaluation | None:
        for experiment, variants in rule.prerequisites:
            peer = peers.get(experiment)
            if peer is None or peer(unit_id, attributes, units).variant not in variants:
                return outcomes.prerequisite
        return outcomes.shipped

    return settle


class CallAttributes(Mapping[str, Any]):
    """Attributes beside the ids of the call, which win: nobody is targeted by an id that is not the unit's."""

    __slots__ = ("_attributes", "_ids")

    def __init__(self, attributes: Attributes, ids: Units) -> None:
        self._attributes = attributes
        self._ids = ids

    def __getitem__(self, name: str) -> Any:
        return self._ids[name] if name in self._ids else self._attributes[name]

    def get(self, name: str, default: Any = None) -> Any:
        """As the attributes answer: ``__getitem__`` of a ``defaultdict`` would make up, and keep, what is missing."""
        return self._ids[name] if name in self._ids else self._attributes.get(name, default)

    def __iter__(self) -> Iterator[str]:
        return iter({**self._attributes, **self._ids})

    def __len__(self) -> int:
        return len({**self._attributes, **self._ids})


def _usable(ids: Units) -> Units:
    """The ids that are some: what is no text, or empty, hides no attribute."""
    return {unit_type: text for unit_type, unit_id in ids.items() if (text := plain_text(unit_id))}


def plain_text(value: object) -> str | None:
    """Return a text as plain ``str`` (a subclass could bring behaviour of its own into hashing), None for no text."""
    return str.__str__(value) if isinstance(value, str) else None


def _prepare_outcomes(rule: ExperimentRule) -> Outcomes:
    payloads = {variant.key: variant.payload for variant in rule.variants}
    names = tuple(holdout.key for holdout in rule.holdouts)
    passed = tuple((name, OPEN) for name in names)

    def serve(key: str, reason: str, holdouts: tuple[tuple[str, str], ...] = passed) -> Evaluation:
        assigned = reason == Reason.ASSIGNED
        return Evaluation(rule.key, key, payloads[key], assigned, reason, rule.phase, holdouts)

    is_idle = rule.status == "paused" or (rule.status == "stopped" and rule.shipped is None)
    return Outcomes(
        no_unit=_undecided(rule.key, Reason.NO_UNIT),
        error=_undecided(rule.key, Reason.ERROR),
        settled=serve(rule.control, Reason.NOT_RUNNING, ()) if is_idle else None,
        forced=tuple(serve(key, Reason.FORCED, ()) for key in payloads),
        held_out=tuple(
            serve(rule.control, Reason.HOLDOUT, (*passed[:place], (name, HELD_OUT))) for place, name in enumerate(names)
        ),
        not_targeted=serve(rule.control, Reason.NOT_TARGETED),
        prerequisite=serve(rule.control, Reason.PREREQUISITE),
        shipped=None if rule.shipped is None else serve(rule.shipped, Reason.SHIPPED),
        not_in_coverage=serve(rule.control, Reason.NOT_IN_COVERAGE),
        assigned=tuple(serve(key, Reason.ASSIGNED) for key in payloads),
    )


def _undecided(key: str, reason: str) -> Evaluation:
    return Evaluation(key, None, None, in_experiment=False, reason=reason, phase=None)
