"""An experiment: what its author defines, and the state that the platform adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

from abplatform.domain.plan import AnalysisPlan
from abplatform.domain.sameness import say_the_same
from abplatform.domain.slots import Ranges

Status = Literal["draft", "running", "paused", "closed", "stopped", "archived"]
Assignment = Literal["served", "external"]
RiskClass = Literal["standard", "regulated"]
Role = Literal["primary", "secondary", "guardrail"]
Outcome = Literal["ship", "roll_back", "inconclusive"]

ROLES = ("primary", "secondary", "guardrail")
STATUSES = ("draft", "running", "paused", "closed", "stopped", "archived")
OUTCOMES = ("ship", "roll_back", "inconclusive")
UNDER_WAY: frozenset[Status] = frozenset({"running", "paused", "closed"})
"""Started and neither stopped nor decided: slots are held, and what it depends on must stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One of the things that a unit may get.

    Attributes:
        key: its name, 1 to 64 printable characters.
        weight: share relative to the other variants' weights.
        payload: any JSON value, handed to the product as it is.
    """

    key: str
    weight: float = 1
    payload: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """A size of effect: ``relative`` to the control's mean, or ``absolute``; exactly one is set."""

    relative: float | None = None
    absolute: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricUse:
    """What a metric is to an experiment.

    Attributes:
        metric: key of the metric.
        role: primaries decide, guardrails must not get worse, secondaries inform.
        mde: smallest effect worth finding.
        non_inferiority_margin: how much worse a guardrail may be at most.
        version: of the metric, pinned by the start; None in a draft, which follows the newest, and in experiments that
            started before metrics had versions: they use version 1.
        cap: the number that a cap by quantile became at the start.
    """

    metric: str
    role: Role = "secondary"
    mde: Amount | None = None
    non_inferiority_margin: Amount | None = None
    version: int | None = None
    cap: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prerequisite:
    """Another experiment that must give a unit one of these variants before it enters this one.

    Attributes:
        experiment: key of the other experiment.
        variants: keys of its variants; any of them will do, for whatever reason the unit gets it.
    """

    experiment: str
    variants: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentDefinition:
    """What the author of an experiment writes.

    Attributes:
        key: name in this project.
        unit_type: what is randomised.
        analysis_unit: what is counted; the same as ``unit_type`` unless it is clustered.
        layer: key of a shared layer, whose experiments exclude each other; None for an implicit one of its own.
        coverage: share of the targeted units that enter: of all slots of the layer.
        prerequisites: all must hold.
        assignment: ``served`` by this platform, or ``external``: drawn elsewhere and only analysed here.
        targeting: JSON condition on the attributes (see ``docs/assignment.md``).
        dimensions: attributes that exposures carry, to slice results by.
        covariates: numeric attributes from before the exposure; external experiments only, so far.
    """

    key: str
    name: str
    hypothesis: str = ""
    variants: tuple[Variant, ...]
    control: str
    metrics: tuple[MetricUse, ...]
    plan: AnalysisPlan
    unit_type: str = "user_id"
    analysis_unit: str | None = None
    layer: str | None = None
    coverage: float = 1.0
    risk_class: RiskClass = "standard"
    assignment: Assignment = "served"
    targeting: Mapping[str, object] = field(default_factory=dict)
    prerequisites: tuple[Prerequisite, ...] = ()
    dimensions: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()

    @property
    def clustered(self) -> bool:
        """Whether whole clusters were randomised and their members are counted."""
        return self.analysis_unit is not None and self.analysis_unit != self.unit_type

    def uses(self, role: Role) -> tuple[MetricUse, ...]:
        """The metrics in that role, in declared order."""
        return tuple(use for use in self.metrics if use.role == role)

    @property
    def treatments(self) -> tuple[str, ...]:
        """Keys of all variants but the control, in declared order."""
        return tuple(variant.key for variant in self.variants if variant.key != self.control)


