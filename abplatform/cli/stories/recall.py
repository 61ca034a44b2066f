"""Recall: a coupon for customers who have fallen silent, found and told apart by recency, frequency and money."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from abplatform.cli.stories.story import (
    CONTROL,
    Crowd,
    Deeds,
    Floats,
    Mask,
    Planted,
    Positions,
    Story,
    happens,
    name_customers,
)
from abplatform.domain.access import DEFAULT_PROJECT
from abplatform.domain.behaviour import Behaviour, FrequencyBins, MoneyBins, RecencyBins
from abplatform.domain.experiment import Amount, ExperimentDefinition, MetricUse, Variant
from abplatform.domain.metric import Measure
from abplatform.domain.plan import AnalysisPlan
from abplatform.domain.templates import TEMPLATES
from abplatform.services.export_classes import Exported, ExportRequest, export_classes, find_classes
from abplatform.services.make_behaviour import make_behaviour

if TYPE_CHECKING:
    from abplatform.bootstrap import Platform

KEY = "recall"
EFFECT = 0.40
RATES = {"at_risk": 0.15, "dormant": 0.05}
"""Chances to purchase again without a coupon."""
CLASS = "rfm_at_start"
RFM = Behaviour(
    key="rfm",
    name="Customers by value",
    kind="rfm",
    activity=(Measure(event="purchase"),),
    look_back=timedelta(days=180),
    recency=RecencyBins(edges=(timedelta(days=60),)),
    frequency=FrequencyBins(edges=(3,)),
    money=MoneyBins(edges=(Decimal(100_000),)),
)
_FALLEN_SILENT = 70
"""Percent of the customers, at least."""
_HISTORY = 180
_ENROLMENT = 14
_MONTH = 30
_COLUMN = "unit_id"


def _define(units: int) -> ExperimentDefinition:
    return ExperimentDefinition(
        key=KEY,
        name="Recall by coupon",
        hypothesis="A coupon brings back who has fallen silent",
        # The class of the day of the start: a later one would know what the coupon has done.
        targeting={CLASS: {"$in": list(RATES)}},
        variants=(
            Variant(key="control", payload={"coupon_yuan": 0}),
            Variant(key="treatment", payload={"coupon_yuan": 30}),
        ),
        control=CONTROL,
        metrics=(
            MetricUse(metric="purchase", role="primary", mde=Amount(relative=0.2)),
            MetricUse(metric="unsubscribe", role="guardrail", non_inferiority_margin=Amount(absolute=0.01)),
        ),
        plan=AnalysisPlan(planned_units=units * _FALLEN_SILENT // 100),
        dimensions=("rfm",),
    )


def _gather(rng: np.random.Generator, count: int) -> Crowd:
    return Crowd(ids=name_customers(KEY, count), arrival=rng.uniform(0, _ENROLMENT, count))


def _remember(rng: np.random.Generator, crowd: Crowd) -> Sequence[Deeds]:
    """Half a year of purchases: some came often and some did not, some were here lately and most were not."""
    count = len(crowd.ids)
    often = rng.random(count) < 0.5
    silent = np.where(rng.random(count) < 0.8, rng.uniform(75, 150, count), rng.uniform(0, 40, count))
    who = np.repeat(np.arange(count), 1 + rng.poisson(np.where(often, 6.0, 0.6)))
    when = -silent[who] - rng.random(who.size) * (_HISTORY - _ENROLMENT - silent[who])
    return (_purchase(rng, who, when),)


def _purchase(rng: np.random.Generator, who: Positions, after: Floats) -> Deeds:
    value = rng.integers(100_000, 1_000_000, who.size)
    return Deeds(event="purchase", who=who, after=after, value=value, properties={"new_category": False})


def _recruit(past: Platform, crowd: Crowd) -> Crowd:
    """What the product does before the start: ask for the class of each of its customers, and keep it."""
    stored = make_behaviour(past.past, DEFAULT_PROJECT, RFM, now=past.now())
    with past.uow.reading() as work:
        unit_type = work.projects.get(DEFAULT_PROJECT).unit_type
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "customers.parquet")
        pq.write_table(pa.table({_COLUMN: list(crowd.ids)}), file)
        request = ExportRequest(path=file, column=_COLUMN, unit_type=None, output=file, stored=stored, time=past.now())
        classes = find_classes(past.past, DEFAULT_PROJECT, request)
        rows = export_classes(request, classes, unit_type, secret=past.pseudonym_key, exported=Exported())
        found = [each for batch in rows for each in batch["class"].to_pylist()]
    return replace(crowd, attributes={CLASS: found})


def _behave(rng: np.random.Generator, crowd: Crowd, treated: Mask) -> Sequence[Deeds]:
    usual = np.array([RATES.get(str(each), 0.0) for each in crowd.attributes[CLASS]])
    buyers = happens(rng, usual * (1 + EFFECT * treated), usual.size)
    annoyed = happens(rng, 0.01, usual.size)
    return (
        _purchase(rng, buyers, np.minimum(rng.exponential(7, buyers.size), _MONTH - 1)),
        Deeds(event="unsubscribed", who=annoyed, after=rng.uniform(0, _MONTH, annoyed.size)),
    )


STORY = Story(
    key=KEY,
    title="A coupon for customers who have fallen silent",
    units=20_000,
    looks=(36, 45),
    metrics=tuple(TEMPLATES[key].metric for key in ("purchase", "unsubscribe")),
    define=_define,
    gather=_gather,
    behave=_behave,
    planted=(
        Planted(metric="purchase", scale="relative", effect=EFFECT, note="40% more purchase again, in each class"),
        Planted(metric="unsubscribe", scale="absolute", effect=0.0, note="as many unsubscribe"),
    ),
    remember=_remember,
    recruit=_recruit,
)
