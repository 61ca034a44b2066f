"""The ship rule: a plan over one primary metric and three guardrails has the power that it was planned with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from abplatform.stats import Margin, ProportionStats, sequential
from abplatform.stats.power import (
    Baseline,
    CountTest,
    FixedTest,
    Goal,
    PlannedTest,
    Requirement,
    SequenceTest,
    detectable_size,
    plan_family,
    required_units,
)
from abplatform.stats.simulate import (
    Bernoulli,
    Fixed,
    Looks,
    Measured,
    Normal,
    Population,
    Procedure,
    Sequential,
    Trial,
    equally_spaced,
    guard_passed,
    share_of_runs,
)
from tests.calibration.blocks import in_blocks
from tests.calibration.claims import Check, Row, Section, at_least, at_most

LOOKS, ALPHA, POWER = 20, 0.05, 0.8
PRIMARY, LIFT = Bernoulli(0.1), 0.1
GUARDRAILS: dict[str, tuple[Population, ...]] = {
    "two means and a rate guarded": (Normal(1.0, 1.0), Normal(5.0, 2.0), Bernoulli(0.3)),
    "three rates guarded": (Bernoulli(0.3), Bernoulli(0.2), Bernoulli(0.05)),
}
METHODS: dict[str, PlannedTest] = {
    "confidence sequence": SequenceTest(ALPHA, looks=LOOKS),
    "fixed test at the last look": FixedTest(ALPHA),
}
"""Of the primary."""
BLOCK = 1_000


@dataclass(frozen=True, slots=True)
class Plan:
    """How the primary is judged, units of both arms, and of each guardrail the margin that they can just defend."""

    judged: Procedure
    units: int
    guarded: tuple[Population, ...]
    margins: tuple[float, ...]


@cache
def planned(method: str, guardrails: str) -> Plan:
    """Plan the primary with three guardrails whose margins ask for the same units: the hardest case.

    The family's plan, made of these, gives the units.
    """
    guarded, test = GUARDRAILS[guardrails], METHODS[method]
    lift, each = Goal.superiority(LIFT, relative=True), 1 - (1 - POWER) / (len(guarded) + 1)
    alone = required_units(_baseline(PRIMARY), lift, test=test.at_last_look(), power=each).cell()
    margins = tuple(_least_margin(population, alone.total, each) for population in guarded)
    primary = Requirement(metric="primary", role="primary", baseline=_baseline(PRIMARY), goal=lift, test=test)
    vetoes = [
        Requirement(
            metric=f"guardrail {index}",
            role="guardrail",
            baseline=_baseline(population),
            goal=Goal.non_inferiority(Margin(margins[index]), direction="increase"),
            test=_watch_of(population),
        )
        for index, population in enumerate(guarded)
    ]
    units = int(plan_family([primary, *vetoes], alpha=ALPHA, power=POWER).total)
    return Plan(Fixed(ALPHA) if isinstance(test, FixedTest) else Sequential(units, ALPHA), units, guarded, margins)


def _least_margin(population: Population, units: int, power: float) -> float:
    goal, test = Goal.non_inferiority(Margin(1.0), direction="increase"), _watch_of(population).at_last_look()
    return float(detectable_size(_baseline(population), goal, test=test, power=power, units=units).cell().absolute)


def _watch_of(population: Population) -> PlannedTest:
    """How experiments judge a guardrail, whatever the method of the primary."""
    return CountTest(ALPHA) if isinstance(population, Bernoulli) else SequenceTest(ALPHA, looks=LOOKS)


def _baseline(population: Population) -> Baseline:
    """What history would say of a population."""
    if isinstance(population, Bernoulli):
        return Baseline.rate(population.rate)
    return Baseline.normal(population.mean, population.sd)


def joint_power(repetitions: int, seed: int) -> list[Row]:
    """The primary has its effect, guardrails have none: how often a plan ships, at some look up to the planned one."""
    rows = []
    for guardrails in GUARDRAILS:
        for method in METHODS:
            stream = (seed, len(rows))
            ships = _shipped(planned(method, guardrails), repetitions, stream, lift=LIFT, harm=0.0)
            what = f"primary by {method}, {guardrails}: ships"
            rows.append(Row(what, at_least(POWER), ships, repetitions, stream))
    return rows


def useless_or_harmful(repetitions: int, seed: int) -> list[Row]:
    """What must not ship: nothing gained, or one guardrail worse by exactly its margin."""
    rows = []
    for guardrails in GUARDRAILS:
        plan = planned("confidence sequence", guardrails)
        for flaw, lift, harm, claim in (
            ("primary without effect", 0.0, 0.0, at_most(ALPHA / 2)),
            ("one guardrail worse by its margin", LIFT, 1.0, at_most(ALPHA)),
        ):
            stream = (seed, len(rows))
            ships = _shipped(plan, repetitions, stream, lift=lift, harm=harm)
            rows.append(Row(f"{flaw}, {guardrails}: ships", claim, ships, repetitions, stream))
    return rows


def _shipped(plan: Plan, repetitions: int, seed: tuple[int, ...], *, lift: float, harm: float) -> Measured:
    run = partial(_ships, plan, np.random.default_rng(seed), lift, harm)
    return share_of_runs(in_blocks(run, repetitions, BLOCK))


def _ships(plan: Plan, rng: np.random.Generator, lift: float, harm: float, runs: int) -> np.ndarray:
    """Whether at some look the primary is better and every guardrail is non-inferior; the first one has the harm."""
    schedule = equally_spaced(plan.units, LOOKS)
    ships = plan.judged(Trial(PRIMARY, PRIMARY.lifted(lift), schedule).draw(runs, rng)).sign > 0
    for population, margin, share in zip(plan.guarded, plan.margins, (harm, 0.0, 0.0), strict=True):
        worse = population.lifted(-share * margin / population.mean)
        looks = Trial(population, worse, schedule).draw(runs, rng)
        # Only where nothing else has vetoed: bounds of counts take long.
        ships[ships] = _safe(looks, Margin(margin), plan.units, ships)
    return ships.any(axis=1)


def _safe(looks: Looks, margin: Margin, units: int, where: np.ndarray) -> np.ndarray:
    """As experiments judge guardrails: rates by counts alone, means by the asymptotic sequence behind its guard."""
    arms = looks.treatment.stats, looks.control.stats
    plan = {"margin": margin, "planned_units": units, "alpha": ALPHA, "direction": "increase"}
    if isinstance(arms[0], ProportionStats):
        counted = (ProportionStats(arm.n[where], arm.successes[where]) for arm in arms)
        return sequential.count_non_inferiority(*counted, share=0.5, **plan).non_inferior
    return (sequential.non_inferiority(*arms, **plan).non_inferior & guard_passed(looks))[where]


SECTION = Section(
    "The ship rule",
    "One primary rate of 10% with a lift of 10% and three independent guardrails, 20 looks; rates of 30%, 20% and "
    "5% where all three are rates. Guardrails are judged as in experiments: rates by their counts alone, without a "
    "base rate, means by confidence sequences behind their guard. Planned by `plan_family` for a joint power of "
    "80%, rates by `CountTest` and means by `SequenceTest`, so that each test has 95% at the planned look; margins "
    "are the smallest that the units can defend, so that every test is a bottleneck. It ships at the first look at "
    "which the primary is better and every guardrail is non-inferior. Looks on the way add power, and so does "
    "random assignment where counts are planned for equal arms.",
    (Check(joint_power, 100_000, 4_000, 701), Check(useless_or_harmful, 50_000, 4_000, 702)),
)
