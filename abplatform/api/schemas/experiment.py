"""Experiments on the wire: what an author sends, and the document that comes back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from marshmallow import post_load, validate

from abplatform.api.schemas.fields import (
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
    time_field,
)
from abplatform.domain.experiment import (
    ROLES,
    STATUSES,
    Amount,
    Experiment,
    ExperimentDefinition,
    MetricUse,
    Variant,
)
from abplatform.domain.plan import METHODS, SPENDING_KINDS, AnalysisPlan, Prior

_UNIT_TYPE = validate.Length(min=1, max=64, error="must be 1 to 64 characters")


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
    cuped = Flag(metadata={"default": False, "description": "not supported yet; must be false"})
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


class ExperimentChanges(Strict):
    """The fields of an experiment that an edit may name; those that it names are replaced whole."""

    name = Text(required=True)
    hypothesis = Text()
    variants = Items(Part(VariantSchema), required=True)
    control = Text(required=True, metadata={"description": "key of one of the variants"})
    metrics = Items(Part(MetricUseSchema), required=True)
    plan = Part(PlanSchema, required=True)
    unit_type = Text(validate=_UNIT_TYPE, metadata={"default": "user_id", "description": "what is randomised"})
    analysis_unit = Text(
        validate=_UNIT_TYPE,
        allow_none=True,
        metadata={"description": "what is counted, where whole clusters are randomised; external experiments only"},
    )
    layer = Text(allow_none=True, metadata={"description": "not supported yet; must be null"})
    coverage = Number(metadata={"default": 1, "description": "share of the targeted units that enter"})
    risk_class = Text(metadata=choice(("standard", "regulated"), default="standard"))
    assignment = Text(metadata=choice(("served", "external"), default="served"))
    targeting = JsonObject(metadata={"description": "a condition on the attributes; see docs/assignment.md"})
    dimensions = Items(Text(), metadata={"description": "attributes that exposures carry, to slice results by"})
    covariates = Items(Text(), metadata={"description": "numeric attributes from before; external experiments only"})


class ExperimentSchema(ExperimentChanges):
    """What the author of an experiment sends."""

    key = Text(required=True, metadata={"pattern": "^[a-z0-9][a-z0-9_-]{0,63}$"})

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> ExperimentDefinition:
        return ExperimentDefinition(**data)


class ExperimentDocument(ExperimentChanges, Document):
    """An experiment as it stands. Salts are in the snapshot only."""

    key = Text()
    status = Text(metadata=choice(STATUSES))
    phase = WholeNumber()
    revision = WholeNumber(metadata={"description": "grows with every change"})
    preregistered = Flag(metadata={"description": "whether the plan was frozen before the first exposure"})
    created_at = time_field("when it was made")
    started_at = time_field("when it was started")
    stopped_at = time_field("when it was stopped")
    archived_at = time_field("when it was archived")


_STATE = ("status", "phase", "revision", "preregistered", "created_at", "started_at", "stopped_at", "archived_at")


def experiment_document(experiment: Experiment) -> dict[str, Any]:
    """The document of an experiment: its definition and its state, without salts."""
    state = {name: getattr(experiment, name) for name in _STATE}
    definition: dict[str, Any] = msgspec.to_builtins(experiment.definition)
    return definition | msgspec.to_builtins(state)
