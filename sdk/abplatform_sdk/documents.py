"""Snapshot documents for tests: defaults, plus what matters to the test."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, TypedDict, Unpack

from ._assignment import BUCKETS, HASH_VERSION, SCHEMA_VERSION, coverage_slots, decode_snapshot, variant_ranges

Document = dict[str, Any]


class RuleFields(TypedDict, total=False):
    """Fields of an experiment in a snapshot document that tests seldom need."""

    status: str
    phase: int
    unit_type: str
    shipped: str | None
    prerequisites: list[dict[str, Any]]
    holdouts: list[str]
    forced: dict[str, Any]


def make_experiment(
    key: str,
    *,
    variants: Mapping[str, Any] | Iterable[str] = ("control", "treatment"),
    control: str | None = None,
    weights: Mapping[str, float] | None = None,
    targeting: Mapping[str, Any] | None = None,
    coverage: float = 1.0,
    dimensions: Iterable[str] = (),
    **fields: Unpack[RuleFields],
) -> Document:
    """One experiment for `testing.snapshot`: running, on everybody, equal weights. Its draws are the same in every run.

    Args:
        key: of the experiment.
        variants: payloads by variant key, or the keys alone.
        control: key of the control; the first variant if absent.
        weights: by variant key; 1 where absent.
        targeting: a condition.
        coverage: share of the units that is in, 0 to 1.
        dimensions: names of the attributes that go with an exposure.
        fields: ``status``, ``phase``, ``unit_type``, ``shipped``, ``prerequisites``, ``holdouts``, ``forced``.

    Raises:
        TypeError: an unknown field.
        ValueError: weights or coverage out of range.
    """
    if unknown := set(fields) - set(RuleFields.__annotations__):
        raise TypeError(f"experiment() got an unexpected field {min(unknown)!r}")
    payloads = dict(variants) if isinstance(variants, Mapping) else dict.fromkeys(variants)
    ranges = variant_ranges([(weights or {}).get(name, 1) for name in payloads])
    phase = fields.get("phase", 1)
    rule: Document = {
        "status": "running",
        "hash_version": HASH_VERSION,
        "unit_type": "user_id",
        "phase": phase,
        "salt": f"{key}/phase {phase}",
        "layer": {"salt": f"{key}/layer", "slots": [list(slot) for slot in coverage_slots(coverage)]},
        "targeting": dict(targeting or {}),
        "variants": [
            {"key": name, "range": list(bounds), "payload": payload}
            for (name, payload), bounds in zip(payloads.items(), ranges, strict=True)
        ],
        "control": control if control is not None else next(iter(payloads)),
        "shipped": None,
        "dimensions": list(dimensions),
    }
    return {key: rule | fields}


def make_snapshot(
    *experiments: Document,
    version: int = 1,
    unit_type: str = "user_id",
    groups: Mapping[str, Any] | None = None,
    holdouts: Mapping[str, Any] | None = None,
) -> Document:
    """A snapshot document of experiments made by `make_experiment`.

    Raises:
        ValueError: two experiments of one key.
    """
    rules: Document = {}
    for each in experiments:
        if twice := rules.keys() & each.keys():
            raise ValueError(f"experiments.{min(twice)}: appears twice")
        rules |= each
    document: Document = {
        "schema_version": SCHEMA_VERSION,
        "version": version,
        "project": "test",
        "unit_type": unit_type,
        "experiments": rules,
    }
    extras = {"groups": groups, "holdouts": holdouts}
    return document | {name: dict(value) for name, value in extras.items() if value}


class Scene:
    """A snapshot document in which variants are chosen, for every unit or for one.

    Args:
        document: what there is without any choice.

    Raises:
        ValueError: it is not a snapshot; the message names the field.
    """

    def __init__(self, document: Document) -> None:
        decode_snapshot(document)
        self._document = document
        self._chosen: dict[str | None, Document] = {None: {}}
        self._changes = 0

    def choose(self, experiment: str, variant: str | None, unit_id: str | None, *payload: Any) -> None:
        """Choose the variant of a unit (None: every unit), and its payload; no variant lifts the choice.

        Raises:
            ValueError: the experiment has no such variant, or the payload is not JSON.
        """
        rules = {key: rule for key, rule in self._chosen.get(unit_id, {}).items() if key != experiment}
        if variant is not None:
            rules[experiment] = self._rule(experiment, variant, *payload)
        decode_snapshot(self._document | {"experiments": rules})
        self._chosen[unit_id] = rules
        self._changes += 1

    def units(self) -> list[str]:
        """The units that have choices of their own."""
        return [unit for unit, rules in self._chosen.items() if unit is not None and rules]

    def document(self, unit_id: str | None) -> Document:
        """What a unit is decided from: prerequisites see what was chosen, too."""
        rules = self._document["experiments"] | self._chosen[None] | self._chosen.get(unit_id, {})
        # Only a greater version is a change.
        return self._document | {"version": self._document["version"] + self._changes, "experiments": rules}

    def _rule(self, key: str, variant: str, *payload: Any) -> Document:
        rule = self._document["experiments"].get(key)
        if rule is None:
            rule = make_experiment(key, variants=dict.fromkeys(["control", variant]))[key]
        rule = give_to_all(rule, variant)
        for value in payload:
            chosen = (each | {"payload": value} if each["key"] == variant else each for each in rule["variants"])
            rule["variants"] = list(chosen)
        return rule


def give_to_all(rule: Document, variant: str) -> Document:
    """The rule with every unit drawn into one of its variants, whatever else it says.

    Raises:
        ValueError: it has no such variant.
    """
    keys = [each["key"] for each in rule["variants"]]
    if variant not in keys:
        raise ValueError(f"variant: must be one of {', '.join(map(repr, keys))}, not {variant!r}")
    at = keys.index(variant)
    whole = [[0, 0]] * at + [[0, BUCKETS]] + [[BUCKETS, BUCKETS]] * (len(keys) - at - 1)
    conditions = ("targeting", "shipped", "forced", "holdouts", "prerequisites")
    return {name: value for name, value in rule.items() if name not in conditions} | {
        "status": "running",
        "layer": rule["layer"] | {"slots": [[0, BUCKETS]]},
        "variants": [each | {"range": bounds} for each, bounds in zip(rule["variants"], whole, strict=True)],
    }


def read_document(snapshot: bytes | Mapping[str, Any] | str | PathLike[str] | None) -> Document:
    """A snapshot document: given, as bytes, or in a file (text is its path); an empty one for None.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not a snapshot; the message names the field.
    """
    if snapshot is None:
        return make_snapshot()
    if isinstance(snapshot, Mapping):
        return dict(snapshot)
    content = snapshot if isinstance(snapshot, bytes) else Path(snapshot).read_bytes()
    decode_snapshot(content)
    document: Document = json.loads(content)
    return document
