"""Units by the variant that they met in another experiment, in both engines."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.dimension import Dimension, OtherExperiment
from abplatform.domain.events import ExposureFact
from abplatform.domain.interactions import cross
from abplatform.domain.metric import Cap, Measure, Window
from abplatform.warehouse.bulk import append_facts
from abplatform.warehouse.engines import Engine
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.layout import facts_to_arrow
from tests.builders import NOW, a_conversion_fact, a_metric, a_metric_use, an_experiment, an_exposure_fact

DAY = timedelta(days=1)
ARMS = ("control", "treatment")
HOSTILE = 'say "hi"\\'
OTHER = OtherExperiment(
    key="other",
    phase=2,
    variants=("control", HOSTILE, "(several)"),
    since=NOW - 2 * DAY,
    enrolled_until=NOW + 2 * DAY,
    until=NOW + 3 * DAY,
)


def met(event_id: str, unit: str, variant: str, **changes: Any) -> ExposureFact:
    values: dict[str, Any] = {"experiment": "other", "phase": 2, "expected_variant": None}
    return an_exposure_fact(event_id, unit=unit, variant=variant, **values | changes)


def cells(
    engine: Engine, lake: Lake, exposures: Sequence[ExposureFact], *dimensions: Dimension
) -> dict[str, dict[tuple[str, str | None], int]]:
    """Units by variant and slice, by dimension."""
    append_facts(lake, "default", "exposure", facts_to_arrow("exposure", list(exposures)))
    append_facts(lake, "default", "conversion", facts_to_arrow("conversion", [a_conversion_fact()]))
    return ask(engine, lake, *dimensions)


def ask(engine: Engine, lake: Lake, *dimensions: Dimension) -> dict[str, dict[tuple[str, str | None], int]]:
    request = AggregationRequest(
        project="default",
        experiment="rate-display",
        phase=1,
        variants=ARMS,
        metrics=(a_metric(window=None),),
        as_of=NOW + 5 * DAY,
        dimensions=dimensions or (Dimension(name="other", experiment=OTHER),),
    )
    found = engine.aggregate(lake, request).slices
    return {
        name: {(cell.variant, cell.slice): cell.units for cell in each if cell.units} for name, each in found.items()
    }


def test_a_unit_counts_by_the_one_variant_that_it_met_in_the_other_experiment(local_lake: Lake, engine: Engine) -> None:
    late = NOW + DAY
    exposures = [an_exposure_fact(f"x-{name}", unit=name) for name in "abcdefghi"] + [
        met("1", "a", "control"),
        met("2", "a", "control", timestamp=late),
        met("3", "b", HOSTILE, timestamp=late),
        met("4", "c", "control"),
        met("5", "c", HOSTILE, timestamp=late),
        met("6", "d", "unknown"),
        met("7", "e", "control", phase=1),
        met("8", "f", "control", experiment="third"),
        met("9", "g", "control", timestamp=NOW - 2 * DAY - timedelta(microseconds=1)),
        met("10", "g", HOSTILE, timestamp=NOW - 2 * DAY),
        met("11", "h", "control", timestamp=NOW + 2 * DAY),
        met("12", "i", "(several)"),
        met("13", "stranger", "control"),
    ]
    assert cells(engine, local_lake, exposures) == {
        "other": {
            ("control", "(none)"): 4,  # d, e, f and h
            ("control", "(several)"): 1,  # c
            ("control", '"(several)"'): 1,  # i: a variant of that name keeps its quotes
            ("control", "control"): 1,
            ("control", HOSTILE): 2,  # b and g
        }
    }


def history(seed: int) -> list[ExposureFact]:
    rng = random.Random(seed)
    found = []
    for number in range(600):
        experiment, phase = rng.choice([("rate-display", 1), ("other", 2), ("other", 2), ("other", 1), ("third", 1)])
        found.append(
            an_exposure_fact(
                f"e-{number}",
                experiment=experiment,
                phase=phase,
                unit=f"u-{rng.randrange(80)}",
                variant=rng.choice(["control", "control", "treatment", HOSTILE]),
                timestamp=NOW + rng.randrange(-3, 5) * DAY,
                attributes={"channel": rng.choice(['"web"', '"app"'])},
            )
        )
    return found


THIRD = OtherExperiment(key="third", phase=1, variants=ARMS)
BESIDE = (Dimension(name="channel"), Dimension(name="other", experiment=OTHER), Dimension(name="3", experiment=THIRD))


def slice_of(other: OtherExperiment, exposures: Sequence[ExposureFact]) -> str:
    """By plain loops over the exposures of one unit."""
    variants = {
        each.variant
        for each in exposures
        if (each.experiment, each.phase) == (other.key, other.phase)
        and each.variant in other.variants
        and (other.since is None or each.timestamp >= other.since)
        and all(end is None or each.timestamp < end for end in (other.enrolled_until, other.until))
    }
    return "(none)" if not variants else variants.pop() if len(variants) == 1 else "(several)"


@pytest.mark.parametrize("seed", range(3))
def test_slices_are_those_of_plain_loops(local_lake: Lake, engine: Engine, seed: int) -> None:
    exposures = history(seed)
    units = defaultdict[str, list[ExposureFact]](list)
    for each in exposures:
        units[each.unit].append(each)
    wanted: dict[str, Counter[tuple[str, str]]] = {"other": Counter(), "3": Counter()}
    for events in units.values():
        mine = {each.variant for each in events if each.experiment == "rate-display"} & {"control", "treatment"}
        if len(mine) == 1:
            (variant,) = mine
            wanted["other"][variant, slice_of(OTHER, events)] += 1
            wanted["3"][variant, slice_of(THIRD, events)] += 1
    found = cells(engine, local_lake, exposures, *BESIDE)
    assert {name: found[name] for name in wanted} == {name: dict(each) for name, each in wanted.items()}
    assert {"(none)", "(several)", "control"} <= {slice_ for _, slice_ in wanted["other"]}


def test_spark_says_the_same(local_lake: Lake, engine: Engine, spark_on_threads: Engine) -> None:
    found = cells(engine, local_lake, history(7), *BESIDE)
    assert ask(spark_on_threads, local_lake, *BESIDE) == found
    assert len(found["other"]) >= 6


KINDS = (
    a_metric("buys", event="purchase", window=None),
    a_metric("count", event="purchase", kind="count", window=None),
    a_metric("capped", event="purchase", kind="sum", window=None, cap=Cap(value=Decimal(40))),
    a_metric("ratio", event="purchase", kind="ratio", window=None, denominator=Measure(event="purchase")),
    a_metric("median", event="purchase", kind="quantile", window=None, over="events"),
    a_metric("wait", event="purchase", kind="time_to", window=Window(end=DAY)),
    a_metric("silent", event="nothing", window=None),
)


def test_interactions_of_every_kind_of_metric_can_be_computed(local_lake: Lake, engine: Engine) -> None:
    rng = random.Random(3)
    exposures, conversions = [], []
    for number in range(1_200):
        unit, arm = f"u-{number}", ARMS[number % 2]
        exposures += [
            an_exposure_fact(f"x-{number}", unit=unit, variant=arm),
            met(f"o-{number}", unit, ARMS[number // 2 % 2], phase=1),
        ]
        for index in range(rng.randrange(1, 4)):
            at = NOW + timedelta(seconds=rng.randrange(1, 9_000))
            value = Decimal(rng.randrange(10, 60))
            conversions.append(a_conversion_fact(f"c-{number}-{index}", unit=unit, timestamp=at, value=value))
    conversions = [fact for fact in conversions if rng.random() < 0.9]
    append_facts(local_lake, "default", "exposure", facts_to_arrow("exposure", exposures))
    append_facts(local_lake, "default", "conversion", facts_to_arrow("conversion", conversions))
    definition = an_experiment(metrics=tuple(a_metric_use(metric.key) for metric in KINDS))
    request = AggregationRequest(
        project="default",
        experiment="rate-display",
        phase=1,
        variants=ARMS,
        metrics=KINDS,
        as_of=NOW + 5 * DAY,
        dimensions=(Dimension(name="other", experiment=OtherExperiment(key="other", phase=1, variants=ARMS)),),
    )
    aggregation = engine.aggregate(local_lake, request)
    found = {each.metric: each for each in cross(definition, KINDS, {"other": an_experiment("other")}, aggregation)}
    computed = {key: each.not_computable for key, each in found.items()}
    assert computed == {metric.key: None for metric in KINDS} | {"silent": "ZERO_VARIANCE"}
    for key, each in found.items():
        neither, first, second, both = (group.value or 0.0 for group in each.groups)
        assert (each.absolute.estimate or 0.0) == pytest.approx(both - second - first + neither), key
        assert [group.units for group in each.groups] == [300] * 4
        assert not each.found  # nothing was planted
