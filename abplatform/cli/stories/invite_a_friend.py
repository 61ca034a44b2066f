"""Invite a friend: a bonus for both. Friends talk, so whole circles of friends get it or do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np

from abplatform.cli.stories.story import CONTROL, Crowd, Deeds, Mask, Planted, Story, either, name_customers
from abplatform.domain.experiment import Amount, ExperimentDefinition, MetricUse, Variant
from abplatform.domain.metric import Cap
from abplatform.domain.plan import AnalysisPlan
from abplatform.domain.templates import TEMPLATES

KEY = "invite-a-friend"
PER_USER = "invite-a-friend-per-user"
CIRCLE = "circle_id"
EFFECT = 0.35
_FRIENDS = 0.30
"""Friends who register because of one customer without the bonus."""
_LARGEST = 16
_ENROLMENT = 14
_MONTH = 30
_VARIANTS = (
    Variant(key="control", payload={"bonus_yuan": 0}),
    Variant(key="treatment", payload={"bonus_yuan": 20}),
)
_USES = (MetricUse(metric="invited-registrations", role="primary", mde=Amount(relative=0.2)),)
# The template's cap is a quantile of what customers were worth before; these have no past.
_METRIC = replace(TEMPLATES["invited-registrations"].metric, cap=Cap(value=Decimal(30)))


def _define(units: int) -> ExperimentDefinition:
    return ExperimentDefinition(
        key=KEY,
        name="Invite a friend",
        hypothesis="A bonus of 20 yuan for both brings more friends",
        unit_type=CIRCLE,
        analysis_unit="user_id",
        variants=_VARIANTS,
        control=CONTROL,
        metrics=_USES,
        plan=AnalysisPlan(method="fixed", planned_units=units),
    )


def _define_per_user(units: int) -> ExperimentDefinition:
    """The same variants and events, as if each customer had been drawn for himself."""
    per_user = replace(_define(units), key=PER_USER, name="Invite a friend, analysed per user")
    return replace(per_user, unit_type="user_id", analysis_unit=None, assignment="external")


def _gather(rng: np.random.Generator, count: int) -> Crowd:
    circle = np.repeat(np.arange(count), rng.integers(1, _LARGEST + 1, count))[:count]
    return Crowd(
        ids=name_customers(KEY, count),
        arrival=rng.uniform(0, _ENROLMENT, count),
        units={CIRCLE: [f"circle-{number:05d}" for number in circle.tolist()]},
    )


def _behave(rng: np.random.Generator, crowd: Crowd, treated: Mask) -> Sequence[Deeds]:
    _, circle = np.unique(crowd.units[CIRCLE], return_inverse=True)
    # Some circles talk about money and others do not: what one does, his friends do.
    liveliness = rng.gamma(1.0, 1.0, circle.max() + 1)[circle]
    friends = rng.poisson(either(treated, _FRIENDS, _FRIENDS * (1 + EFFECT)) * liveliness)
    who = np.repeat(np.arange(len(crowd.ids)), friends)
    return (Deeds(event="invited-registered", who=who, after=rng.uniform(0, _MONTH, who.size)),)


STORY = Story(
    key=KEY,
    title="A bonus for both friends: circles of friends are randomised, not customers",
    units=20_000,
    looks=(45,),
    metrics=(_METRIC,),
    define=_define,
    gather=_gather,
    behave=_behave,
    planted=(
        Planted(metric="invited-registrations", scale="relative", effect=EFFECT, note="35% more friends register"),
    ),
    compare=_define_per_user,
)
