"""Rice insurance: buying is the default, drawn by village. The villages and farms are those of a real experiment."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import cache

import numpy as np

from abplatform.cli.stories.story import CONTROL, Crowd, Deeds, Floats, Mask, Planted, Story, happens, name_customers
from abplatform.domain.experiment import Amount, ExperimentDefinition, MetricUse, Variant
from abplatform.domain.metric import Metric, Window
from abplatform.domain.plan import AnalysisPlan

KEY = "rice-insurance-by-village"
VILLAGE = "village_id"
EFFECT = 0.15
HOUSEHOLDS = 1410
_LEAST, _MOST = 0.15, 0.70
_ENROLMENT = 7
INSURED = Metric(
    key="insured",
    name="Insured",
    description="Share of households that sign for the insurance within 14 days.",
    kind="conversion",
    event="insurance-signed",
    window=Window(end=timedelta(days=14)),
)


def _define(units: int) -> ExperimentDefinition:
    return ExperimentDefinition(
        key=KEY,
        name="Rice insurance by village",
        hypothesis="Who has to sign in order not to buy buys more often",
        unit_type=VILLAGE,
        analysis_unit="user_id",
        variants=(
            Variant(key="control", payload={"form": "sign to buy"}),
            Variant(key="treatment", payload={"form": "sign not to buy"}),
        ),
        control=CONTROL,
        metrics=(MetricUse(metric=INSURED.key, role="primary", mde=Amount(absolute=0.1)),),
        plan=AnalysisPlan(method="fixed", planned_units=units),
    )


@cache
def _read_villages() -> tuple[tuple[str, ...], Floats]:
    """The village of each household, and the share of its households that bought in the real experiment."""
    from causaldata import social_insure

    frame = social_insure.load_pandas().data
    shares = frame.groupby("address")["takeup_survey"].transform("mean")
    return tuple(frame["address"].astype(str)), shares.to_numpy(np.float64)


def _gather(rng: np.random.Generator, count: int) -> Crowd:
    """The real households, and where more are wanted their villages once more."""
    villages, _ = _read_villages()
    places = [(position % len(villages), position // len(villages)) for position in range(count)]
    return Crowd(
        ids=name_customers("household", count),
        arrival=rng.uniform(0, _ENROLMENT, count),
        units={VILLAGE: [f"{villages[place]}-{copy}" for place, copy in places]},
    )


def _behave(rng: np.random.Generator, crowd: Crowd, treated: Mask) -> Sequence[Deeds]:
    _, shares = _read_villages()
    # Neighbours are alike as in reality; there is room for the effect in the most and in the least willing village.
    usual = np.resize(_LEAST + (_MOST - _LEAST) * shares, len(crowd.ids))
    signed = happens(rng, usual + EFFECT * treated, usual.size)
    return (Deeds(event="insurance-signed", who=signed, after=rng.uniform(0, 13, signed.size)),)


STORY = Story(
    key=KEY,
    title="Crop insurance as the default, drawn by village: the villages of a real experiment",
    units=HOUSEHOLDS,
    looks=(21,),
    metrics=(INSURED,),
    define=_define,
    gather=_gather,
    behave=_behave,
    planted=(
        Planted(metric=INSURED.key, scale="absolute", effect=EFFECT, note="15 points more of the households buy"),
    ),
    packages=("causaldata",),
)
