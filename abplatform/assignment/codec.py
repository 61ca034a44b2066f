"""Snapshots as JSON documents: strict reading, canonical writing.

Readers ignore fields that they do not know, so that additions do not break older ones. What would change an
assignment is never ignored: an experiment that uses it evaluates to ``ERROR``, the others go on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Any, NoReturn

from .fields import Fields
from .groups import decode_group
from .model import Decider, ExperimentRule, Snapshot, UnsupportedRule
from .prerequisites import check_prerequisites
from .rules import Surroundings, decode_holdout, decode_rule, refuse_rule
from .values import is_json

SCHEMA_VERSION = 1


def decode_snapshot(document: bytes | str | Mapping[str, object]) -> Snapshot:
    """Read a snapshot: JSON as UTF-8 bytes or as text, or a document that is already parsed.

    An experiment that needs a newer evaluator (another ``hash_version``, an unknown ``status``, anything in
    ``requires``), or whose prerequisites cannot be evaluated, becomes an ``UnsupportedRule`` and evaluates to
    ``ERROR``.

    Raises:
        ValueError: the document is not strict JSON, has another schema version, or a field is missing or
            malformed; the message begins with the field: ``experiments.rate-display.variants.0.range: ...``.
    """
    fields = Fields(document if isinstance(document, Mapping) else _parse(document), "")
    schema_version = fields.integer("schema_version")
    if schema_version != SCHEMA_VERSION:
        raise ValueError(f"schema_version: {schema_version} is not supported, {SCHEMA_VERSION} is")
    return Snapshot(
        schema_version=schema_version,
        version=fields.integer("version"),
        project=fields.text("project"),
        unit_type=fields.text("unit_type"),
        experiments=_decode_experiments(fields),
    )


def encode_snapshot(document: Mapping[str, object]) -> bytes:
    """Write a snapshot document canonically: keys sorted, no spaces, UTF-8. Equal documents give equal bytes.

    Raises:
        ValueError: ``document`` holds what strict JSON cannot say.
    """
    try:
        # Asked first, since json.dumps would turn other keys into strings, and so two of them into one.
        if is_json(document):
            return json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"document: cannot be written as JSON ({error})") from error
    raise ValueError("document: holds a value, a key or a number that JSON does not have")


def _decode_experiments(fields: Fields) -> dict[str, ExperimentRule | UnsupportedRule]:
    deciders: dict[str, Decider] = {}
    around = Surroundings(
        unit_type=fields.text("unit_type"),
        groups={key: decode_group(group) for key, group in _members(fields, "groups")},
        holdouts={key: decode_holdout(key, holdout) for key, holdout in _members(fields, "holdouts")},
        deciders=deciders,
        conditions={},
    )
    rules = {key: decode_rule(key, rule, around) for key, rule in fields.object("experiments").members()}
    needs = {key: _needs(rule) for key, rule in rules.items()}
    for key, problem in check_prerequisites(needs).items():
        rules[key] = refuse_rule(key, rules[key].unit_type, around, f"experiments.{key}.prerequisites: {problem}")
    deciders |= {key: rule.decide for key, rule in rules.items()}
    return rules


def _members(fields: Fields, name: str) -> Iterator[tuple[str, Fields]]:
    return fields.object(name).members() if fields.value(name) else iter(())


def _needs(rule: ExperimentRule | UnsupportedRule) -> list[str]:
    return [] if isinstance(rule, UnsupportedRule) else [needed.experiment for needed in rule.prerequisites]


def _parse(document: bytes | str) -> object:
    try:
        text = document if isinstance(document, str) else str(document, "utf-8")
        return json.loads(
            text,
            object_pairs_hook=_distinct,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"document: is not valid JSON ({error})") from error


def _distinct(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"key {key!r} appears twice")
        values[key] = value
    return values


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"number {text} is out of range")
    return number
