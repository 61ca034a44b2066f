"""Experiments on the wire: what an author sends, and the document that comes back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from marshmallow import post_load

from abplatform.api.schemas.fields import (
    DecimalNumber,
    Document,
    Flag,
    Items,
    JsonObject,
    JsonValue,
    Number,
    Part,
    Strict,
    Text,
    WholeNumber,
    choice,
    key_field,
    time_field,
    unit_type_field,
    write_duration,
)
from abplatform.domain.experiment import (
    OUTCOMES,
    ROLES,
    STATUSES,
    Amount,
    Experiment,
    ExperimentDefinition,
    MetricUse,
    Prerequisite,
    Variant,
)
from abplatform.domain.plan import METHODS, SPENDING_KINDS, AnalysisPlan, Prior


def slots_field(description: str) -> Items:
    """Slots of a layer."""
    described = f"buckets `[low, high)` of its layer {description}"
    return Items(Items(WholeNumber()), metadata={"description": described})


class VariantSchema(Strict):
    """One of the things that a unit may get."""

    key = Text(required=True, metadata={"description": "1 to 64 printable characters"})
    weight = Number(metadata={"description": "share relative to the other variants' weights", "default": 1})
    payload = JsonValue(allow_none=True, metadata={"description": "any JSON value, handed to the product as it is"})

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> Variant:
        return Variant(**data)


class AmountSchema(Strict):
    """A size of effect: `relative` to the control's mean, or `absolute`; exactly one."""

    relative = Number(allow_none=True)
    absolute = Number(allow_none=True)

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> Amount:
        return Amount(**data)


class MetricUseSchema(Strict):
    """What a metric is to an experiment."""

    metric = Text(required=True, metadata={"description": "key of a metric"})
    role = Text(metadata=choice(ROLES, default="secondary"))
    mde = Part(AmountSchema, allow_none=True, metadata={"description": "smallest effect worth finding"})
    non_inferiority_margin = Part(
        AmountSchema, allow_none=True, metadata={"description": "how much worse a guardrail may be at most"}
    )

    version = WholeNumber(
        allow_none=True,
        metadata={"description": "of the metric, set by the start: null until then, also where it is sent"},
    )
    cap = DecimalNumber(
        allow_none=True,
        metadata={"description": "what a cap by quantile became at the start: null until then, also where it is sent"},
    )

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> MetricUse:
        return MetricUse(**data)


class PriorSchema(Strict):
    """A normal prior on the relative lift, centred on no effect."""

    scale = Number(required=True, metadata={"description": "its standard deviation, as a share"})

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> Prior:
        return Prior(**data)


class PlanSchema(Strict):
    """How the decision will be made; frozen by the start."""

    method = Text(metadata=choice(METHODS, default="sequential"))
    alpha = Number(metadata={"default": 0.05, "description": "two-sided; guardrails use it one-sided"})
    power = Number(metadata={"default": 0.8})
    planned_units = WholeNumber(required=True, metadata={"description": "analysed units of all arms together"})
    planned_clusters = WholeNumber(
        allow_none=True,
        metadata={"description": "clustered experiments only, if they are sequential or have guardrails: of all arms"},
    )
    cuped = Flag(
        metadata={
            "default": False,
            "description": "adjust primaries and secondaries for the same metric before the first exposure",
        }
    )
    spending = Text(
        allow_none=True,
        metadata=choice(SPENDING_KINDS, description="group_sequential plans only; obrien_fleming if absent"),
    )
    prior = Part(PriorSchema, allow_none=True, metadata={"description": "bayesian plans only"})
    loss_threshold = Number(allow_none=True, metadata={"description": "bayesian plans only"})
    minimum_units = WholeNumber(allow_none=True, metadata={"description": "bayesian plans only"})

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> AnalysisPlan:
        return AnalysisPlan(**data)


class PrerequisiteSchema(Strict):
    """Another experiment that must give a unit one of these variants first."""

    experiment = Text(required=True, metadata={"description": "key of an experiment that is served here"})
    variants = Items(Text(), required=True, metadata={"description": "keys of its variants; any of them will do"})

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> Prerequisite:
        return Prerequisite(**data)


class PhaseFields(Strict):
    """The fields of an experiment that a new phase may change."""

    variants = Items(Part(VariantSchema), required=True)
    control = Text(required=True, metadata={"description": "key of one of the variants"})
    targeting = JsonObject(metadata={"description": "a condition on the attributes; see docs/assignment.md"})
    coverage = Number(metadata={"default": 1, "description": "share of the layer's slots that it takes"})
    prerequisites = Items(Part(PrerequisiteSchema), metadata={"description": "at most 10; all must hold"})


