"""What an evaluator holds and answers: snapshots, the rules of their experiments, evaluations.

All are immutable tuples. Snapshots and rules are built by ``codec.decode_snapshot`` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

Attributes = Mapping[str, Any]
Units = Mapping[str, str]


class Reason:
    """Why an evaluation came out as it did, in the order in which the reasons are tried."""

    NOT_READY: Final = "NOT_READY"
    UNKNOWN_EXPERIMENT: Final = "UNKNOWN_EXPERIMENT"
    NO_UNIT: Final = "NO_UNIT"
    ERROR: Final = "ERROR"
    NOT_RUNNING: Final = "NOT_RUNNING"
    FORCED: Final = "FORCED"
    HOLDOUT: Final = "HOLDOUT"
    NOT_TARGETED: Final = "NOT_TARGETED"
    PREREQUISITE: Final = "PREREQUISITE"
    SHIPPED: Final = "SHIPPED"
    NOT_IN_COVERAGE: Final = "NOT_IN_COVERAGE"
    ASSIGNED: Final = "ASSIGNED"


HELD_OUT: Final = "held_out"
OPEN: Final = "open"


class Evaluation(NamedTuple):
    """What one unit gets from one experiment, and why.

    ``variant``, ``payload`` and ``phase`` are None for the reasons ``NOT_READY``, ``UNKNOWN_EXPERIMENT``,
    ``NO_UNIT`` and ``ERROR``: the caller's own default applies. ``in_experiment`` is true for ``ASSIGNED``
    alone. ``holdouts`` are the holdout checks that were made, as (holdout, ``held_out`` or ``open``): both groups are
    logged. The payload belongs to the snapshot and is shared by all evaluations: copy it before changing it.
    """

    experiment: str
    variant: str | None
    payload: Any
    in_experiment: bool
    reason: str
    phase: int | None
    holdouts: tuple[tuple[str, str], ...] = ()


# Takes the unit id, the attributes and the ids of other unit types; never raises.
Decider = Callable[[Any, Any, Any], Evaluation]


class VariantRule(NamedTuple):
    """A variant: its key, its buckets ``[low, high)``, and the JSON value that the product gets."""

    key: str
    low: int
    high: int
    payload: Any


class HoldoutRule(NamedTuple):
    """A holdout: units whose bucket under its salt lies in ``[low, high)`` get no experiment that it covers."""

    key: str
    unit_type: str
    prefix: bytes
    low: int
    high: int


class Prerequisite(NamedTuple):
    """Another experiment has to give one of these variants."""

    experiment: str
    variants: frozenset[str]


class Draws(NamedTuple):
    """The two draws, prepared for hashing.

    ``edges`` are the ends of the slots, in order: a bucket is in a slot if an odd number of edges lies at or below it.
    None where the slots cover every bucket, since the layer's draw then decides nothing. ``bounds`` are the upper
    ends of the variants' ranges, in order.
    """

    layer_prefix: bytes
    edges: tuple[int, ...] | None
    variant_prefix: bytes
    bounds: tuple[int, ...]


class Forced(NamedTuple):
    """Units that get a variant of somebody's choice: SHA-256 under a salt -> position of the variant."""

    prefix: bytes
    positions: Mapping[bytes, int]


class ExperimentRule(NamedTuple):
    """One experiment of a snapshot, ready to evaluate.

    ``targeting`` is None where every unit is targeted; ``paths`` are the attributes that it reads. ``forced`` is None
    where nobody is. ``decide`` is all of this compiled into one function.
    """

    key: str
    status: str
    unit_type: str
    phase: int
    salt: str
    variants: tuple[VariantRule, ...]
    control: str
    shipped: str | None
    dimensions: tuple[str, ...]
    targeting: Callable[[Attributes], bool] | None
    paths: frozenset[str]
    forced: Forced | None
    holdouts: tuple[HoldoutRule, ...]
    prerequisites: tuple[Prerequisite, ...]
    draws: Draws
    decide: Decider


class UnsupportedRule(NamedTuple):
    """An experiment that this evaluator cannot honour: it evaluates to ``ERROR``. ``error`` names the field."""

    key: str
    unit_type: str
    error: str
    decide: Decider


class Snapshot(NamedTuple):
    """Everything that evaluation needs, for one project at one version.

    ``unit_type`` is the type of the ids given as ``unit_id``. ``version`` only grows: a reader never goes
    back to a smaller one.
    """

    schema_version: int
    version: int
    project: str
    unit_type: str
    experiments: Mapping[str, ExperimentRule | UnsupportedRule]
