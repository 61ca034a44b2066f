"""Rate display: say what a deposit earns in yuan, not in per cent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from abplatform.cli.demo.customers import BASE_RATE, CHANNELS, COMPLAINT_RATE, EFFECT
from abplatform.cli.demo.definition import COPIES
from abplatform.cli.stories.story import CONTROL, Crowd, Deeds, Mask, Planted, Story, either, happens, name_customers
from abplatform.domain.experiment import Amount, ExperimentDefinition, MetricUse, Variant
from abplatform.domain.plan import AnalysisPlan
from abplatform.domain.templates import TEMPLATES

KEY = "rate-display"
_ENROLMENT = 14
_MONTH = 30


def _define(units: int) -> ExperimentDefinition:
    return ExperimentDefinition(
        key=KEY,
        name="Rate display",
        hypothesis="Concrete yuan beat a percentage",
        targeting={"country": {"$in": ["CN", "HK"]}},
        variants=tuple(Variant(**copy) for copy in COPIES),
        control=CONTROL,
        metrics=(
            MetricUse(metric="purchase", role="primary", mde=Amount(relative=0.1)),
            MetricUse(metric="complaint", role="guardrail", non_inferiority_margin=Amount(absolute=0.01)),
        ),
        plan=AnalysisPlan(planned_units=units),
        dimensions=("channel",),
    )


def _gather(rng: np.random.Generator, count: int) -> Crowd:
    return Crowd(
        ids=name_customers(KEY, count),
        arrival=rng.uniform(0, _ENROLMENT, count),
        attributes={"country": ["CN"] * count, "channel": rng.choice(CHANNELS, count).tolist()},
    )


def _behave(rng: np.random.Generator, crowd: Crowd, treated: Mask) -> Sequence[Deeds]:
    count = len(crowd.ids)
    buyers = happens(rng, either(treated, BASE_RATE, BASE_RATE * (1 + EFFECT)), count)
    angry = happens(rng, COMPLAINT_RATE, count)
    return (
        Deeds(
            event="purchase",
            who=buyers,
            after=np.minimum(rng.exponential(5, buyers.size), _MONTH - 1),
            value=rng.integers(100_000, 5_000_000, buyers.size),
            properties={"product": "term-deposit", "new_category": True},
        ),
        Deeds(event="complaint", who=angry, after=rng.uniform(0, _MONTH, angry.size)),
    )


STORY = Story(
    key=KEY,
    title="Say what a deposit earns in yuan, not in per cent",
    units=20_000,
    looks=(32, 38, 45),
    metrics=tuple(TEMPLATES[key].metric for key in ("purchase", "complaint")),
    define=_define,
    gather=_gather,
    behave=_behave,
    planted=(
        Planted(metric="purchase", scale="relative", effect=EFFECT, note="22% more of the customers buy"),
        Planted(metric="complaint", scale="absolute", effect=0.0, note="as many complain"),
    ),
)