class ExperimentChanges(PhaseFields):
    """The fields of an experiment that an edit may name; those that it names are replaced whole."""

    name = Text(required=True)
    hypothesis = Text()
    metrics = Items(Part(MetricUseSchema), required=True)
    plan = Part(PlanSchema, required=True)
    unit_type = unit_type_field("what is randomised")
    analysis_unit = Text(
        allow_none=True,
        metadata={"description": "what is counted, where whole clusters are randomised: the project's own unit type"},
    )
    layer = Text(allow_none=True, metadata={"description": "key of a shared layer; null for one of its own"})
    risk_class = Text(metadata=choice(("standard", "regulated"), default="standard"))
    assignment = Text(metadata=choice(("served", "external"), default="served"))
    dimensions = Items(Text(), metadata={"description": "attributes of exposures, or behaviours, to slice by"})
    covariates = Items(Text(), metadata={"description": "numeric attributes from before; external experiments only"})


class ExperimentSchema(ExperimentChanges):
    """What the author of an experiment sends."""

    key = key_field()

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> ExperimentDefinition:
        return ExperimentDefinition(**data)


class DecisionDocument(Document):
    """What people decided."""

    outcome = Text(metadata=choice(OUTCOMES))
    variant = Text(allow_none=True, metadata={"description": "the one that ships"})
    reason = Text()
    decided_at = time_field("when")
    phase = WholeNumber(allow_none=True, metadata={"description": "of that look"})
    look = WholeNumber(
        allow_none=True, metadata={"description": "the latest look at that time; null if nobody had looked"}
    )


class PastPhaseDocument(PhaseFields, Document):
    """A phase that a later one has replaced. Its salt is kept, and not shown."""

    number = WholeNumber()
    started_at = time_field("when it began")
    ended_at = time_field("when the next one was opened")
    reason = Text(metadata={"description": "why the next one was opened"})
    slots = slots_field("that it held at its end")


class ExperimentDocument(ExperimentChanges, Document):
    """An experiment as it stands. Salts are in the snapshot only."""

    key = Text()
    status = Text(metadata=choice(STATUSES))
    phase = WholeNumber(metadata={"description": "the current one, from 1"})
    revision = WholeNumber(metadata={"description": "grows with every change"})
    preregistered = Flag(metadata={"description": "whether the start froze the plan before the first exposure"})
    slots = slots_field("that it holds now: while it is running, paused or closed")
    holdouts = Items(Text(), metadata={"description": "keys of those that cover it, fixed at the start"})
    refresh_every = Text(
        allow_none=True, metadata={"format": "duration", "description": "how often the worker looks at the results"}
    )
    forced = JsonObject(metadata={"description": "variants of test accounts, by the salted SHA-256 of their ids"})
    shipped = Text(allow_none=True, metadata={"description": "the variant that every targeted unit gets"})
    decision = Part(DecisionDocument, allow_none=True)
    past_decisions = Items(Part(DecisionDocument), metadata={"description": "earlier ones, which shipped nothing"})
    past_phases = Items(Part(PastPhaseDocument))
    created_at = time_field("when it was made")
    started_at = time_field("when it was started")
    phase_started_at = time_field("when the current phase began")
    closed_at = time_field("when enrolment was closed")
    stopped_at = time_field("when it was stopped or decided")
    archived_at = time_field("when it was archived")


STATE = (
    "status",
    "phase",
    "revision",
    "preregistered",
    "slots",
    "holdouts",
    "refresh_every",
    "forced",
    "shipped",
    "decision",
    "past_decisions",
    "past_phases",
    "created_at",
    "started_at",
    "phase_started_at",
    "closed_at",
    "stopped_at",
    "archived_at",
)


_FREE_FORM = {"payload", "targeting"}
_LARGEST_WHOLE = 2**53


def experiment_document(experiment: Experiment) -> dict[str, Any]:
    """The document of an experiment: its definition and its state, without salts."""
    definition: dict[str, Any] = msgspec.to_builtins(experiment.definition)
    state: dict[str, Any] = msgspec.to_builtins({name: getattr(experiment, name) for name in STATE})
    for phase in state["past_phases"]:
        del phase["salt"]
    every = experiment.refresh_every
    shown = definition | state | {"refresh_every": None if every is None else write_duration(every)}
    return {name: _as_sent(name, value) for name, value in shown.items()}


def _as_sent(name: str, value: Any) -> Any:
    """Whole numbers without the `.0` that they get where they are stored; an author's own JSON is left alone."""
    if name in _FREE_FORM:
        return value
    if isinstance(value, dict):
        return {inner: _as_sent(inner, each) for inner, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_sent("", each) for each in value]
    whole = isinstance(value, float) and value.is_integer() and abs(value) <= _LARGEST_WHOLE
    return int(value) if whole else value
