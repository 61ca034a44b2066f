"""An experiment: what its author defines, and the state that the platform adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from abplatform.domain.plan import AnalysisPlan
from abplatform.errors import IllegalTransition, ReviewRequired

Status = Literal["draft", "running", "paused", "stopped", "archived"]
Assignment = Literal["served", "external"]
RiskClass = Literal["standard", "regulated"]
Role = Literal["primary", "secondary", "guardrail"]
Step = Literal["start", "pause", "resume", "stop", "archive"]

ROLES = ("primary", "secondary", "guardrail")
STATUSES = ("draft", "running", "paused", "stopped", "archived")

TRANSITIONS: Mapping[tuple[Status, Step], Status] = {
    ("draft", "start"): "running",
    ("running", "pause"): "paused",
    ("paused", "resume"): "running",
    ("running", "stop"): "stopped",
    ("paused", "stop"): "stopped",
    ("stopped", "archive"): "archived",
}


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
    """

    metric: str
    role: Role = "secondary"
    mde: Amount | None = None
    non_inferiority_margin: Amount | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentDefinition:
    """What the author of an experiment writes.

    Attributes:
        key: name in this project.
        unit_type: what is randomised.
        analysis_unit: what is counted; the same as ``unit_type`` unless it is clustered.
        layer: key of a layer; none of its own so far.
        coverage: share of the targeted units that enter.
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
class Experiment:
    """A definition with its state.

    Attributes:
        salt: decides which variant a unit gets; random, made once by the server.
        layer_salt: decides whether a unit is in; random, of the experiment's own implicit layer.
        revision: grows with every change; the ETag.
        preregistered: whether the plan was frozen here before the first unit was exposed.
    """

    definition: ExperimentDefinition
    salt: str
    layer_salt: str
    created_at: datetime
    status: Status = "draft"
    phase: int = 1
    revision: int = 1
    preregistered: bool = True
    started_at: datetime | None = None
    stopped_at: datetime | None = None
    archived_at: datetime | None = None

    @property
    def key(self) -> str:
        """Name in this project."""
        return self.definition.key

    def take(self, step: Step, *, now: datetime) -> Experiment:
        """The experiment after one step of its life.

        Raises:
            IllegalTransition: if the life cycle has no such step from here.
            ReviewRequired: at the start of a ``regulated`` experiment.
        """
        after = TRANSITIONS.get((self.status, step))
        if after is None:
            possible = [allowed for status, allowed in TRANSITIONS if status == self.status]
            hint = f"; possible now: {', '.join(possible)}" if possible else ""
            raise IllegalTransition(f"{self.key} is {self.status}, so it cannot {step}{hint}")
        if step == "start" and self.definition.risk_class == "regulated":
            raise ReviewRequired(
                f"{self.key} has the risk_class regulated: a reviewer has to approve it before it starts, and reviews "
                "are not supported yet"
            )
        stamps: dict[Step, dict[str, datetime]] = {
            "start": {"started_at": now},
            "stop": {"stopped_at": now},
            "archive": {"archived_at": now},
        }
        return replace(self, status=after, revision=self.revision + 1, **stamps.get(step, {}))  # type: ignore[arg-type]


EDITABLE_AFTER_START = frozenset({"name", "hypothesis"})


def changed_fields(before: ExperimentDefinition, after: ExperimentDefinition) -> tuple[str, ...]:
    """Names of the fields in which two definitions differ."""
    return tuple(
        name for name in ExperimentDefinition.__dataclass_fields__ if getattr(before, name) != getattr(after, name)
    )


def prior_scale(definition: ExperimentDefinition) -> float | None:
    """Standard deviation of a Bayesian plan's prior on the relative lift, if the definition says one."""
    if definition.plan.prior is not None:
        return definition.plan.prior.scale
    primaries = definition.uses("primary")
    return primaries[0].mde.relative if primaries and primaries[0].mde is not None else None
