"""Slices of experiments that are awkward: empty arms, no units, clusters, phases, guardrails, every kind of metric."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from abplatform.bootstrap import Platform
from abplatform.domain.breakdown import Breakdown, SliceResult
from abplatform.domain.experiment import Amount
from abplatform.domain.metric import Cap, Measure, Metric, Step
from abplatform.domain.scorecard import ComparisonResult
from abplatform.errors import InvalidInput, NotAnalysable
from abplatform.services.define import create_metric
from abplatform.services.keep_units import keep_due
from abplatform.warehouse.bulk import append_facts
from abplatform.warehouse.layout import facts_to_arrow
from tests.builders import (
    NOW,
    a_conversion_fact,
    a_metric,
    a_metric_use,
    a_plan,
    an_experiment,
    an_exposure_fact,
    later,
)
from tests.cli.tables import a_platform
from tests.services.lives import lead, open_phase

ARMS = ("control", "treatment")
KINDS = (
    a_metric("purchase", window=None),
    a_metric("amount", kind="sum", event="purchase", window=None, cap=Cap(value=Decimal(40))),
    a_metric("ratio", kind="ratio", event="purchase", window=None, denominator=Measure(event="visit")),
    a_metric("middle", kind="quantile", event="purchase", window=None, quantile=0.5),
    a_metric("wait", kind="time_to", event="purchase", window=None, quantile=0.15),
    a_metric("steps", kind="funnel", event="", window=None, steps=(Step(event="visit"), Step(event="purchase"))),
)
SLICES = {"app": 900, "web": 700, "branch": 1, None: 60}
"""Units per arm by channel; in ``phone`` there are 30 more, of the treatment alone."""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with a_platform(tmp_path_factory.mktemp("home")) as platform:
        with platform.uow.begin() as work:
            for metric in KINDS:
                create_metric(work, "default", metric, now=NOW)
        yield platform


def start(platform: Platform, key: str, kinds: Sequence[Metric] = KINDS, **changes: Any) -> None:
    uses = [a_metric_use(each.key, role="secondary", mde=None) for each in kinds[1:]]
    changes = {"metrics": (a_metric_use(kinds[0].key), *uses), "assignment": "external"} | changes
    lead(platform.uow, an_experiment(key, **changes), "start")


def log(platform: Platform, key: str, *, clusters: int | None = None, phase: int = 1) -> None:
    """Units in all slices; the treatment does harm in the app and good on the web. Every unit visits once or twice."""
    chance = np.random.default_rng(3)
    rates = {("app", "treatment"): 0.2, ("web", "treatment"): 0.6}
    places = [(channel, arm) for channel, size in SLICES.items() for arm in ARMS for _ in range(size)]
    places += [("phone", "treatment")] * 30
    exposures, conversions = [], []
    for number, (channel, arm) in enumerate(places):
        unit = f"{key}-{phase}-{number}"
        exposures.append(
            an_exposure_fact(
                unit,
                experiment=key,
                phase=phase,
                unit=unit,
                variant=arm,
                expected_variant=None,
                timestamp=NOW,
                cluster=None if clusters is None else f"{arm}-{number % clusters}",
                attributes={} if channel is None else {"channel": f'"{channel}"'},
            )
        )
        conversions += [
            a_conversion_fact(f"v-{unit}-{time}", event="visit", unit=unit, timestamp=later(seconds=1 + time))
            for time in range(1 + number % 2)
        ]
        if chance.random() < rates.get((str(channel), arm), 0.4):
            when, value = later(minutes=float(chance.integers(1, 900))), int(chance.integers(1, 60))
            conversions.append(a_conversion_fact(f"p-{unit}", unit=unit, timestamp=when, value=value))
    append_facts(platform.lake, "default", "exposure", facts_to_arrow("exposure", exposures))
    append_facts(platform.lake, "default", "conversion", facts_to_arrow("conversion", conversions))


@pytest.fixture(scope="module")
def external(platform: Platform) -> str:
    """An experiment with every kind of metric, whose planned units are in."""
    start(platform, "trial", plan=a_plan(planned_units=3_000))
    log(platform, "trial")
    return "trial"


@pytest.fixture(scope="module")
def sliced(platform: Platform, external: str) -> Breakdown:
    """By channel, by the method of the plan, which is sequential."""
    return platform.explorer.breakdown("default", external, by="channel")


def slice_of(breakdown: Breakdown, name: str, metric: str = "purchase") -> SliceResult:
    found = next(each for each in breakdown.metrics if each.metric == metric)
    return next(each for each in found.slices if each.slice == name)


def effect(breakdown: Breakdown, name: str, metric: str = "purchase") -> ComparisonResult:
    (comparison,) = slice_of(breakdown, name, metric).comparisons
    return comparison


def test_every_unit_is_in_one_slice_and_who_has_no_value_is_in_one_too(sliced: Breakdown) -> None:
    for metric in sliced.metrics:
        units = {each.slice: [arm.units + arm.open_units for arm in each.variants] for each in metric.slices}
        assert units == {
            "(none)": [60, 60],
            "app": [900, 900],
            "branch": [1, 1],
            "phone": [0, 30],
            "web": [700, 700],
        }


@pytest.mark.parametrize("method", ["fixed", "bayesian", None])
def test_an_empty_arm_and_a_single_unit_have_a_reason_instead_of_numbers(
    platform: Platform, external: str, sliced: Breakdown, method: str | None
) -> None:
    found = sliced
    if method is not None:
        found = platform.explorer.breakdown("default", external, by="channel", method=method)
    for metric in found.metrics:
        for name in ("phone", "branch"):
            comparison = effect(found, name, metric.metric)
            assert (comparison.verdict, comparison.adjusted_p_value) == ("not_computable", None)
            assert comparison.not_computable is not None


def test_every_kind_of_metric_is_asked_whether_its_effect_differs(platform: Platform, external: str) -> None:
    found = platform.explorer.differences("default", external)
    assert {each.metric for each in found.differences} == {metric.key for metric in KINDS}
    assert all(each.not_computable is None and each.slices in {2, 3} for each in found.differences)
    first = found.differences[0]
    assert (first.found, first.variant, first.dimension) == (True, "treatment", "channel")
    by_name = {each.metric: each for each in found.differences}
    assert by_name["purchase"].found
    assert by_name["steps"].p_value == by_name["purchase"].p_value, "everybody took the first step"


def test_slices_that_differ_in_sign_are_better_and_worse(platform: Platform, external: str) -> None:
    found = platform.explorer.breakdown("default", external, by="channel", metric="purchase")
    assert [each.metric for each in found.metrics] == ["purchase"]
    assert (effect(found, "app").verdict, effect(found, "web").verdict) == ("worse", "better")
    assert all(each.exploratory for slice_ in found.metrics[0].slices for each in slice_.comparisons)


def test_a_slice_that_is_too_small_for_the_method_gets_no_verdict(sliced: Breakdown) -> None:
    found = effect(sliced, "(none)")
    assert (found.verdict, "TOO_FEW_UNITS" in found.warnings) == ("inconclusive", True)


@pytest.mark.parametrize(("planned", "verdict", "waits"), [(3_000, "better", False), (100_000, "inconclusive", True)])
def test_a_fixed_plan_waits_for_the_units_of_all_slices_together(
    platform: Platform, planned: int, verdict: str, waits: bool
) -> None:
    start(platform, f"fixed-{planned}", KINDS[:1], plan=a_plan(method="fixed", planned_units=planned))
    log(platform, f"fixed-{planned}")
    found = effect(platform.explorer.breakdown("default", f"fixed-{planned}", by="channel", method="fixed"), "web")
    assert (found.verdict, "PLANNED_UNITS_NOT_REACHED" in found.warnings) == (verdict, waits)


def test_a_guardrail_is_judged_by_its_difference_and_not_by_its_margin(platform: Platform) -> None:
    guardrail = a_metric_use("amount", role="guardrail", mde=None, non_inferiority_margin=Amount(relative=0.9))
    start(platform, "guarded", metrics=(a_metric_use(), guardrail), plan=a_plan(planned_units=3_000))
    log(platform, "guarded")
    found = platform.explorer.breakdown("default", "guarded", by="channel")
    harmed = effect(found, "app", "amount")
    assert (harmed.verdict, harmed.margin, harmed.probability_worse_than_margin) == ("worse", None, None)
    assert "WORSE_WITHIN_MARGIN" not in harmed.warnings
    bayesian = platform.explorer.breakdown("default", "guarded", by="channel", method="bayesian")
    assert effect(bayesian, "app", "amount").verdict == "inconclusive", "margins are promises about all units"


def test_before_the_first_unit_there_is_no_slice_and_nothing_to_compare(platform: Platform) -> None:
    start(platform, "young", KINDS[:2])
    found = platform.explorer.breakdown("default", "young", by="channel")
    assert [metric.slices for metric in found.metrics] == [(), ()]
    (first, _) = platform.explorer.differences("default", "young").differences
    assert (first.slices, first.p_value, first.found) == (0, None, False)
    assert first.not_computable == "TOO_FEW_GROUPS"


def test_clusters_are_counted_in_each_slice(platform: Platform) -> None:
    start(
        platform,
        "clustered",
        KINDS[:2],
        unit_type="branch_id",
        analysis_unit="user_id",
        plan=a_plan(method="fixed", planned_units=3_000),
    )
    log(platform, "clustered", clusters=50)
    found = platform.explorer.breakdown("default", "clustered", by="channel")
    assert found.method == "fixed"
    assert [arm.clusters for arm in slice_of(found, "app").variants] == [50, 50]
    assert effect(found, "app").verdict == "worse"
    assert platform.explorer.differences("default", "clustered").differences[0].found


def test_a_later_phase_is_judged_at_its_own_level_and_the_past_one_stays(platform: Platform) -> None:
    start(platform, "phased", KINDS[:1], assignment="served", plan=a_plan(planned_units=3_000))
    log(platform, "phased")
    open_phase(platform.uow, "phased")
    now, past = (platform.explorer.breakdown("default", "phased", by="channel", phase=each) for each in (None, 1))
    assert (now.phase, now.alpha, past.phase, past.alpha) == (2, 0.025, 1, 0.05)
    assert platform.explorer.differences("default", "phased", phase=1).phase == 1


def test_weeks_of_the_first_exposure_are_a_dimension_of_every_experiment(platform: Platform) -> None:
    start(platform, "plain", KINDS[:1], dimensions=())
    log(platform, "plain")
    found = platform.explorer.breakdown("default", "plain", by="exposure_week")
    monday = (NOW - timedelta(days=NOW.weekday())).date()
    assert [each.slice for each in found.metrics[0].slices] == [monday.isoformat()]
    with pytest.raises(NotAnalysable, match=r"plain has no dimensions.*slice by exposure_week instead"):
        platform.explorer.differences("default", "plain")


def test_of_very_many_slices_the_largest_are_shown_and_all_others_as_one(platform: Platform) -> None:
    start(platform, "many", KINDS[:1])
    facts = [
        an_exposure_fact(
            f"many-{city}-{number}",
            experiment="many",
            unit=f"many-{city}-{number}",
            variant=ARMS[number % 2],
            expected_variant=None,
            attributes={"channel": f'"{city:03}"'},
        )
        for city in range(105)
        for number in range(4 if city < 100 else 2)
    ]
    append_facts(platform.lake, "default", "exposure", facts_to_arrow("exposure", facts))
    found = platform.explorer.breakdown("default", "many", by="channel")
    units = {each.slice: sum(arm.units for arm in each.variants) for each in found.metrics[0].slices}
    assert units == {f"{city:03}": 4 for city in range(100)} | {"(rest)": 10}


def test_what_is_asked_for_must_fit(platform: Platform, external: str) -> None:
    explorer = platform.explorer
    with pytest.raises(InvalidInput) as refused:
        explorer.breakdown("default", external, by="chanel")
    assert list(refused.value.errors) == ["by"]
    assert "channel, exposure_day, exposure_week, exposure_month" in refused.value.errors["by"][0]
    for changes in ({"metric": "nothing"}, {"method": "group_sequential"}, {"phase": 2}):
        with pytest.raises(InvalidInput) as refused:
            explorer.breakdown("default", external, by="channel", **changes)
        assert list(refused.value.errors) == list(changes)


def test_nothing_is_recorded(platform: Platform, external: str, sliced: Breakdown) -> None:
    assert sliced.metrics
    assert platform.looks("default", external) == ()
    with platform.uow.reading() as work:
        assert work.kept_units.find("default", external, 1) is None


def test_slices_do_not_depend_on_what_was_kept_of_each_unit(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(platform, "kept", KINDS[:2], plan=a_plan(planned_units=3_000))
    log(platform, "kept")
    before = platform.explorer.breakdown("default", "kept", by="channel")
    platform.results("default", "kept")
    monkeypatch.setattr("abplatform.services.keep_units.WORTH_KEEPING", 1)
    keep_due(platform, clock=platform.now)
    with platform.uow.reading() as work:
        entry = work.kept_units.find("default", "kept", 1)
    assert entry is not None
    assert entry.units is not None
    after = platform.explorer.breakdown("default", "kept", by="channel")
    for found, known in zip(after.metrics, before.metrics, strict=True):
        for slice_, same in zip(found.slices, known.slices, strict=True):
            assert [(arm.units, arm.sum) for arm in slice_.variants] == [(arm.units, arm.sum) for arm in same.variants]
    p_values = [each.p_value for each in before.differences]
    assert [each.p_value for each in after.differences] == pytest.approx(p_values, rel=1e-9)


def test_before_the_first_unit_of_the_control_every_kind_of_metric_says_why_there_is_nothing(
    platform: Platform,
) -> None:
    start(platform, "one-sided", metrics=tuple(a_metric_use(each.key, mde=None) for each in KINDS))
    facts = [an_exposure_fact("first", experiment="one-sided", unit="first", variant="treatment")]
    append_facts(platform.lake, "default", "exposure", facts_to_arrow("exposure", facts))
    buys = [a_conversion_fact("bought", unit="first", timestamp=later(minutes=5))]
    append_facts(platform.lake, "default", "conversion", facts_to_arrow("conversion", buys))
    found = platform.results("default", "one-sided", method="fixed")
    reasons = [comparison.not_computable for metric in found.metrics for comparison in metric.comparisons]
    assert reasons == ["NO_UNITS"] * len(KINDS)
