"""What makes a definition one that can be run."""

from __future__ import annotations

from typing import Any

import pytest

from abplatform.domain.definition_check import Catalogue, check_definition
from abplatform.domain.experiment import Amount, ExperimentDefinition, Variant, prior_scale
from abplatform.domain.plan import Prior
from tests.builders import a_metric, a_metric_use, a_plan, an_experiment, an_external_experiment
from tests.domain.refusals import faults_of

METRICS = {key: a_metric(key) for key in ("purchase", "complaint")}
MARGIN = Amount(absolute=0.001)
CATALOGUE = Catalogue(
    unit_type="user_id", metrics=METRICS, layers={"home": "user_id", "devices": "device_id"}, segments={"vips"}
)
FIXED = a_plan(method="fixed")
CIRCLES: dict[str, Any] = {"unit_type": "referral_circle", "analysis_unit": "user_id"}


def faults(definition: ExperimentDefinition) -> dict[str, list[str]]:
    return faults_of(lambda: check_definition(definition, CATALOGUE))


def variants(*keys: str, **changes: Any) -> tuple[Variant, ...]:
    return tuple(Variant(key=key, **changes) for key in keys)


@pytest.mark.parametrize(
    "definition",
    [
        an_experiment(),
        an_experiment(key="0", name="x", hypothesis="年化收益", coverage=1e-6),
        an_experiment(variants=variants("对照", "Variant B!"), control="对照"),
        an_experiment(variants=variants(*map(str, range(20))), control="0"),
        an_experiment(risk_class="regulated"),
        an_experiment(metrics=(a_metric_use(mde=None),)),
        an_experiment(
            metrics=(
                a_metric_use(),
                a_metric_use("complaint", role="guardrail", mde=None, non_inferiority_margin=MARGIN),
            )
        ),
        an_experiment(plan=a_plan(method="fixed", alpha=0.49, power=0.01, planned_units=2)),
        an_experiment(plan=a_plan(method="group_sequential", spending="pocock")),
        an_experiment(plan=a_plan(method="bayesian", loss_threshold=0.001, minimum_units=100)),
        an_experiment(plan=a_plan(method="bayesian", loss_threshold=1, minimum_units=2, prior=Prior(scale=0.05))),
        an_experiment(layer="home"),
        an_experiment(layer="devices", unit_type="device_id"),
        an_experiment(unit_type="device_id"),
        an_experiment(unit_type="device_id", analysis_unit="device_id"),
        an_experiment(analysis_unit="user_id"),
        an_experiment(**CIRCLES, plan=FIXED),
        an_experiment(**CIRCLES, plan=a_plan(planned_clusters=400)),
        an_experiment(**CIRCLES, plan=a_plan(method="fixed", planned_clusters=2)),
        an_experiment(plan=a_plan(cuped=True)),
        an_experiment(targeting={"branch": {"$inGroup": "vips"}}),
        an_external_experiment(
            unit_type="village", analysis_unit="household", covariates=("history",), plan=a_plan(method="fixed")
        ),
    ],
)
def test_sound_definitions_pass(definition: ExperimentDefinition) -> None:
    assert faults(definition) == {}


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"key": "Rate"}, "key"),
        ({"key": ""}, "key"),
        ({"key": "a" * 65}, "key"),
        ({"key": "rate\n"}, "key"),
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "nul\0"}, "name"),
        ({"hypothesis": "x" * 4001}, "hypothesis"),
        ({"hypothesis": "lone \ud800"}, "hypothesis"),
        ({"variants": variants("control")}, "variants"),
        ({"variants": variants("control", *map(str, range(20)))}, "variants"),
        ({"variants": variants("control", "")}, "variants.1.key"),
        ({"variants": variants("control", "x" * 65)}, "variants.1.key"),
        ({"variants": variants("control", "zero\u200bwidth")}, "variants.1.key"),
        ({"variants": variants("control", "b", "b")}, "variants.2.key"),
        ({"variants": variants("control", "b", weight=0)}, "variants.0.weight"),
        ({"variants": variants("control", "b", weight=-1)}, "variants.1.weight"),
        ({"variants": variants("control", "b", weight=float("nan"))}, "variants.0.weight"),
        ({"variants": variants("control", "b", weight=float("inf"))}, "variants.0.weight"),
        ({"variants": variants("control", "b", weight=True)}, "variants.0.weight"),
        ({"variants": variants("control", "b", weight=1e10)}, "variants.0.weight"),
        ({"variants": variants("control", "b", payload="x" * 65_536)}, "variants.0.payload"),
        ({"variants": variants("control", "b", payload={"x": ["nul\0"]})}, "variants.0.payload"),
        ({"variants": variants("control", "b", payload={"lone \ud800": 1})}, "variants.0.payload"),
        ({"control": "nobody"}, "control"),
        ({"assignment": "elsewhere"}, "assignment"),
        ({"risk_class": "high"}, "risk_class"),
        ({"layer": "nowhere"}, "layer"),
        ({"layer": "devices"}, "unit_type"),
        ({"layer": "home", "assignment": "external"}, "layer"),
        ({"coverage": 0}, "coverage"),
        ({"coverage": 1.01}, "coverage"),
        ({"coverage": float("nan")}, "coverage"),
        ({"unit_type": ""}, "unit_type"),
        ({"unit_type": "x" * 65}, "unit_type"),
        ({"unit_type": "zero\u200bwidth"}, "unit_type"),
        ({"analysis_unit": ""}, "analysis_unit"),
        ({"analysis_unit": "household"}, "analysis_unit"),
        ({"unit_type": "referral_circle", "analysis_unit": "household", "plan": FIXED}, "analysis_unit"),
        (CIRCLES, "plan.planned_clusters"),
        (CIRCLES | {"plan": a_plan(planned_clusters=399)}, "plan.planned_clusters"),
        ({"plan": a_plan(planned_clusters=1_000)}, "plan.planned_clusters"),
        (CIRCLES | {"plan": a_plan(method="group_sequential")}, "plan.method"),
        (CIRCLES | {"plan": a_plan(method="fixed", cuped=True)}, "plan.cuped"),
        (
            CIRCLES
            | {
                "plan": FIXED,
                "metrics": (
                    a_metric_use(),
                    a_metric_use("complaint", role="guardrail", mde=None, non_inferiority_margin=MARGIN),
                ),
            },
            "plan.planned_clusters",
        ),
        ({"targeting": {"country": {"$inn": []}}}, "targeting.country.$inn"),
        ({"targeting": {"branch": {"$inGroup": "nobody"}}}, "targeting.branch.$inGroup"),
        ({"targeting": []}, "targeting"),
        ({"metrics": ()}, "metrics"),
        ({"metrics": (a_metric_use(role="secondary"),)}, "metrics"),
        ({"metrics": (a_metric_use("missing"),)}, "metrics.0.metric"),
        ({"metrics": (a_metric_use(), a_metric_use(role="secondary"))}, "metrics.1.metric"),
        ({"metrics": (a_metric_use(), a_metric_use("complaint", role="goal"))}, "metrics.1.role"),
        ({"metrics": (a_metric_use(mde=Amount()),)}, "metrics.0.mde"),
        ({"metrics": (a_metric_use(mde=Amount(relative=0.1, absolute=0.1)),)}, "metrics.0.mde"),
        ({"metrics": (a_metric_use(mde=Amount(relative=0)),)}, "metrics.0.mde"),
        ({"metrics": (a_metric_use(mde=Amount(absolute=float("inf"))),)}, "metrics.0.mde"),
        ({"metrics": (a_metric_use(non_inferiority_margin=MARGIN),)}, "metrics.0.non_inferiority_margin"),
        (
            {"metrics": (a_metric_use(), a_metric_use("complaint", role="guardrail", mde=None))},
            "metrics.1.non_inferiority_margin",
        ),
        (
            {
                "metrics": (
                    a_metric_use("complaint"),
                    a_metric_use(role="guardrail", mde=None, non_inferiority_margin=Amount(relative=1)),
                )
            },
            "metrics.1.non_inferiority_margin",
        ),
        ({"dimensions": ("channel", "channel")}, "dimensions.0"),
        ({"dimensions": ("",)}, "dimensions.0"),
        ({"dimensions": tuple(map(str, range(21)))}, "dimensions"),
        ({"covariates": ("history",)}, "covariates"),
        ({"plan": a_plan(spending="pocock")}, "plan.spending"),
        ({"plan": a_plan(alpha=0)}, "plan.alpha"),
        ({"plan": a_plan(method="bayesian", minimum_units=2)}, "plan.loss_threshold"),
    ],
)
def test_a_fault_is_named_by_its_path(changes: dict[str, Any], path: str) -> None:
    assert path in faults(an_experiment(**changes))


