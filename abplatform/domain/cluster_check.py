"""How many clusters a plan needs that watches them."""

from __future__ import annotations

import math

from abplatform.domain.checks import Faults, is_number
from abplatform.domain.experiment import ExperimentDefinition
from abplatform.stats import sequential


def check_clusters(definition: ExperimentDefinition, faults: Faults) -> None:
    """Refuse a clustered experiment that is watched without, or with too small, a planned number of clusters.

    Sequences over clusters judge sequential plans, and guardrails whatever the method. They are tuned to a number of
    clusters that is fixed before the start, and call nothing before each arm has enough of them.
    """
    planned, path = definition.plan.planned_clusters, "plan.planned_clusters"
    reason = _why_watched(definition)
    if reason is None:
        return
    if planned is None:
        faults.add(path, f"must be named: {reason}, and sequences over clusters are tuned to it before the start")
        return
    weights = {variant.key: variant.weight for variant in definition.variants}
    sound = all(is_number(each) and each > 0 for each in weights.values())
    if not sound or definition.control not in weights or not definition.treatments:
        return
    least, arm, needed = max(_needs(weights, definition.control, each) for each in definition.treatments)
    if planned < least:
        rule = f"{reason}, which calls nothing before {arm!r} has {needed} clusters"
        faults.add(path, f"must be at least {least}: {rule}, and by the weights it has them at {least}")


def _why_watched(definition: ExperimentDefinition) -> str | None:
    if definition.plan.method == "sequential":
        return "the plan is sequential"
    return "there are guardrails" if definition.uses("guardrail") else None


def _needs(weights: dict[str, float], control: str, treatment: str) -> tuple[int, str, int]:
    """Clusters of all arms from which on a treatment may be judged, its smaller arm, and how many that needs."""
    small, large = sorted((treatment, control), key=lambda key: weights[key])
    needed = int(sequential.clusters_needed(weights[large] <= sequential.MOST_UNEVEN * weights[small]))
    # Shares such as 1/3 are no exact numbers.
    return math.ceil(needed * sum(weights.values()) / weights[small] * (1 - 1e-12)), small, needed
