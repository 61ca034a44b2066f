"""One experiment of a snapshot document, checked and prepared for evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .deciders import build_decider, build_refusal
from .fields import Fields
from .groups import Group
from .hashing import BUCKETS, HASH_VERSION, decode_digest, salt_prefix
from .layers import prepare_draws
from .model import (
    Decider,
    Draws,
    ExperimentRule,
    Forced,
    HoldoutRule,
    Prerequisite,
    UnsupportedRule,
    VariantRule,
)
from .targeting import Condition, compile_condition, named_paths

STATUSES = ("running", "paused", "closed", "stopped")


class Surroundings(NamedTuple):
    """What a rule refers to outside itself.

    ``deciders`` may still be filled after the rule is built; ``conditions`` are those compiled so far, by their text.
    """

    unit_type: str
    groups: Mapping[str, Group]
    holdouts: Mapping[str, HoldoutRule]
    deciders: Mapping[str, Decider]
    conditions: dict[str, Condition]


def decode_rule(key: str, fields: Fields, around: Surroundings) -> ExperimentRule | UnsupportedRule:
    """Read the rule of one experiment; a ValueError names the field that is missing or malformed."""
    unsupported = _find_unsupported(fields)
    if unsupported is not None:
        unit_type = fields.value("unit_type")
        return refuse_rule(key, unit_type if isinstance(unit_type, str) else around.unit_type, around, unsupported)
    variants = _decode_variants(fields)
    condition = _decode_condition(fields)
    rule = ExperimentRule(
        key=key,
        status=fields.text("status"),
        unit_type=fields.text("unit_type"),
        phase=fields.integer("phase", 1),
        salt=fields.text("salt"),
        variants=variants,
        control=_variant_key(fields, "control", variants),
        shipped=None if fields.value("shipped") is None else _variant_key(fields, "shipped", variants),
        dimensions=_decode_dimensions(fields),
        targeting=_compile_once(condition, around) if condition else None,
        paths=named_paths(condition),
        forced=_decode_forced(fields, variants),
        holdouts=_decode_holdouts(fields, around.holdouts),
        prerequisites=_decode_prerequisites(fields),
        draws=_decode_draws(fields, variants),
        decide=build_refusal(key, "", ""),
    )
    return rule._replace(decide=build_decider(rule, around.unit_type, around.deciders))


def refuse_rule(key: str, unit_type: str, around: Surroundings, error: str) -> UnsupportedRule:
    """Return the rule of an experiment that cannot be honoured; ``error`` names the field."""
    return UnsupportedRule(key, unit_type, error, build_refusal(key, unit_type, around.unit_type))


def decode_holdout(key: str, fields: Fields) -> HoldoutRule:
    """Read a holdout; a ValueError names the field that is missing or malformed."""
    low, high = _range(fields.value("range"), fields.path("range"))
    return HoldoutRule(key, fields.text("unit_type"), salt_prefix(fields.text("salt")), low, high)


def _find_unsupported(fields: Fields) -> str | None:
    """Name the first field that this evaluator must not ignore and cannot honour."""
    if fields.integer("hash_version") != HASH_VERSION:
        return f"{fields.path('hash_version')}: only {HASH_VERSION} is supported"
    if fields.text("status") not in STATUSES:
        return f"{fields.path('status')}: only {', '.join(STATUSES)} are supported"
    return f"{fields.path('requires')}: needs a newer evaluator" if fields.value("requires") else None


def _decode_variants(fields: Fields) -> tuple[VariantRule, ...]:
    variants: list[VariantRule] = []
    end = 0
    for item in fields.objects("variants"):
        low, high = _range(item.value("range"), item.path("range"))
        if low != end:
            raise ValueError(f"{item.path('range')}: must begin at {end}, where the one before ends")
        key = item.text("key")
        if any(key == variant.key for variant in variants):
            raise ValueError(f"{item.path('key')}: appears twice")
        variants.append(VariantRule(key, low, high, item.value("payload")))
        end = high
    if end != BUCKETS:
        raise ValueError(f"{fields.path('variants')}: ranges must end at {BUCKETS}")
    return tuple(variants)


def _variant_key(fields: Fields, name: str, variants: tuple[VariantRule, ...]) -> str:
    key = fields.text(name)
    if all(key != variant.key for variant in variants):
        raise ValueError(f"{fields.path(name)}: names no variant")
    return key


def _decode_dimensions(fields: Fields) -> tuple[str, ...]:
    names = () if fields.value("dimensions") is None else fields.array("dimensions")
    if not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"{fields.path('dimensions')}: must be an array of names")
    return tuple(names)


def _decode_condition(fields: Fields) -> Mapping[str, object]:
    condition = fields.value("targeting")
    if condition is None:
        return {}
    if not isinstance(condition, Mapping):
        raise ValueError(f"{fields.path('targeting')}: must be an object")
    return condition


def _compile_once(condition: Mapping[str, object], around: Surroundings) -> Condition:
    """Compile a condition that other experiments of the snapshot may have too."""
    # As Python writes it: JSON would turn other keys into strings, and so two conditions into one.
    try:
        text = repr(condition)
    except RecursionError:
        return compile_condition(condition, around.groups)
    if text not in around.conditions:
        around.conditions[text] = compile_condition(condition, around.groups)
    return around.conditions[text]


def _decode_forced(fields: Fields, variants: tuple[VariantRule, ...]) -> Forced | None:
    if not fields.value("forced"):
        return None
    forced = fields.object("forced")
    units = forced.object("units")
    places = {variant.key: place for place, variant in enumerate(variants)}
    positions: dict[bytes, int] = {}
    for digest, variant in units.items():
        if not isinstance(variant, str) or variant not in places:
            raise ValueError(f"{units.path(digest)}: names no variant")
        positions[decode_digest(digest, units.path(digest))] = places[variant]
    return Forced(salt_prefix(forced.text("salt")), positions) if positions else None


def _decode_holdouts(fields: Fields, holdouts: Mapping[str, HoldoutRule]) -> tuple[HoldoutRule, ...]:
    found: list[HoldoutRule] = []
    for place, key in enumerate(fields.array("holdouts") if fields.value("holdouts") else ()):
        holdout = holdouts.get(key) if isinstance(key, str) else None
        if holdout is None:
            raise ValueError(f"{fields.path('holdouts')}.{place}: names no holdout of the snapshot")
        if holdout.unit_type != fields.value("unit_type"):
            raise ValueError(f"{fields.path('holdouts')}.{place}: holds out another type of units")
        found.append(holdout)
    return tuple(found)


def _decode_prerequisites(fields: Fields) -> tuple[Prerequisite, ...]:
    if not fields.value("prerequisites"):
        return ()
    found: list[Prerequisite] = []
    for item in fields.objects("prerequisites"):
        variants = item.array("variants")
        if not variants or not all(isinstance(key, str) for key in variants):
            raise ValueError(f"{item.path('variants')}: must be keys of variants")
        found.append(Prerequisite(item.text("experiment"), frozenset(variants)))
    return tuple(found)


def _decode_draws(fields: Fields, variants: tuple[VariantRule, ...]) -> Draws:
    layer = fields.object("layer")
    slots = tuple(_range(slot, f"{layer.path('slots')}.{i}") for i, slot in enumerate(layer.array("slots")))
    ranges = tuple((variant.low, variant.high) for variant in variants)
    return prepare_draws(layer.text("salt"), slots, fields.text("salt"), ranges)


def _range(value: object, path: str) -> tuple[int, int]:
    if isinstance(value, (list, tuple)) and len(value) == 2 and all(type(end) is int for end in value):
        low, high = value
        if 0 <= low <= high <= BUCKETS:
            return low, high
    raise ValueError(f"{path}: must be two integers [low, high] with 0 <= low <= high <= {BUCKETS}")
