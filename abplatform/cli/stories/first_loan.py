"""First loan free of interest: more customers borrow, and after months more of them do not pay back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import numpy as np

from abplatform.cli.stories.story import (
    CONTROL,
    Crowd,
    Deeds,
    Floats,
    Mask,
    Planted,
    Positions,
    Story,
    either,
    happens,
    name_customers,
)
from abplatform.domain.experiment import Amount, ExperimentDefinition, MetricUse, Variant
from abplatform.domain.metric import Metric, Window
from abplatform.domain.plan import AnalysisPlan
from abplatform.domain.templates import TEMPLATES

KEY = "first-loan"
_TAKE_UP = 0.20, 0.28
_LATE = 0.10, 0.12
"""Shares of the borrowers who are not in time."""
_BAD = 0.35, 0.55
"""Shares of those who are late who do not pay for two months."""
_ENROLMENT = 7
_DUE_AFTER = 14
_THRESHOLDS = 1, 30, 60
_BAD_DEBT = TEMPLATES["bad-debt"].metric
LOAN_TAKEN = Metric(
    key="loan-taken",
    name="Loan taken",
    description="Share of customers who take a loan within 14 days.",
    kind="conversion",
    event="purchase",
    where={"product": "loan"},
    window=Window(end=timedelta(days=14)),
)
BAD_DEBT = replace(
    _BAD_DEBT,
    key="bad-debt-90-days",
    name="Bad debt within 90 days",
    description="Share of customers with a loan 60 or more days overdue within 90 days. A loan for 14 days "
    "can be, from day 74 on; who met the experiment fewer than 90 days ago does not count yet.",
    where={"days_past_due": {"$gte": 60}},
    window=Window(end=timedelta(days=90)),
    minimum_age=timedelta(days=90),
)
EARLY_SIGN = replace(
    BAD_DEBT,
    key="overdue-21-days",
    name="Overdue within 21 days",
    description="Share of customers with a loan overdue within 21 days: an early sign of bad debt.",
    where={"days_past_due": {"$gte": 1}},
    window=Window(end=timedelta(days=21)),
    minimum_age=timedelta(days=21),
    outcome=BAD_DEBT.key,
)


def _define(units: int) -> ExperimentDefinition:
    return ExperimentDefinition(
        key=KEY,
        name="First loan free of interest",
        hypothesis="Who has borrowed once for nothing will borrow again",
        variants=(
            Variant(key="control", payload={"first_loan_rate": 0.1}),
            Variant(key="treatment", payload={"first_loan_rate": 0}),
        ),
        control=CONTROL,
        metrics=(
            MetricUse(metric=LOAN_TAKEN.key, role="primary", mde=Amount(relative=0.15)),
            MetricUse(metric=EARLY_SIGN.key, role="guardrail", non_inferiority_margin=Amount(absolute=0.025)),
            MetricUse(metric=BAD_DEBT.key, role="guardrail", non_inferiority_margin=Amount(absolute=0.004)),
        ),
        plan=AnalysisPlan(planned_units=units),
    )


def _gather(rng: np.random.Generator, count: int) -> Crowd:
    return Crowd(ids=name_customers(KEY, count), arrival=rng.uniform(0, _ENROLMENT, count))


def _behave(rng: np.random.Generator, crowd: Crowd, treated: Mask) -> Sequence[Deeds]:
    borrowers = happens(rng, either(treated, *_TAKE_UP), len(crowd.ids))
    taken = np.minimum(rng.exponential(1, borrowers.size), 5)
    late = happens(rng, either(treated, *_LATE)[borrowers], borrowers.size)
    bad = late[happens(rng, either(treated, *_BAD)[borrowers[late]], late.size)]
    purchases = Deeds(
        event="purchase",
        who=borrowers,
        after=taken,
        value=rng.integers(100_000, 2_000_000, borrowers.size),
        properties={"product": "loan", "new_category": True},
    )
    return (purchases, *(_fall_overdue(borrowers, taken, late if days == 1 else bad, days) for days in _THRESHOLDS))


def _fall_overdue(borrowers: Positions, taken: Floats, who: Positions, days: int) -> Deeds:
    after = taken[who] + _DUE_AFTER + days
    return Deeds(event="loan-overdue", who=borrowers[who], after=after, properties={"days_past_due": days})


def _share_of_bad(arm: int) -> float:
    return _TAKE_UP[arm] * _LATE[arm] * _BAD[arm]


STORY = Story(
    key=KEY,
    title="The first loan free of interest: take-up at once, bad debt after 90 days",
    units=20_000,
    looks=(30, 120),
    metrics=(BAD_DEBT, LOAN_TAKEN, EARLY_SIGN),
    define=_define,
    gather=_gather,
    behave=_behave,
    planted=(
        Planted(
            metric=LOAN_TAKEN.key,
            scale="relative",
            effect=_TAKE_UP[1] / _TAKE_UP[0] - 1,
            note="40% more customers borrow",
        ),
        Planted(
            metric=EARLY_SIGN.key,
            scale="absolute",
            effect=_TAKE_UP[1] * _LATE[1] - _TAKE_UP[0] * _LATE[0],
            note="more of them are late",
        ),
        Planted(
            metric=BAD_DEBT.key,
            scale="absolute",
            effect=_share_of_bad(1) - _share_of_bad(0),
            note="and more of them never pay",
        ),
    ),
)