@dataclass(frozen=True, slots=True, kw_only=True)
class PastPhase:
    """What held in a phase that a later one has replaced.

    Attributes:
        number: from 1.
        salt: drew its variants.
        slots: which buckets of the layer were in, at its end.
        variants, control, targeting, coverage, prerequisites: as they were in it.
        reason: why the next one was opened, in its author's words.
    """

    number: int
    salt: str
    slots: Ranges
    started_at: datetime
    ended_at: datetime
    variants: tuple[Variant, ...]
    control: str
    targeting: Mapping[str, object]
    coverage: float = 1.0
    prerequisites: tuple[Prerequisite, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """What people decided, which may be other than what the plan recommended.

    Attributes:
        outcome: ``ship`` serves ``variant`` to every targeted unit; the others ship nothing.
        reason: in their words.
        phase, look: the latest look at that time, which the decision rests on; None if nobody had looked, and in
            decisions from before it was recorded.
    """

    outcome: Outcome
    variant: str | None = None
    reason: str
    decided_at: datetime
    phase: int | None = None
    look: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A definition with its state.

    Attributes:
        salt: random, made once by the server; of phase 1 and of the forced list, for ever.
        phase_salt: decides which variant a unit gets in this phase.
        layer_salt: decides whether a unit is in; copied from the shared layer at the start, else its own.
        slots: buckets of the layer that it holds now: from the start until it stops, and grown by ramps.
        phase: from 1; each has its own salt, slots and results.
        phase_ended_at: of what `in_phase` gives for a past phase; None for the current one.
        forced: variant keys by ``unit_digest(salt, unit_id)``; test accounts only.
        holdouts: keys of the holdouts that covered it at its start, oldest first.
        refresh_every: how often the worker looks at the results; None for never.
        closed_at: end of enrolment; later first exposures do not count.
        shipped: key of the variant that every targeted unit gets.
        decision, past_decisions: what was decided; earlier ones oldest first.
        revision: grows with every change; the ETag.
        preregistered: whether the plan was frozen here before the first unit was exposed; a draft has frozen nothing.
    """

    definition: ExperimentDefinition
    salt: str
    phase_salt: str
    layer_salt: str
    created_at: datetime
    status: Status = "draft"
    slots: Ranges = ()
    phase: int = 1
    past_phases: tuple[PastPhase, ...] = ()
    forced: Mapping[str, str] = field(default_factory=dict)
    holdouts: tuple[str, ...] = ()
    shipped: str | None = None
    decision: DecisionRecord | None = None
    past_decisions: tuple[DecisionRecord, ...] = ()
    revision: int = 1
    refresh_every: timedelta | None = None
    preregistered: bool = False
    started_at: datetime | None = None
    phase_started_at: datetime | None = None
    phase_ended_at: datetime | None = None
    closed_at: datetime | None = None
    stopped_at: datetime | None = None
    archived_at: datetime | None = None

    @property
    def key(self) -> str:
        """Name in this project."""
        return self.definition.key

    def in_phase(self, number: int) -> Experiment:
        """The experiment as it was in that phase; what people said and decided about it is that of today.

        Raises:
            ValueError: it never had a phase of that number.
        """
        if number == self.phase:
            return self
        past = next((phase for phase in self.past_phases if phase.number == number), None)
        if past is None:
            raise ValueError(f"number: {self.key} has had phases 1 to {self.phase} only")
        definition = replace(
            self.definition,
            variants=past.variants,
            control=past.control,
            targeting=past.targeting,
            coverage=past.coverage,
            prerequisites=past.prerequisites,
        )
        return replace(
            self,
            definition=definition,
            phase=number,
            phase_salt=past.salt,
            slots=past.slots,
            phase_started_at=past.started_at,
            phase_ended_at=past.ended_at,
            closed_at=None,
        )


EDITABLE_AFTER_START = frozenset({"name", "hypothesis"})
OF_A_PHASE = ("variants", "control", "targeting", "coverage", "prerequisites")
"""What a new phase may change: units are drawn anew."""


def changed_fields(before: ExperimentDefinition, after: ExperimentDefinition) -> tuple[str, ...]:
    """Names of the fields in which two definitions differ."""
    return tuple(
        name
        for name in ExperimentDefinition.__dataclass_fields__
        if not say_the_same(getattr(before, name), getattr(after, name))
    )


@dataclass(frozen=True, slots=True)
class Pin:
    """What the start of an experiment has fixed of a metric: see `MetricUse`."""

    version: int | None
    cap: Decimal | None = None


def pin_metrics(definition: ExperimentDefinition, pins: Mapping[str, Pin]) -> ExperimentDefinition:
    """The definition with what is fixed of metrics by key; what it has fixed, and metrics not named, stay."""
    uses = (_pinned(use, pins[use.metric]) if use.metric in pins else use for use in definition.metrics)
    return replace(definition, metrics=tuple(uses))


def _pinned(use: MetricUse, pin: Pin) -> MetricUse:
    return use if use.version is not None else replace(use, version=pin.version, cap=pin.cap)


def prior_scale(definition: ExperimentDefinition) -> float | None:
    """Standard deviation of a Bayesian plan's prior on the relative lift, if the definition says one."""
    if definition.plan.prior is not None:
        return definition.plan.prior.scale
    primaries = definition.uses("primary")
    return primaries[0].mde.relative if primaries and primaries[0].mde is not None else None
