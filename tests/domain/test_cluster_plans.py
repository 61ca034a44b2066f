"""Plans that watch clusters: how many of them they need, and what is counted before anything is said."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from abplatform.domain.arm_cell import ArmCell, Watch
from abplatform.domain.arms import Comparand
from abplatform.domain.definition_check import Catalogue, check_definition
from abplatform.domain.experiment import Amount, ExperimentDefinition, Variant
from abplatform.domain.guardrails import GuardrailCell, judge_guardrail, planned_pair_units
from abplatform.domain.scorecard import ComparisonResult
from abplatform.domain.scoring import score_metrics
from tests.builders import a_metric, a_metric_use, a_plan, an_experiment
from tests.domain.aggregations import an_aggregation
from tests.domain.refusals import faults_of

METRICS = {key: a_metric(key) for key in ("purchase", "complaint")}
CATALOGUE = Catalogue(unit_type="user_id", metrics=METRICS)
GUARDRAIL = a_metric_use("complaint", role="guardrail", mde=None, non_inferiority_margin=Amount(absolute=0.1))
MEMBERS = 4


def circles(plan: dict[str, Any], *weights: float, **changes: Any) -> ExperimentDefinition:
    """An experiment on referral circles; the first weight is that of the control."""
    keys = ("control", "a", "b")
    arms = tuple(Variant(key=key, weight=weight) for key, weight in zip(keys, weights or (1, 1), strict=False))
    return an_experiment(
        variants=arms, unit_type="referral_circle", analysis_unit="user_id", plan=a_plan(**plan), **changes
    )


def faults(definition: ExperimentDefinition) -> dict[str, list[str]]:
    return faults_of(lambda: check_definition(definition, CATALOGUE))


@pytest.mark.parametrize(
    ("weights", "least", "arm"),
    [
        # 200 in each where no pair is more uneven than 5 to 2, else 500: of all arms 200 or 500 * sum / weight.
        ((1, 1), 400, "a"),
        ((2, 5), 700, "control"),
        ((1, 1, 1), 600, "b"),
        ((0.1, 0.1, 0.1), 600, "b"),
        ((9, 1), 5_000, "a"),
        ((4, 1, 1), 3_000, "b"),
    ],
)
def test_watched_clusters_are_planned_to_be_enough(weights: tuple[float, ...], least: int, arm: str) -> None:
    assert faults(circles({"planned_clusters": least}, *weights)) == {}
    (message,) = faults(circles({"planned_clusters": least - 1}, *weights))["plan.planned_clusters"]
    assert message.startswith(f"must be at least {least}: the plan is sequential")
    assert repr(arm) in message


@pytest.mark.parametrize("method", ["fixed", "bayesian"])
def test_guardrails_of_clusters_need_a_planned_number_under_every_method(method: str) -> None:
    own = {"loss_threshold": 0.01, "minimum_units": 100} if method == "bayesian" else {}
    plan = {"method": method, **own}
    assert faults(circles(plan)) == {}
    (message,) = faults(circles(plan, metrics=(a_metric_use(), GUARDRAIL)))["plan.planned_clusters"]
    assert message.startswith("must be named: there are guardrails")
    assert faults(circles(plan | {"planned_clusters": 400}, metrics=(a_metric_use(), GUARDRAIL))) == {}


def test_weights_and_controls_that_are_wrong_are_named_themselves() -> None:
    assert set(faults(replace(circles({"planned_clusters": 2}), control="nobody"))) == {"control"}
    assert set(faults(circles({"planned_clusters": 2}, 1, 0))) == {"variants.1.weight"}
    assert set(faults(circles({"planned_clusters": 2}, 1))) == {"variants"}


def test_sequences_are_tuned_to_the_clusters_of_a_pair() -> None:
    definition = circles({"planned_units": 90_000, "planned_clusters": 6_000}, 1, 1, 2)
    assert planned_pair_units(definition).tolist() == [3_000, 4_500]


def a_cell(variant: str, clusters: int, converting: int, *, name: str = "purchase", **changes: Any) -> ArmCell:
    """Clusters of four of which so many have one member that converts, and the others none."""
    y = np.repeat([1.0, 0.0], [converting, clusters - converting])
    units = MEMBERS * clusters
    rate = converting / units
    return ArmCell(
        name=name,
        variant=variant,
        units=units,
        open_units=0,
        nonzero=converting,
        total=Decimal(converting),
        mean=rate,
        m2=units * rate * (1 - rate),
        clusters=clusters,
        cluster_mean_y=float(y.mean()),
        cluster_mean_d=float(MEMBERS),
        cluster_m2_y=float(y.var() * clusters),
        cluster_m2_d=0.0,
        cluster_c_yd=0.0,
        cluster_nonzero=converting,
        cluster_short=clusters,
        **changes,
    )


def compared(control: ArmCell, treatment: ArmCell) -> ComparisonResult:
    definition = circles({"planned_units": 4_000, "planned_clusters": 1_000})
    cells = an_aggregation(control, replace(treatment, variant="a"))
    (result,) = score_metrics(definition, [METRICS["purchase"]], cells, method="sequential")
    (comparison,) = result.comparisons
    return comparison


def test_clusters_and_not_their_members_pass_the_guard() -> None:
    few = compared(a_cell("control", 199, 50), a_cell("a", 199, 150))
    assert (few.verdict, few.warnings) == ("inconclusive", ("TOO_FEW_CLUSTERS",))
    assert few.p_value is not None
    assert few.p_value < 1e-6
    enough = compared(a_cell("control", 200, 50), a_cell("a", 200, 150))
    assert (enough.verdict, enough.warnings) == ("better", ())
    rare = compared(a_cell("control", 400, 49), a_cell("a", 400, 300))
    assert rare.warnings == ("TOO_FEW_NONZERO_CLUSTERS",)
    # All members of nearly all circles converted: those with one that did not are the rarer ones.
    usual = compared(replace(a_cell("control", 400, 100), cluster_short=49), a_cell("a", 400, 300))
    assert usual.warnings == ("TOO_FEW_NONZERO_CLUSTERS",)


def judged(control: ArmCell, treatment: ArmCell) -> GuardrailCell:
    metric = a_metric("complaint", direction="decrease")
    row = Comparand(use=GUARDRAIL, metric=metric, control=control, treatments=(treatment,))
    (found,) = judge_guardrail(circles({"planned_clusters": 1_000}, metrics=(a_metric_use(), GUARDRAIL)), row, None)
    return found


def test_a_guardrail_of_clusters_is_safe_or_harmed_by_its_clusters() -> None:
    safe = judged(a_cell("control", 400, 200), a_cell("a", 400, 200))
    assert (safe.non_inferior, safe.harmful, safe.block) == (True, False, None)
    harmed = judged(a_cell("control", 400, 60), a_cell("a", 400, 300))
    assert (harmed.non_inferior, harmed.harmful) == (False, True)
    early = judged(a_cell("control", 150, 20), a_cell("a", 150, 140))
    assert (early.non_inferior, early.harmful, early.block) == (False, False, "TOO_FEW_CLUSTERS")


def test_harm_of_clusters_shows_before_windows_close() -> None:
    def open_cell(variant: str, converting: int) -> ArmCell:
        now = a_cell(variant, 400, converting)
        names = [name for name in Watch.__dataclass_fields__ if name != "units"]
        return a_cell(variant, 10, 5, watch=Watch(units=now.units, **{name: getattr(now, name) for name in names}))

    found = judged(open_cell("control", 60), open_cell("a", 300))
    assert (found.non_inferior, found.harmful, found.block) == (False, True, "TOO_FEW_CLUSTERS")
    assert not judged(open_cell("control", 60), open_cell("a", 70)).harmful