def test_all_faults_are_named_together() -> None:
    found = faults(an_experiment(key="", name="", control="nobody", coverage=7))
    assert set(found) == {"key", "name", "control", "coverage"}


@pytest.mark.parametrize(
    ("mde", "prior", "scale"),
    [
        (Amount(relative=0.05), None, 0.05),
        (Amount(relative=0.05), Prior(scale=0.2), 0.2),
        (Amount(absolute=0.01), Prior(scale=0.2), 0.2),
        (Amount(absolute=0.01), None, None),
        (None, None, None),
    ],
)
def test_a_bayesian_plan_takes_its_scale_from_a_prior_or_the_first_relative_mde(
    mde: Amount | None, prior: Prior | None, scale: float | None
) -> None:
    plan = a_plan(method="bayesian", loss_threshold=0.001, minimum_units=100, prior=prior)
    definition = an_experiment(plan=plan, metrics=(a_metric_use(mde=mde), a_metric_use("complaint")))
    assert prior_scale(definition) == scale
    assert set(faults(definition)) == (set() if scale else {"plan.prior"})


@pytest.mark.parametrize(
    ("arms", "least"),
    [
        # The smallest arm of n units has n * weight / sum: it has 500 at 500 * sum / weight.
        (variants("control", "treatment"), 1_000),
        (variants("control", "a", "b"), 1_500),
        (variants("control", "a", "b", weight=0.1), 1_500),
        ((Variant(key="control", weight=9), Variant(key="treatment")), 5_000),
        ((Variant(key="control", weight=2), Variant(key="a", weight=0.3), Variant(key="b")), 5_500),
    ],
)
def test_a_sequential_plan_is_large_enough_for_every_arm_to_pass_its_guard(
    arms: tuple[Variant, ...], least: int
) -> None:
    def plan(method: str, units: int) -> ExperimentDefinition:
        return an_experiment(variants=arms, plan=a_plan(method=method, planned_units=units))

    assert faults(plan("sequential", least)) == {}
    (message,) = faults(plan("sequential", least - 1))["plan.planned_units"]
    assert message.startswith(f"must be at least {least}: ")
    assert repr(min(arms, key=lambda arm: arm.weight).key) in message
    # The others speak at their end whatever the arms have.
    assert faults(plan("fixed", least - 1)) == faults(plan("group_sequential", least - 1)) == {}
