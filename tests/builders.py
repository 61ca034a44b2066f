"""Data for tests: defaults, plus what matters to the test."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from abplatform.domain.access import ApiKey
from abplatform.domain.behaviour import Behaviour, FrequencyBins, MoneyBins, RecencyBins
from abplatform.domain.events import ConversionFact, ExposureFact
from abplatform.domain.experiment import (
    Amount,
    DecisionRecord,
    Experiment,
    ExperimentDefinition,
    MetricUse,
    Outcome,
    PastPhase,
    Variant,
)
from abplatform.domain.holdout import Holdout
from abplatform.domain.layer import Layer
from abplatform.domain.metric import Measure, Metric, Window
from abplatform.domain.plan import AnalysisPlan
from abplatform.domain.scorecard import (
    ComparisonResult,
    Decision,
    Interval,
    Margin,
    MetricResult,
    Scorecard,
    VariantResult,
)
from abplatform.domain.segment import Segment, SegmentRequest, seal_segment
from abplatform.domain.soundness import CovariateBalance, Health, SampleRatio

NOW = datetime(2026, 11, 23, 9, 0, 0, 123456, tzinfo=UTC)


def later(**delta: float) -> datetime:
    """The tests' time plus something: ``later(days=3)``."""
    return NOW + timedelta(**delta)


def a_metric(key: str = "purchase", **changes: Any) -> Metric:
    """A conversion metric with a window of 30 days."""
    defaults: dict[str, Any] = {
        "key": key,
        "name": key.capitalize(),
        "kind": "conversion",
        "event": key,
        "window": Window(end=timedelta(days=30)),
    }
    return Metric(**defaults | changes)


def a_plan(**changes: Any) -> AnalysisPlan:
    """A sequential plan for 100,000 units."""
    return AnalysisPlan(**{"planned_units": 100_000} | changes)


def a_metric_use(metric: str = "purchase", **changes: Any) -> MetricUse:
    """The primary metric of an experiment."""
    defaults: dict[str, Any] = {"metric": metric, "role": "primary", "mde": Amount(relative=0.05)}
    return MetricUse(**defaults | changes)


def an_experiment(key: str = "rate-display", **changes: Any) -> ExperimentDefinition:
    """The definition of a served experiment with two variants and the primary metric ``purchase``."""
    defaults: dict[str, Any] = {
        "key": key,
        "name": "Rate display",
        "hypothesis": "Concrete yuan beat a percentage",
        "variants": (
            Variant(key="control", payload={"copy": "3.5% a year"}),
            Variant(key="treatment", payload={"copy": "10,000 earns 350 in a year"}),
        ),
        "control": "control",
        "metrics": (a_metric_use(),),
        "plan": a_plan(),
        "dimensions": ("channel",),
    }
    return ExperimentDefinition(**defaults | changes)


def an_external_experiment(key: str = "imported", **changes: Any) -> ExperimentDefinition:
    """The definition of an experiment whose variants were drawn elsewhere."""
    return an_experiment(key, **{"assignment": "external"} | changes)


def a_draft(key: str = "rate-display", **changes: Any) -> Experiment:
    """An experiment as the platform keeps it, not yet started; ``changes`` are those of its state."""
    defaults: dict[str, Any] = {
        "definition": an_experiment(key),
        "salt": f"salt of {key}",
        "phase_salt": changes.get("salt", f"salt of {key}"),
        "layer_salt": f"layer salt of {key}",
        "created_at": NOW,
    }
    return Experiment(**defaults | changes)


def a_past_phase(number: int = 1, **changes: Any) -> PastPhase:
    """A phase that lasted for a day and had the variants of `an_experiment`."""
    definition = an_experiment()
    defaults: dict[str, Any] = {
        "number": number,
        "salt": f"salt of phase {number}",
        "slots": ((0, 1_000_000),),
        "started_at": later(days=number - 1),
        "ended_at": later(days=number),
        "variants": definition.variants,
        "control": definition.control,
        "targeting": definition.targeting,
        "reason": "A payload was wrong",
    }
    return PastPhase(**defaults | changes)


def a_decision(outcome: Outcome = "ship", **changes: Any) -> DecisionRecord:
    """What people decided, a day after the tests' time."""
    return DecisionRecord(**{"outcome": outcome, "reason": "As planned", "decided_at": later(days=1)} | changes)


def an_exposure_fact(event_id: str = "exposure-1", **changes: Any) -> ExposureFact:
    """An exposure as the inbox keeps it."""
    defaults: dict[str, Any] = {
        "event_id": event_id,
        "experiment": "rate-display",
        "phase": 1,
        "variant": "control",
        "expected_variant": "control",
        "unit": "pseudonym-1",
        "cluster": None,
        "timestamp": NOW,
        "sent_timestamp": NOW,
        "received_at": NOW,
        "attributes": {"channel": '"douyin"'},
    }
    return ExposureFact(**defaults | changes)


