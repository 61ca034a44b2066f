"""What is stored as JSON comes back equal, every field of it."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abplatform.domain.experiment import Amount, ExperimentDefinition, MetricUse, Prerequisite, Variant
from abplatform.domain.metric import Cap, Measure, Metric, Step, Window
from abplatform.domain.plan import AnalysisPlan, Prior
from abplatform.domain.scorecard import Scorecard
from abplatform.storage.documents import from_text, to_text
from tests.builders import a_metric, a_scorecard, an_experiment

FULL_DEFINITION = an_experiment(
    hypothesis="具体的元比百分比好",
    variants=(
        Variant(key="对照", weight=0.1, payload={"big": 10**30, "nested": [1, 1.5, None, True, {"x": "🙂"}]}),
        Variant(key="b", weight=1e-6, payload="plain"),
    ),
    control="对照",
    metrics=(
        MetricUse(metric="purchase", role="primary", mde=Amount(relative=0.05), version=1),
        MetricUse(metric="complaint", role="guardrail", non_inferiority_margin=Amount(absolute=0.001), version=2),
    ),
    plan=AnalysisPlan(
        method="bayesian",
        alpha=0.01,
        power=0.9,
        planned_units=10**12,
        planned_clusters=10**6,
        cuped=True,
        spending="pocock",
        prior=Prior(scale=0.05),
        loss_threshold=1e-9,
        minimum_units=500,
    ),
    unit_type="village",
    analysis_unit="household",
    layer="home-page",
    coverage=1 / 3,
    risk_class="regulated",
    assignment="external",
    targeting={"country": {"$in": ["CN", "HK"]}, "n": 2**70},
    prerequisites=(Prerequisite(experiment="open-account", variants=("short form", "对照")),),
    dimensions=("channel", "rfm_segment"),
    covariates=("history",),
)
FULL_METRIC = a_metric(
    kind="sum",
    where={"product": "term-deposit", "channel": ["web", "app"], "n": {"$in": [1, 2.5, True]}, "m": False},
    direction="decrease",
    window=Window(start=timedelta(microseconds=1), end=timedelta(days=3650), calendar=True),
    cuped_lookback=timedelta(days=28),
    description="存款",
    value="amount",
    aggregation="max",
    denominator=Measure(event="order", where={"a": 1}, value="fee", aggregation="sum"),
    start=Measure(event="open", where={"b": [None]}, value="x", aggregation="count"),
    steps=(
        Step(event="one", where={"c": 2**70}, within=timedelta(hours=1)),
        Step(event="two", where={"d": 1}, within=timedelta(days=1)),
    ),
    quantile=0.1 + 0.2,
    over="events",
    minimum_age=timedelta(days=7),
    cap=Cap(value=Decimal("123456789012.000001"), quantile=0.99),
    outcome="retention",
    spills_over=True,
)


@pytest.mark.parametrize("value", [FULL_DEFINITION, an_experiment(), FULL_METRIC, a_metric(window=None), a_scorecard()])
def test_documents_come_back_equal(value: ExperimentDefinition | Metric | Scorecard) -> None:
    assert from_text(to_text(value), type(value)) == value


@pytest.mark.parametrize("value", [FULL_DEFINITION, FULL_METRIC])
def test_the_full_examples_set_every_field(value: object) -> None:
    assert unset_fields(value) == []


def unset_fields(value: object, path: str = "") -> list[str]:
    """Fields that have their default: a field that is added must be added to the examples too."""
    if not is_dataclass(value):
        return []
    found = []
    for field in fields(value):
        here = f"{path}.{field.name}"
        given = getattr(value, field.name)
        default = field.default if field.default_factory is MISSING else field.default_factory()
        # An amount has one of two fields, a metric use a margin or an mde; both forms stand in the examples.
        if given == default and not isinstance(value, (Amount, MetricUse)):
            found.append(here)
        for part in given if isinstance(given, tuple) else (given,):
            found += unset_fields(part, here)
    return found


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 10**15), st.integers(1, 10**15))
def test_floats_and_durations_come_back_to_the_last_bit(share: float, start: int, length: int) -> None:
    window = Window(start=timedelta(microseconds=start), end=timedelta(microseconds=start + length))
    metric = a_metric(where={"share": share}, window=window)
    assert from_text(to_text(metric), Metric) == metric


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        to_text(an_experiment(targeting={"x": float("nan")}))
