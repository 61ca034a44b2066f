"""Behaviours in both engines against the rules read literally, and to the microsecond."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.behaviour import (
    Behaviour,
    FrequencyBins,
    MoneyBins,
    PastNumbers,
    PastRequest,
    RecencyBins,
    pin_edges,
)
from abplatform.domain.dimension import Dimension
from abplatform.domain.events import ConversionFact
from abplatform.domain.metric import Measure
from abplatform.warehouse.bulk import append_facts
from abplatform.warehouse.engines import Engine
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.layout import facts_to_arrow
from tests.builders import NOW, a_behaviour, a_conversion_fact, a_metric, an_exposure_fact
from tests.warehouse.behaviour_oracle import class_of

DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
PURCHASE, LOGIN = Measure(event="purchase"), Measure(event="login")

RFM = a_behaviour(
    "rfm",
    look_back=20 * DAY,
    recency=RecencyBins(edges=(DAY, 5 * DAY, 9 * DAY)),
    frequency=FrequencyBins(edges=(1, 3), high_from=3),
    money=MoneyBins(edges=(Decimal("0.5"), Decimal(40))),
)
BEHAVIOURS = (
    RFM,
    a_behaviour(
        "funds",
        activity=(Measure(event="purchase", where={"product": "fund"}), LOGIN),
        amount=Measure(event="purchase", value="amount"),
        look_back=12 * DAY,
        recency=RecencyBins(edges=(2 * DAY,)),
        frequency=FrequencyBins(edges=(2, 4, 6, 8)),
        money=MoneyBins(edges=(Decimal(-3), Decimal("7.25"))),
    ),
    a_behaviour("life", kind="life_cycle", activity=(LOGIN,), amount=PURCHASE, look_back=10 * DAY, new_within=4 * DAY),
    a_behaviour(
        "strict",
        kind="life_cycle",
        activity=(LOGIN, PURCHASE),
        look_back=16 * DAY + MICROSECOND,
        new_within=8 * DAY,
        longer_than_percent=150,
        less_than_percent=80,
    ),
    a_behaviour("channel", kind="channel", activity=(LOGIN, PURCHASE), source="channel"),
)


def a_past(seed: int, units: int = 50) -> dict[str, list[ConversionFact]]:
    """Events by unit, many at one time, at whole days before `NOW` and a microsecond beside them."""
    rng = random.Random(seed)
    found: dict[str, list[ConversionFact]] = defaultdict(list)
    for number in range(units * 8):
        unit = f"unit-{rng.randrange(units)}"
        beside = rng.choice([0, 0, 0, 1, -1])
        at = (
            NOW - rng.choice([rng.randrange(3), rng.randrange(25)]) * DAY / rng.choice([1, 1, 2]) + beside * MICROSECOND
        )
        properties = {
            "product": rng.choice(['"fund"', '"loan"']),
            "channel": rng.choice(['"web"', '"app"', "7"]),
            "amount": rng.choice(["7.25", "-3", '"7"', "0.000001"]),
        }
        fact = a_conversion_fact(
            f"e-{number}",
            unit=unit,
            event=rng.choice(["purchase", "login", "login", "other"]),
            timestamp=at,
            value=rng.choice([None, Decimal("0.1"), Decimal(10), Decimal("-2.5"), Decimal("99999999999999.999999")]),
            properties={name: text for name, text in properties.items() if rng.random() < 0.8},
        )
        found[unit].append(fact)
    return found


def fill(lake: Lake, facts: Iterable[ConversionFact], exposed: dict[str, datetime]) -> None:
    exposures = [
        an_exposure_fact(f"x-{unit}", unit=unit, variant="control", expected_variant="control", timestamp=at)
        for unit, at in exposed.items()
    ]
    append_facts(lake, "default", "exposure", facts_to_arrow("exposure", exposures))
    append_facts(lake, "default", "conversion", facts_to_arrow("conversion", list(facts)))


def slices(engine: Engine, lake: Lake, *behaviours: Behaviour, **changes: Any) -> dict[str, dict[str, int]]:
    """Units by class, by behaviour."""
    request = AggregationRequest(
        project="default",
        experiment="rate-display",
        phase=1,
        variants=("control", "treatment"),
        metrics=(a_metric(kind="count", window=None),),
        as_of=NOW + DAY,
        dimensions=tuple(Dimension(name=each.key, behaviour=each) for each in behaviours),
        **changes,
    )
    cells = engine.aggregate(lake, request).slices
    return {
        name: {str(cell.slice): cell.units for cell in found if cell.variant == "control"}
        for name, found in cells.items()
    }


def check(engine: Engine, lake: Lake, seed: int) -> None:
    past, rng = a_past(seed), random.Random(seed)
    units = [*past, "stranger"]
    exposed = {unit: NOW - rng.choice([0, 1, 2.5, 7]) * DAY for unit in units}
    fill(lake, (fact for facts in past.values() for fact in facts), exposed)
    found = slices(engine, lake, *BEHAVIOURS)
    for behaviour in BEHAVIOURS:
        wanted = Counter(class_of(behaviour, past.get(unit, ()), exposed[unit]) or "(none)" for unit in units)
        assert found[behaviour.key] == dict(wanted), behaviour.key
    assert all(len(each) >= 4 for each in found.values()), "every kind of class came up"
    for behaviour in BEHAVIOURS:
        check_classes(engine, lake, behaviour, past, NOW - DAY)


def check_classes(
    engine: Engine, lake: Lake, behaviour: Behaviour, past: dict[str, list[ConversionFact]], time: datetime
) -> None:
    rows = classes(engine, lake, behaviour, time)
    for unit, facts in past.items():
        wanted = class_of(behaviour, facts, time)
        text = rows[unit]["class"] if unit in rows else None if behaviour.kind == "channel" else '"none"'
        assert (None if text is None else str(json.loads(text))) == wanted, (behaviour.key, unit)


def classes(engine: Engine, lake: Lake, behaviour: Behaviour, time: datetime) -> dict[str, dict[str, Any]]:
    state = lake.state("default").conversions
    request = PastRequest(project="default", behaviour=behaviour, time=time, state=state)
    return {row["unit"]: row for row in engine.past_classes(lake, request).to_pylist()}


@pytest.mark.parametrize("seed", range(3))
def test_classes_are_those_of_the_rules_read_literally(local_lake: Lake, engine: Engine, seed: int) -> None:
    check(engine, local_lake, seed)


def test_spark_says_the_same(local_lake: Lake, engine: Engine, spark_on_threads: Engine) -> None:
    past = a_past(7)
    facts = [fact for each in past.values() for fact in each]
    fill(local_lake, facts, {unit: NOW - int(unit[5:]) % 4 * DAY for unit in past})
    assert slices(spark_on_threads, local_lake, *BEHAVIOURS) == slices(engine, local_lake, *BEHAVIOURS)
    for behaviour in BEHAVIOURS[1:3]:
        assert classes(spark_on_threads, local_lake, behaviour, NOW) == classes(engine, local_lake, behaviour, NOW)
    assert edges(spark_on_threads, local_lake, CUT) == edges(engine, local_lake, CUT) != {}


CUT = a_behaviour(
    "cut",
    activity=(LOGIN, PURCHASE),
    look_back=30 * DAY,
    recency=RecencyBins(quantiles=4),
    frequency=FrequencyBins(quantiles=3),
    money=MoneyBins(quantiles=2),
)


def edges(engine: Engine, lake: Lake, behaviour: Behaviour, time: datetime = NOW) -> dict[str, tuple[object, ...]]:
    state = lake.state("default").conversions
    request = PastRequest(project="default", behaviour=behaviour, time=time, state=state)
    return dict(engine.past_numbers(lake, request).edges)


def bought(unit: str, *values: object, at: datetime = NOW - DAY, event: str = "purchase") -> list[ConversionFact]:
    return [
        a_conversion_fact(
            f"{unit}-{event}-{at.isoformat()}-{index}",
            unit=unit,
            event=event,
            timestamp=at,
            value=None if value is None else Decimal(str(value)),
        )
        for index, value in enumerate(values)
    ]


def test_quantiles_are_numbers_that_units_had(local_lake: Lake, engine: Engine) -> None:
    """Of 40 units the n-th did n things, of which the first is worth n, n days ago: every rank can be counted."""
    facts = [
        fact for n in range(1, 41) for fact in bought(f"u{n}", Decimal(n) / 4, *[None] * (n - 1), at=NOW - n * DAY)
    ]
    fill(local_lake, [*facts, *bought("later", *[10**6] * 50, at=NOW), *bought("old", 10**6, at=NOW - 61 * DAY)], {})
    four = a_behaviour(
        "four",
        look_back=60 * DAY,
        recency=RecencyBins(quantiles=4),
        frequency=FrequencyBins(quantiles=4),
        money=MoneyBins(quantiles=3),
    )
    assert edges(engine, local_lake, four) == {
        "recency": (10 * DAY, 20 * DAY, 30 * DAY),
        "frequency": (10, 20, 30),
        "money": (Decimal("3.5"), Decimal("6.75")),  # of the 14th and 27th
    }
    pinned = pin_edges(four, edges(engine, local_lake, four))
    found = Counter(row["class"] for row in classes(engine, local_lake, pinned, NOW).values())
    # Of three groups two are high: the 15th to 20th unit are recent, and worth more than 3.5. "old" is out of sight.
    assert found == {'"potential"': 14, '"active"': 6, '"at_risk"': 20, '"none"': 1}


def test_quantiles_need_ten_units_in_each_group(local_lake: Lake, engine: Engine) -> None:
    fill(local_lake, [fact for n in range(39) for fact in bought(f"u{n}", 1)], {})
    request = PastRequest(project="default", behaviour=CUT, time=NOW, state=local_lake.state("default").conversions)
    assert engine.past_numbers(local_lake, request) == PastNumbers(units=39, edges={})
    append_facts(local_lake, "default", "conversion", facts_to_arrow("conversion", bought("u39", 1)))
    assert edges(engine, local_lake, CUT) == {"recency": (DAY,) * 3, "frequency": (1, 1), "money": (Decimal(1),)}


def test_who_all_did_the_same_are_all_recent_and_none_valuable(local_lake: Lake, engine: Engine) -> None:
    """A number at an edge belongs to the group that the edge ends."""
    fill(local_lake, [fact for n in range(40) for fact in bought(f"u{n}", 1)], {})
    pinned = pin_edges(CUT, edges(engine, local_lake, CUT))
    assert {row["class"] for row in classes(engine, local_lake, pinned, NOW).values()} == {'"potential"'}


EDGES = [
    ([], "none"),
    (bought("u", 1, at=NOW), "none"),
    (bought("u", 1, at=NOW - MICROSECOND), "potential"),
    (bought("u", 1, at=NOW - 30 * DAY), "potential"),
    (bought("u", 1, at=NOW - 30 * DAY - MICROSECOND), "dormant"),
    (bought("u", 1, at=NOW - 365 * DAY), "dormant"),
    (bought("u", 1, at=NOW - 365 * DAY - MICROSECOND), "none"),
    (bought("u", 0, 0, 0), "potential"),
    (bought("u", 0, 0, 0, 0), "active"),
    (bought("u", 1000), "potential"),
    (bought("u", "1000.000001"), "active"),
    (bought("u", "1000", None, "0.000001", at=NOW - 31 * DAY), "at_risk"),
    (bought("u", "1000.000001", at=NOW), "none"),
]


def as_units(pasts: Sequence[list[ConversionFact]]) -> list[ConversionFact]:
    """Each of some pasts as that of a unit of its own."""
    return [
        msgspec.structs.replace(fact, unit=f"u{number}", event_id=f"{number}-{fact.event_id}")
        for number, facts in enumerate(pasts)
        for fact in facts
    ]


def wrong(engine: Engine, lake: Lake, behaviour: Behaviour, wanted: Sequence[str]) -> dict[int, tuple[str, str]]:
    """Units whose class is not the wanted one, with both; slices have to agree."""
    found = classes(engine, lake, behaviour, NOW)
    texts = [json.loads(found[f"u{each}"]["class"]) if f"u{each}" in found else "none" for each in range(len(wanted))]
    sliced = slices(engine, lake, behaviour)[behaviour.key]
    assert {name: number for name, number in sliced.items() if number} == dict(Counter(texts))
    return {each: pair for each, pair in enumerate(zip(texts, wanted, strict=True)) if pair[0] != pair[1]}


def test_edges_are_exact_and_an_event_at_the_exposure_does_not_count(local_lake: Lake, engine: Engine) -> None:
    pasts, wanted = zip(*EDGES, strict=True)
    fill(local_lake, as_units(pasts), {f"u{number}": NOW for number in range(len(pasts))})
    assert wrong(engine, local_lake, a_behaviour(), wanted) == {}


LIFE = a_behaviour(
    "life", kind="life_cycle", activity=(LOGIN,), amount=PURCHASE, look_back=20 * DAY, new_within=30 * DAY
)
LONG_AGO, OLDER, HALF, RECENT = (NOW - days * DAY for days in (40, 20, 10, 1))
KNOWN = bought("u", None, at=LONG_AGO, event="login")


def logins(older: int, recent: int) -> list[ConversionFact]:
    return [
        *bought("u", *[None] * older, at=OLDER, event="login"),
        *bought("u", *[None] * recent, at=HALF, event="login"),
    ]


LIVES = [
    ([], {}, "none"),
    (KNOWN, {}, "none"),
    (bought("u", 1, at=RECENT), {}, "none"),
    (bought("u", None, at=NOW - 10 * DAY, event="login"), {}, "new"),
    (bought("u", None, None, at=NOW - 30 * DAY + MICROSECOND, event="login") + logins(0, 1), {}, "new"),
    (bought("u", None, None, at=NOW - 30 * DAY, event="login") + logins(0, 1), {}, "growing"),
    ([*KNOWN, *logins(2, 3)], {}, "growing"),
    ([*KNOWN, *logins(2, 3), *bought("u", 5, at=OLDER), *bought("u", 5, at=HALF)], {}, "growing"),
    ([*KNOWN, *logins(2, 3), *bought("u", 5, at=OLDER), *bought("u", "4.999999", at=HALF)], {}, "mature"),
    ([*KNOWN, *logins(3, 3), *bought("u", 5, at=OLDER)], {}, "mature"),
    ([*KNOWN, *logins(3, 2), *bought("u", 5, at=OLDER), *bought("u", 5, at=HALF)], {}, "mature"),
    ([*KNOWN, *logins(3, 2), *bought("u", 5, at=OLDER), *bought("u", "4.999999", at=HALF)], {}, "churn_risk"),
    ([*KNOWN, *logins(3, 0), *bought("u", 5, at=OLDER), *bought("u", 9, at=NOW)], {}, "churn_risk"),
    ([*KNOWN, *logins(3, 2), *bought("u", 5, at=OLDER)], {"longer_than_percent": 150}, "mature"),
    ([*KNOWN, *logins(4, 2), *bought("u", 5, at=OLDER)], {"longer_than_percent": 150}, "churn_risk"),
    ([*KNOWN, *logins(3, 2), *bought("u", 5, at=OLDER), *bought("u", 4, at=HALF)], {"less_than_percent": 80}, "mature"),
    (
        [*KNOWN, *logins(3, 2), *bought("u", 5, at=OLDER), *bought("u", "3.999999", at=HALF)],
        {"less_than_percent": 80},
        "churn_risk",
    ),
    # Refunds: -9 is no fall from -10, though it is below 80% of it.
    (
        [*KNOWN, *logins(3, 2), *bought("u", -10, at=OLDER), *bought("u", -9, at=HALF)],
        {"less_than_percent": 80},
        "mature",
    ),
]


@pytest.mark.parametrize("changes", [{}, {"longer_than_percent": 150}, {"less_than_percent": 80}])
def test_stages_of_life_are_exact(local_lake: Lake, engine: Engine, changes: dict[str, int]) -> None:
    pasts, wanted = zip(*((facts, wanted) for facts, given, wanted in LIVES if given == changes), strict=True)
    fill(local_lake, as_units(pasts), {f"u{number}": NOW for number in range(len(pasts))})
    assert wrong(engine, local_lake, replace(LIFE, **changes), wanted) == {}


def test_a_channel_is_that_of_the_earliest_event_by_time_then_id(local_lake: Lake, engine: Engine) -> None:
    channel = a_behaviour("channel", kind="channel", activity=(Measure(event="register"),), source="channel")
    seen = [("b", 5, '"web"'), ("a", 5, '"app"'), ("0", 4, '"ad"'), ("later", 0, '"x"')]
    facts = [
        a_conversion_fact(name, unit="u", event="register", timestamp=NOW - days * DAY, properties={"channel": text})
        for name, days, text in seen
    ]
    facts += [a_conversion_fact("none", unit="v", event="register", timestamp=NOW - DAY, properties={})]
    fill(local_lake, facts, {"u": NOW, "v": NOW, "w": NOW})
    assert slices(engine, local_lake, channel) == {"channel": {"app": 1, "(none)": 2}}


def test_what_the_variant_does_cannot_move_a_unit_to_another_slice(local_lake: Lake, engine: Engine) -> None:
    """Both arms did the same before; afterwards one did more, from the moment of the exposure on."""
    units = [f"u{number}" for number in range(40)]
    exposed = dict.fromkeys(units, NOW)
    before = [fact for index, unit in enumerate(units) for fact in bought(unit, *[1] * (index // 2 % 6), at=NOW - DAY)]
    exposures = [
        an_exposure_fact(f"x-{unit}", unit=unit, variant=variant, expected_variant=variant, timestamp=exposed[unit])
        for index, unit in enumerate(units)
        for variant in [("control", "treatment")[index % 2]]
    ]
    after = [
        fact for unit in units[1::2] for at in (NOW, NOW + MICROSECOND) for fact in bought(unit, *[10**4] * 3, at=at)
    ]
    append_facts(local_lake, "default", "exposure", facts_to_arrow("exposure", exposures))
    append_facts(local_lake, "default", "conversion", facts_to_arrow("conversion", [*before, *after]))
    request = AggregationRequest(
        project="default",
        experiment="rate-display",
        phase=1,
        variants=("control", "treatment"),
        metrics=(a_metric(kind="count", window=None, where={}),),
        as_of=NOW + DAY,
        dimensions=(Dimension(name="rfm", behaviour=a_behaviour()),),
    )
    cells = engine.aggregate(local_lake, request).slices["rfm"]
    units_of = {arm: {cell.slice: cell.units for cell in cells if cell.variant == arm} for arm in request.variants}
    # Of each arm: 0 to 5 purchases before; those with 4 or 5 are active, those without any did nothing.
    assert units_of["control"] == units_of["treatment"] == {"active": 6, "potential": 10, "none": 4}
    totals = {arm: sum(cell.total for cell in cells if cell.variant == arm) for arm in request.variants}
    assert totals == {"control": 0, "treatment": 120}


def test_units_of_another_type_have_the_past_of_their_own(local_lake: Lake, engine: Engine) -> None:
    mine = [a_conversion_fact(unit="u", timestamp=NOW - DAY, value=Decimal(2000), units={"device_id": "phone"})]
    fill(local_lake, mine, {"phone": NOW, "u": NOW})
    assert slices(engine, local_lake, a_behaviour(), unit_type="device_id") == {"rfm": {"active": 1, "none": 1}}