def a_conversion_fact(event_id: str = "conversion-1", **changes: Any) -> ConversionFact:
    """A conversion as the inbox keeps it."""
    defaults: dict[str, Any] = {
        "event_id": event_id,
        "event": "purchase",
        "unit": "pseudonym-1",
        "value": Decimal("350.000000"),
        "timestamp": NOW,
        "sent_timestamp": NOW,
        "received_at": NOW,
        "properties": {"product": '"term-deposit"'},
        "units": {},
    }
    return ConversionFact(**defaults | changes)


def a_key(key_id: str = "0123456789abcdef", **changes: Any) -> ApiKey:
    """An analyst's API key."""
    defaults: dict[str, Any] = {
        "id": key_id,
        "project": "default",
        "role": "analyst",
        "name": "Reporting",
        "created_at": NOW,
    }
    return ApiKey(**defaults | changes)


def a_scorecard(experiment: str = "rate-display", **changes: Any) -> Scorecard:
    """A scorecard with one metric and every field set; ``changes`` are those of its top level."""
    interval = Interval(estimate=0.1 + 0.2, lower=-1e-17, upper=None)
    comparison = ComparisonResult(
        variant="treatment",
        control="control",
        absolute=interval,
        relative=interval,
        interval_kind="confidence_sequence",
        p_value=5e-324,
        adjusted_p_value=0.05,
        holm_p_value=0.05,
        simultaneous=interval,
        chance_to_win=1 / 3,
        expected_loss=0.0,
        margin=Margin(relative=None, absolute=0.001),
        probability_worse_than_margin=0.25,
        information_fraction=0.5,
        information_fractions=(0.25, 0.5),
        boundary=2.5,
        verdict="better",
        warnings=("few units",),
    )
    arm = VariantResult(
        variant="control", units=10, open_units=1, sum="9007199254740993.000001", mean=1 / 3, sd=0.5, clusters=3
    )
    ratio = SampleRatio(p_value=0.87, sequential_p_value=1.0, ok=True)
    health = Health(
        ok=True,
        units={"control": 10, "treatment": 12},
        sample_ratio=replace(ratio, analysed=ratio),
        multi_variant_units=3,
        multi_variant_p_value=None,
        mismatched_exposures=0,
        covariates=(CovariateBalance(covariate="history", means={"control": 1.5, "treatment": None}, p_value=0.4),),
        warnings=("a sentence",),
    )
    metric = MetricResult(
        metric="purchase",
        kind="conversion",
        role="primary",
        direction="increase",
        always_valid=True,
        variants=(arm, replace(arm, variant="treatment")),
        comparisons=(comparison,),
    )
    defaults: dict[str, Any] = {
        "experiment": experiment,
        "name": "Rate display",
        "phase": 1,
        "status": "running",
        "method": "sequential",
        "alpha": 0.05,
        "planned_units": 100_000,
        "look": 1,
        "computed_at": NOW,
        "data_through": NOW,
        "preregistered": True,
        "health": health,
        "metrics": (metric,),
        "decision": Decision(recommendation="ship", variant="treatment", reasons=("it is better",)),
    }
    return Scorecard(**defaults | changes)


def a_layer(key: str = "home-page", **changes: Any) -> Layer:
    """A layer of the project's usual units."""
    return Layer(**{"key": key, "name": "Home page"} | changes)


def a_holdout(key: str = "q3", **changes: Any) -> Holdout:
    """A holdout of 5% from all experiments."""
    return Holdout(**{"key": key, "name": "Third quarter", "share": 0.05} | changes)


def a_segment_request(key: str = "vip-branches", **changes: Any) -> SegmentRequest:
    """A segment of values, as its author sends it."""
    defaults: dict[str, Any] = {"key": key, "name": "Branches for VIPs", "kind": "values", "values": ("SH-1", 7)}
    return SegmentRequest(**defaults | changes)


def a_segment(key: str = "vip-branches", *, salt: str = "salt of a segment", **changes: Any) -> Segment:
    """A segment as the platform keeps it; ``changes`` are those of the request."""
    return seal_segment(a_segment_request(key, **changes), salt=salt)


def a_segment_of_units(key: str = "staff", *unit_ids: str, salt: str = "salt of a segment") -> Segment:
    """A segment of units as the platform keeps it."""
    return a_segment(key, salt=salt, name="Staff", kind="units", values=None, unit_ids=unit_ids or ("u-1", "u-2"))


def a_behaviour(key: str = "rfm", **changes: Any) -> Behaviour:
    """Customers by what they bought: at fixed edges, so that nothing has to be counted first."""
    defaults: dict[str, Any] = {
        "key": key,
        "name": "Customers by value",
        "kind": "rfm",
        "activity": (Measure(event="purchase"),),
    }
    if changes.get("kind", "rfm") == "rfm":
        defaults |= {
            "recency": RecencyBins(edges=(timedelta(days=30),)),
            "frequency": FrequencyBins(edges=(3,)),
            "money": MoneyBins(edges=(Decimal(1000),)),
        }
    return Behaviour(**defaults | changes)
