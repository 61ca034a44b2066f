"""What an evaluator holds and answers: snapshots, the rules of their experiments, evaluations.

All are immutable tuples. Snapshots and rules are built by ``codec.decode_snapshot`` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from .layers import Ranges


class Reason:
    """Why an evaluation came out as it did, in the order in which the reasons are tried."""

    NOT_READY: Final = "NOT_READY"
    UNKNOWN_EXPERIMENT: Final = "UNKNOWN_EXPERIMENT"
    NO_UNIT: Final = "NO_UNIT"
    ERROR: Final = "ERROR"
    NOT_RUNNING: Final = "NOT_RUNNING"
    NOT_TARGETED: Final = "NOT_TARGETED"
    SHIPPED: Final = "SHIPPED"
    NOT_IN_COVERAGE: Final = "NOT_IN_COVERAGE"
    ASSIGNED: Final = "ASSIGNED"


class Evaluation(NamedTuple):
    """What one unit gets from one experiment, and why.

    ``variant``, ``payload`` and ``phase`` are None for the reasons ``NOT_READY``, ``UNKNOWN_EXPERIMENT``,
    ``NO_UNIT`` and ``ERROR``: the caller's own default applies. ``in_experiment`` is true for ``ASSIGNED``
    alone. The payload belongs to the snapshot and is shared by all evaluations: copy it before changing it.
    """

    experiment: str
    variant: str | None
    payload: Any
    in_experiment: bool
    reason: str
    phase: int | None


class VariantRule(NamedTuple):
    """A variant: its key, its buckets ``[low, high)``, and the JSON value that the product gets."""

    key: str
    low: int
    high: int
    payload: Any


class Outcomes(NamedTuple):
    """The evaluations that a rule can end in. None of them depends on the unit, so they are made once.

    ``settled`` holds for every unit (not running), ``shipped`` for every targeted one; None where they do not
    apply. ``assigned`` follows the order of the variants.
    """

    settled: Evaluation | None
    not_targeted: Evaluation
    shipped: Evaluation | None
    not_in_coverage: Evaluation
    assigned: tuple[Evaluation, ...]


class Draws(NamedTuple):
    """The two draws, prepared for hashing.

    ``slots`` is None where they cover every bucket, since the layer's draw then decides nothing. ``bounds``
    are the upper ends of the variants' ranges, in order.
    """

    layer_prefix: bytes
    slots: Ranges | None
    variant_prefix: bytes
    bounds: tuple[int, ...]


class ExperimentRule(NamedTuple):
    """One experiment of a snapshot, ready to evaluate.

    ``targeting`` is None where every unit is targeted.
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
    targeting: Callable[[Mapping[str, object]], bool] | None
    draws: Draws
    outcomes: Outcomes


class UnsupportedRule(NamedTuple):
    """An experiment that needs a newer evaluator: it evaluates to ``ERROR``. ``error`` names the field."""

    key: str
    unit_type: str
    error: str


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
