"""Account opening: read the identity card by camera, so that an account is open in 3 minutes and not in 15."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from abplatform.cli.stories.story import CONTROL, Crowd, Deeds, Mask, Planted, Story, either, happens, name_customers
from abplatform.domain.experiment import Amount, ExperimentDefinition, MetricUse, Variant
from abplatform.domain.plan import AnalysisPlan
from abplatform.domain.templates import TEMPLATES

KEY = "account-opening"
MEDIANS = 15.0, 3.0
"""Minutes until half of all customers have an account."""
_OPENED = 0.80, 0.86
_ACTIVE = 0.40, 0.45
"""Shares of the customers who have an account who settle a first transaction."""
_SPREAD = 0.8
_MINUTES_A_DAY = 1440
_ENROLMENT = 14
_MONTH = 30
ACTIVATION = _OPENED[1] * _ACTIVE[1] / (_OPENED[0] * _ACTIVE[0]) - 1


def _define(units: int) -> ExperimentDefinition:
    return ExperimentDefinition(
        key=KEY,
        name="Account opening by camera",
        hypothesis="Nobody types what a camera can read: accounts open faster, and more customers become active",
        variants=(
            Variant(key="control", payload={"identity": "typed"}),
            Variant(key="treatment", payload={"identity": "camera"}),
        ),
        control=CONTROL,
        metrics=(
            MetricUse(metric="time-to-account-opening", role="primary", mde=Amount(relative=0.2)),
            MetricUse(metric="first-transaction", role="primary", mde=Amount(relative=0.1)),
            MetricUse(metric="account-opening-funnel", role="secondary"),
        ),
        plan=AnalysisPlan(planned_units=units),
    )


def _gather(rng: np.random.Generator, count: int) -> Crowd:
    return Crowd(ids=name_customers(KEY, count), arrival=rng.uniform(0, _ENROLMENT, count))


def _behave(rng: np.random.Generator, crowd: Crowd, treated: Mask) -> Sequence[Deeds]:
    everybody = np.arange(len(crowd.ids))
    opened = happens(rng, either(treated, *_OPENED), everybody.size)
    minutes = np.exp(either(treated, *map(_log_median, MEDIANS, _OPENED))[opened])
    minutes *= np.exp(_SPREAD * rng.standard_normal(opened.size))
    ready = np.minimum(minutes / _MINUTES_A_DAY, 1)
    rest = np.setdiff1d(everybody, opened)
    known = rest[happens(rng, 0.6, rest.size)]
    bound = known[happens(rng, 0.4, known.size)]
    active = happens(rng, either(treated, *_ACTIVE)[opened], opened.size)
    first = ready[active] + np.minimum(rng.exponential(4, active.size), _MONTH - 2)
    return (
        Deeds(event="account-opening-started", who=everybody, after=np.zeros(everybody.size)),
        Deeds(event="identity-verified", who=opened, after=0.5 * ready),
        Deeds(event="identity-verified", who=known, after=np.full(known.size, 0.1)),
        Deeds(event="card-bound", who=opened, after=0.9 * ready),
        Deeds(event="card-bound", who=bound, after=np.full(bound.size, 0.2)),
        Deeds(event="account-opened", who=opened, after=ready),
        Deeds(event="transaction", who=opened[active], after=first, properties={"first": True}),
    )


def _log_median(minutes: float, share: float) -> float:
    """Of those who get there, so that of all customers half are there in time: the rest never is."""
    return math.log(minutes) - _SPREAD * NormalDist().inv_cdf(0.5 / share)


STORY = Story(
    key=KEY,
    title="Open an account in 3 minutes, not in 15",
    units=12_000,
    looks=(36, 45),
    metrics=tuple(
        TEMPLATES[key].metric for key in ("time-to-account-opening", "first-transaction", "account-opening-funnel")
    ),
    define=_define,
    gather=_gather,
    behave=_behave,
    planted=(
        Planted(
            metric="time-to-account-opening",
            scale="relative",
            effect=MEDIANS[1] / MEDIANS[0] - 1,
            note="the median falls from 15 to 3 minutes",
        ),
        Planted(
            metric="first-transaction", scale="relative", effect=ACTIVATION, note="more customers make a transaction"
        ),
    ),
)
