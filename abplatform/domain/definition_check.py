"""What makes a definition one that can be run and analysed."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from abplatform.assignment import check_condition
from abplatform.domain.checks import Faults, is_number, printable, storable
from abplatform.domain.cluster_check import check_clusters
from abplatform.domain.dimension import split_version
from abplatform.domain.experiment import ROLES, Amount, Experiment, ExperimentDefinition, MetricUse, prior_scale
from abplatform.domain.metric import Metric
from abplatform.domain.plan import LEAST_SCALE, MOST_SCALE, check_plan
from abplatform.domain.prerequisites import check_prerequisites
from abplatform.stats import sequential

MOST_VARIANTS = 20
MOST_METRICS = 100
MOST_NAMES = 20
LONGEST_PAYLOAD = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """What a project holds that a definition may name.

    Attributes:
        unit_type: the type of the ids that calls and events give as ``unit_id``.
        metrics: by key.
        layers: the unit type of each shared layer, by key.
        segments: keys of the segments; targeting names them as groups.
        experiments: all others, and this one as it is stored, by key.
        behaviours: the newest version of each, by key.
    """

    unit_type: str
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    layers: Mapping[str, str] = field(default_factory=dict)
    segments: Collection[str] = ()
    experiments: Mapping[str, Experiment] = field(default_factory=dict)
    behaviours: Mapping[str, int] = field(default_factory=dict)


def check_definition(definition: ExperimentDefinition, catalogue: Catalogue) -> None:
    """Refuse a definition that could not run as it says, or that asks for what does not exist yet.

    Args:
        definition: what the author wrote.
        catalogue: what it may name.

    Raises:
        InvalidInput: naming each field by its path.
    """
    faults = Faults()
    faults.key(definition.key, "key")
    _check_words(definition, faults)
    _check_variants(definition, faults)
    _check_enrolment(definition, faults)
    _check_units(definition, catalogue.unit_type, faults)
    _check_layer(definition, catalogue.layers, faults)
    _check_targeting(definition, catalogue.segments, faults)
    check_prerequisites(definition, catalogue.experiments, faults)
    _check_metrics(definition, catalogue.metrics, faults)
    _check_names(definition, faults)
    _check_versions(definition.dimensions, catalogue.behaviours, faults)
    check_plan(definition.plan, faults)
    if definition.clustered:
        check_clusters(definition, faults)
    else:
        no_clusters = definition.plan.planned_clusters is None
        faults.check(no_clusters, "plan.planned_clusters", "belongs to clustered experiments only; must be null")
        _check_arms(definition, faults)
    faults.raise_any()


def check_words(definition: ExperimentDefinition) -> None:
    """Refuse texts for people that could not be stored: all that can still be edited after the start.

    Raises:
        InvalidInput: naming ``name`` or ``hypothesis``.
    """
    faults = Faults()
    _check_words(definition, faults)
    faults.raise_any()


def _check_words(definition: ExperimentDefinition, faults: Faults) -> None:
    faults.text(definition.name, "name", most=200, least=1)
    faults.text(definition.hypothesis, "hypothesis")


def _check_variants(definition: ExperimentDefinition, faults: Faults) -> None:
    variants = definition.variants
    faults.check(2 <= len(variants) <= MOST_VARIANTS, "variants", f"must be 2 to {MOST_VARIANTS} variants")
    seen = Counter(variant.key for variant in variants)
    for index, variant in enumerate(variants[:MOST_VARIANTS]):
        path = f"variants.{index}"
        faults.check(
            0 < len(variant.key) <= 64 and printable(variant.key),
            f"{path}.key",
            "must be 1 to 64 printable characters",
        )
        faults.check(seen[variant.key] == 1, f"{path}.key", f"{variant.key!r} stands here more than once")
        faults.check(
            is_number(variant.weight) and 1e-6 <= variant.weight <= 1e9,
            f"{path}.weight",
            "must be a number from 0.000001 to 1000000000",
        )
        _check_payload(variant.payload, f"{path}.payload", faults)
    if definition.control not in seen:
        hint = faults.suggest(definition.control, seen)
        faults.add("control", f"must be the key of one of the variants{hint}")


def _check_payload(payload: object, path: str, faults: Faults) -> None:
    try:
        text = json.dumps(payload, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        faults.add(path, "must be a JSON value: finite numbers, no deep nesting")
        return
    faults.check(len(text) <= LONGEST_PAYLOAD, path, f"must be at most {LONGEST_PAYLOAD} characters of JSON")
    faults.check(storable(text) and "\\u0000" not in text, path, "must be valid text without NUL")


def _check_enrolment(definition: ExperimentDefinition, faults: Faults) -> None:
    faults.check(definition.assignment in {"served", "external"}, "assignment", "must be served or external")
    faults.check(definition.risk_class in {"standard", "regulated"}, "risk_class", "must be standard or regulated")
    faults.check(
        is_number(definition.coverage) and 1e-6 <= definition.coverage <= 1,
        "coverage",
        "must be a number from 0.000001 to 1",
    )
    if definition.assignment == "external":
        faults.check(definition.layer is None, "layer", "belongs to served experiments only; must be null")
        faults.check(not definition.prerequisites, "prerequisites", "belong to served experiments only; must be empty")


def _check_units(definition: ExperimentDefinition, default: str, faults: Faults) -> None:
    """Check what is randomised and what is counted.

    Served clusters are counted by their members, whose ids are those that every event gives: no other type can be
    inside of them.
    """
    faults.unit_type(definition.unit_type, "unit_type")
    if definition.analysis_unit is not None:
        faults.unit_type(definition.analysis_unit, "analysis_unit")
    if not definition.clustered:
        return
    faults.check(definition.unit_type != default, "unit_type", "must not be the type of the units inside")
    if definition.assignment != "external":
        rule = f"must be null, {definition.unit_type} or {default}: only those can be counted"
        faults.check(definition.analysis_unit == default, "analysis_unit", rule)
    faults.check(not definition.plan.cuped, "plan.cuped", "is not supported for clusters yet; must be false")
    staged = definition.plan.method == "group_sequential"
    rule = "group_sequential plans for clusters are not supported yet; use sequential or fixed"
    faults.check(not staged, "plan.method", rule)


def _check_layer(definition: ExperimentDefinition, layers: Mapping[str, str], faults: Faults) -> None:
    layer, unit_type = definition.layer, definition.unit_type
    if layer is None:
        return
    if layer not in layers:
        faults.add("layer", f"there is no layer {layer!r}{faults.suggest(layer, layers) or '; create it first'}")
    else:
        randomised = layers[layer]
        same = unit_type == randomised
        faults.check(same, "unit_type", f"must be {randomised!r}: that is what the layer {layer!r} randomises")


def _check_targeting(definition: ExperimentDefinition, segments: Collection[str], faults: Faults) -> None:
    for path, messages in check_condition(definition.targeting, segments).items():
        for message in messages:
            faults.add(f"targeting.{path}" if path else "targeting", message)


def _check_metrics(definition: ExperimentDefinition, metrics: Mapping[str, Metric], faults: Faults) -> None:
    faults.check(len(definition.metrics) <= MOST_METRICS, "metrics", f"must be at most {MOST_METRICS}")
    faults.check(bool(definition.uses("primary")), "metrics", "must have at least one with the role primary")
    seen = Counter(use.metric for use in definition.metrics)
    for index, use in enumerate(definition.metrics[:MOST_METRICS]):
        path = f"metrics.{index}"
        if use.metric not in metrics:
            hint = faults.suggest(use.metric, metrics) or "; create it first"
            faults.add(f"{path}.metric", f"there is no metric {use.metric!r}{hint}")
        faults.check(seen[use.metric] == 1, f"{path}.metric", f"{use.metric!r} stands here more than once")
        faults.check(use.role in ROLES, f"{path}.role", f"must be one of {', '.join(ROLES)}")
        if definition.clustered:
            _check_clustered(metrics.get(use.metric), f"{path}.metric", faults)
        _check_outcome(metrics.get(use.metric), seen, f"{path}.metric", faults)
        _check_amount(use.mde, f"{path}.mde", faults)
        _check_margin(use, metrics.get(use.metric), f"{path}.non_inferiority_margin", faults)
    if definition.plan.method == "bayesian" and definition.plan.prior is None:
        scale = prior_scale(definition)
        faults.check(
            scale is not None and is_number(scale) and LEAST_SCALE <= scale <= MOST_SCALE,
            "plan.prior",
            f"must be named, unless the first primary metric has a relative mde from {LEAST_SCALE} to {MOST_SCALE}",
        )


def _check_outcome(metric: Metric | None, used: Collection[str], path: str, faults: Faults) -> None:
    """An early sign alone would stand for something that nobody looks at."""
    if metric is not None and metric.outcome is not None:
        rule = f"is an early sign of {metric.outcome!r}, which must be among the metrics too, in whatever role"
        faults.check(metric.outcome in used, path, rule)


def _check_clustered(metric: Metric | None, path: str, faults: Faults) -> None:
    """Times without a window end for each unit at another age: their variance is known for single units only."""
    endless = metric is not None and metric.kind == "time_to" and metric.window is None
    faults.check(
        not endless, path, "is a time_to metric without a window, not supported for clusters yet; give it a window"
    )


def _check_margin(use: MetricUse, metric: Metric | None, path: str, faults: Faults) -> None:
    if use.role == "guardrail":
        faults.check(use.non_inferiority_margin is not None, path, "a guardrail must have a margin")
    else:
        faults.check(use.non_inferiority_margin is None, path, "belongs to guardrails only")
    _check_amount(use.non_inferiority_margin, path, faults)
    margin = use.non_inferiority_margin
    if margin is None or metric is None:
        return
    if margin.relative is not None and metric.direction == "increase":
        faults.check(margin.relative < 1, path, "must be below 1: a fall by 100% would be accepted")
    if margin.absolute is not None and metric.is_rate:
        faults.check(margin.absolute < 1, path, "must be below 1: rates never differ by more")


def _check_amount(amount: Amount | None, path: str, faults: Faults) -> None:
    if amount is None:
        return
    given = [value for value in (amount.relative, amount.absolute) if value is not None]
    if faults.check(len(given) == 1, path, "must have either relative or absolute"):
        faults.check(is_number(given[0]) and 1e-9 <= given[0] <= 1e12, path, "must be from 0.000000001 to 10^12")


def _check_arms(definition: ExperimentDefinition, faults: Faults) -> None:
    """Refuse a plan that could not speak of efficacy when all its units are in, since an arm would be too small."""
    weights = [variant.weight for variant in definition.variants]
    if definition.plan.method != "sequential" or not all(is_number(weight) and weight > 0 for weight in weights):
        return
    # Shares such as 1/3 are no exact numbers.
    least = math.ceil(sequential.MIN_UNITS * sum(weights) / min(weights, default=1) * (1 - 1e-12))
    smallest = min(definition.variants, key=lambda variant: variant.weight, default=None)
    if smallest is not None and definition.plan.planned_units < least:
        rule = f"a sequential plan calls nothing better or worse before every arm has {sequential.MIN_UNITS} units"
        small = f"by the weights {smallest.key!r}, the smallest, has them at {least}"
        faults.add("plan.planned_units", f"must be at least {least}: {rule}, and {small}")


def _check_names(definition: ExperimentDefinition, faults: Faults) -> None:
    for field_name in ("dimensions", "covariates"):
        names: tuple[str, ...] = getattr(definition, field_name)
        faults.check(len(names) <= MOST_NAMES, field_name, f"must be at most {MOST_NAMES} names")
        for index, name in enumerate(names[:MOST_NAMES]):
            good = 0 < len(name) <= 64 and printable(name) and names.count(name) == 1
            faults.check(good, f"{field_name}.{index}", "must be 1 to 64 printable characters, and stand here once")
    if definition.assignment != "external":
        faults.check(not definition.covariates, "covariates", "are not supported yet for served experiments")


def _check_versions(dimensions: Sequence[str], behaviours: Mapping[str, int], faults: Faults) -> None:
    """Where there is no such behaviour, a name that looks like a version is that of an attribute."""
    for index, name in enumerate(dimensions[:MOST_NAMES]):
        key, version = split_version(name)
        if version is not None and key in behaviours:
            rule = f"there is no version {version} of the behaviour {key!r}; the newest is {behaviours[key]}"
            faults.check(1 <= version <= behaviours[key], f"dimensions.{index}", rule)
