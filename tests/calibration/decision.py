"""The ship rule: a plan over one primary metric and three guardrails has the power that it was planned with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from abplatform.stats import Margin, sequential
from abplatform.stats.power import (
    Baseline,
    FixedTest,
    Goal,
    Requirement,
    SequenceTest,
    detectable_size,
    plan_family,
    required_units,
)
from abplatform.stats.simulate import (
    Bernoulli,
    Fixed,
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
from tests.calibration.claims import Check, Row, Section, at_least, at_most

LOOKS, ALPHA, POWER = 20, 0.05, 0.8
TEST = SequenceTest(ALPHA, looks=LOOKS)
"""Of the guardrails, under every method; the decision reads it at one look."""
PRIMARY, LIFT = Bernoulli(0.1), 0.1
GUARDED: tuple[Population, ...] = (Normal(1.0, 1.0), Normal(5.0, 2.0), Bernoulli(0.3))
BLOCK = 1_000


@dataclass(frozen=True, slots=True)
class Plan:
    """How the primary is judged, units of both arms, and for each guardrail the margin that they can just defend."""

    judged: Procedure
    units: int
    margins: tuple[float, ...]


@cache
def planned(method: str) -> Plan:
    """Plan the primary with three guardrails whose margins ask for the same units: the hardest case.

    The family's plan, made of these, gives the units.
    """
    lift, each = Goal.superiority(LIFT, relative=True), 1 - (1 - POWER) / (len(GUARDED) + 1)
    test = TEST if method == "sequential" else FixedTest(ALPHA)
    alone = required_units(_baseline(PRIMARY), lift, test=test.at_last_look(), power=each).cell()
    margins = [_least_margin(population, alone.total, each) for population in GUARDED]
    primary = Requirement(metric="primary", role="primary", baseline=_baseline(PRIMARY), goal=lift, test=test)
    guardrails = [
        Requirement(
            metric=f"guardrail {index}",
            role="guardrail",
            baseline=_baseline(population),
            goal=Goal.non_inferiority(Margin(margins[index])),
            test=TEST,
        )
        for index, population in enumerate(GUARDED)
    ]
    family = plan_family([primary, *guardrails], alpha=ALPHA, power=POWER)
    units = int(family.total)
    return Plan(Sequential(units, ALPHA) if method == "sequential" else Fixed(ALPHA), units, tuple(margins))


def _least_margin(population: Population, units: int, power: float) -> float:
    goal = Goal.non_inferiority(Margin(1.0))
    return float(
        detectable_size(_baseline(population), goal, test=TEST.at_last_look(), power=power, units=units).cell().absolute
    )


def _baseline(population: Population) -> Baseline:
    """What history would say of a population."""
    if isinstance(population, Bernoulli):
        return Baseline.rate(population.rate)
    return Baseline.normal(population.mean, population.sd)


def joint_power(repetitions: int, seed: int) -> list[Row]:
    """The primary has its effect, guardrails have none: how often a plan ships, at some look up to the planned one."""
    methods = {"sequential": "confidence sequence", "fixed": "fixed test at the last look"}
    return [
        Row(
            f"primary by {words}: ships",
            at_least(POWER),
            _shipped(method, repetitions, seed + index, lift=LIFT, harm=0.0),
            repetitions,
        )
        for index, (method, words) in enumerate(methods.items())
    ]


def useless_or_harmful(repetitions: int, seed: int) -> list[Row]:
    """What must not ship: nothing gained, or one guardrail worse by exactly its margin."""
    useless = _shipped("sequential", repetitions, seed, lift=0.0, harm=0.0)
    harmful = _shipped("sequential", repetitions, seed + 1, lift=LIFT, harm=1.0)
    return [
        Row("primary without effect: ships", at_most(ALPHA / 2), useless, repetitions),
        Row("one guardrail worse by its margin: ships", at_most(ALPHA), harmful, repetitions),
    ]


def _shipped(method: str, repetitions: int, seed: int, *, lift: float, harm: float) -> Measured:
    """Share that ships: at some look the primary is better and every guardrail is non-inferior."""
    rng, plan = np.random.default_rng([seed, 0]), planned(method)
    blocks = [min(BLOCK, repetitions - done) for done in range(0, repetitions, BLOCK)]
    verdicts = np.concatenate([_verdicts(plan, runs, rng, lift, harm) for runs in blocks], axis=1)
    return share_of_runs(verdicts.all(axis=0).any(axis=1))


def _verdicts(plan: Plan, runs: int, rng: np.random.Generator, lift: float, harm: float) -> np.ndarray:
    """Whether the primary is better and each guardrail non-inferior: (metrics, runs, looks)."""
    schedule = equally_spaced(plan.units, LOOKS)
    primary = Trial(PRIMARY, PRIMARY.lifted(lift), schedule)
    good = [plan.judged(primary.draw(runs, rng)).sign > 0]
    for population, margin, share in zip(GUARDED, plan.margins, (harm, 0.0, 0.0), strict=True):
        worse = population.lifted(-share * margin / population.mean)
        good.append(_safe(Trial(population, worse, schedule), margin, runs, rng))
    return np.stack(good)


def _safe(trial: Trial, margin: float, runs: int, rng: np.random.Generator) -> np.ndarray:
    """Rates by counts alone, given the rate of the past; means by the asymptotic sequence behind its guard."""
    looks, units = trial.draw(runs, rng), int(trial.schedule[-1])
    arms = looks.treatment.stats, looks.control.stats
    if isinstance(trial.control, Bernoulli):
        log_e = sequential.log_margin_e_value(
            *arms,
            margin=Margin(margin),
            share=trial.share,
            planned_units=units,
            alpha=ALPHA,
            base_rate=trial.control.rate,
        )
        return log_e > -np.log(ALPHA)
    test = sequential.non_inferiority(*arms, margin=Margin(margin), planned_units=units, alpha=ALPHA)
    return test.non_inferior & guard_passed(looks)


SECTION = Section(
    "The ship rule",
    "One primary rate of 10% with a lift of 10% and three independent guardrails, two means by sequences and a "
    "rate by counts alone, 20 looks. Planned by `plan_family` for a joint power of 80%, so that each test has "
    "95% at the planned look; margins are the smallest that the units can defend, so that every test is a bottleneck. "
    "It ships at the first look at which the primary is better and every guardrail is non-inferior.",
    (Check(joint_power, 100_000, 4_000, 701), Check(useless_or_harmful, 50_000, 4_000, 702)),
)
