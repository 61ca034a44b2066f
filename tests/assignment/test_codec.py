from __future__ import annotations

import json
import re
from typing import Any

import pytest

from abplatform.assignment import (
    ExperimentRule,
    Reason,
    UnsupportedRule,
    decode_snapshot,
    encode_snapshot,
    evaluate,
)
from tests.assignment.documents import a_rule, a_snapshot

FIRST_RANGE = "experiments.rate-display.variants.0.range"
SECOND_RANGE = "experiments.rate-display.variants.1.range"
SLOTS = "experiments.rate-display.layer.slots"


def with_rule(**changes: Any) -> dict[str, Any]:
    return a_snapshot({"rate-display": a_rule(**changes)})


def without(document: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != name}


def variants(*ranges: Any) -> list[dict[str, Any]]:
    return [{"key": f"v{index}", "range": item, "payload": None} for index, item in enumerate(ranges)]


@pytest.mark.parametrize("form", [dict, json.dumps, lambda document: json.dumps(document).encode()])
def test_snapshot_is_read_from_a_mapping_text_or_bytes(form: Any) -> None:
    snapshot = decode_snapshot(form(a_snapshot()))
    rule = snapshot.experiments["rate-display"]
    assert (snapshot.schema_version, snapshot.version, snapshot.project, snapshot.unit_type) == (
        1,
        17,
        "default",
        "user_id",
    )
    assert isinstance(rule, ExperimentRule)
    assert (rule.key, rule.status, rule.unit_type, rule.phase, rule.salt) == (
        "rate-display", "running", "user_id", 1, "variant-salt",
    )  # fmt: skip
    assert (rule.control, rule.shipped, rule.dimensions, rule.targeting) == ("control", None, ("channel",), None)
    assert [variant.key for variant in rule.variants] == ["control", "treatment"]


def test_optional_fields_may_be_absent() -> None:
    rule = a_rule(variants=[{"key": "control", "range": [0, 1_000_000]}])
    for name in ("targeting", "shipped", "dimensions"):
        del rule[name]
    evaluation = evaluate(decode_snapshot(a_snapshot({"e": rule})), "e", "u-1")
    assert (evaluation.variant, evaluation.payload) == ("control", None)


@pytest.mark.parametrize("name", ["schema_version", "version", "project", "unit_type", "experiments"])
def test_missing_field_of_the_snapshot_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: is missing$"):
        decode_snapshot(without(a_snapshot(), name))


REQUIRED = ["status", "hash_version", "unit_type", "phase", "salt", "layer", "variants", "control"]


@pytest.mark.parametrize("name", REQUIRED)
def test_missing_field_of_an_experiment_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"^experiments.rate-display.{name}: is missing$"):
        decode_snapshot(a_snapshot({"rate-display": without(a_rule(), name)}))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (a_snapshot(schema_version=2), "schema_version: 2 is not supported, 1 is"),
        (a_snapshot(schema_version=True), "schema_version: must be an integer"),
        (a_snapshot(version=-1), "version: must be an integer of at least 0"),
        (a_snapshot(version="17"), "version: must be an integer of at least 0"),
        (a_snapshot(version=1.0), "version: must be an integer of at least 0"),
        (a_snapshot(project=""), "project: must not be empty"),
        (a_snapshot(unit_type=7), "unit_type: must be a string, not int"),
        (a_snapshot() | {"experiments": []}, "experiments: must be an object"),
        (a_snapshot({"rate-display": None}), "experiments.rate-display: must be an object"),
        (a_snapshot({"\ud800": a_rule()}), "experiments.\ud800: holds a lone surrogate"),
        (with_rule(hash_version="1"), "experiments.rate-display.hash_version: must be an integer"),
        (with_rule(status=None), "experiments.rate-display.status: must be a string, not NoneType"),
        (with_rule(phase=0), "experiments.rate-display.phase: must be an integer of at least 1"),
        (with_rule(salt=""), "experiments.rate-display.salt: must not be empty"),
        (with_rule(salt="\ud800"), "experiments.rate-display.salt: holds a lone surrogate"),
        (with_rule(targeting=[]), "experiments.rate-display.targeting: must be an object"),
        (with_rule(dimensions="channel"), "experiments.rate-display.dimensions: must be an array"),
        (with_rule(dimensions=["channel", 1]), "experiments.rate-display.dimensions: must be an array of names"),
        (with_rule(control="none"), "experiments.rate-display.control: names no variant"),
        (with_rule(shipped="none"), "experiments.rate-display.shipped: names no variant"),
        (with_rule(shipped=1), "experiments.rate-display.shipped: must be a string, not int"),
        (with_rule(layer=[]), "experiments.rate-display.layer: must be an object"),
        (with_rule(layer={"slots": []}), "experiments.rate-display.layer.salt: is missing"),
        (with_rule(layer={"salt": "x"}), "experiments.rate-display.layer.slots: is missing"),
        (with_rule(layer={"salt": "x", "slots": [[0, 5], [9, 8]]}), f"{SLOTS}.1: must be two integers"),
        (with_rule(variants={}), "experiments.rate-display.variants: must be an array"),
        (with_rule(variants=[]), "experiments.rate-display.variants: ranges must end at 1000000"),
        (with_rule(variants=["control"]), "experiments.rate-display.variants.0: must be an object"),
        (with_rule(variants=variants([0, 999_999])), "experiments.rate-display.variants: ranges must end at 1000000"),
        (with_rule(variants=variants([1, 1_000_000])), f"{FIRST_RANGE}: must begin at 0"),
        (with_rule(variants=variants([0, 5], [6, 1_000_000])), f"{SECOND_RANGE}: must begin at 5"),
        (with_rule(variants=variants([0, 1_000_001])), f"{FIRST_RANGE}: must be two integers"),
        (with_rule(variants=variants([0, 1_000_000.0])), f"{FIRST_RANGE}: must be two integers"),
        (with_rule(variants=variants([False, 1_000_000])), f"{FIRST_RANGE}: must be two integers"),
        (with_rule(variants=variants([0, 1, 2])), f"{FIRST_RANGE}: must be two integers"),
        (with_rule(variants=variants(None)), f"{FIRST_RANGE}: must be two integers"),
        (with_rule(variants=[{"key": "a", "range": [0, 5]}, {"key": "a", "range": [5, 1_000_000]}], control="a"),
         "experiments.rate-display.variants.1.key: appears twice"),
    ],
)  # fmt: skip
def test_malformed_field_is_named(document: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        decode_snapshot(document)


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "nonsense", b"\xff{}", b"\xef\xbb\xbf{}", '{"a": NaN}', '{"a": -Infinity}', '{"a": 1e999}',
        '{"a": 1, "a": 1}', '{"experiments": {"e": {"phase": 1, "phase": 2}}}', "[" * 100_000, "1" * 5_000,
        json.dumps(a_snapshot()).encode("utf-16"), None, 5,
    ],
    ids=lambda text: repr(text)[:24],
)  # fmt: skip
def test_what_is_not_strict_json_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match=r"^document: is not valid JSON \("):
        decode_snapshot(text)


@pytest.mark.parametrize("text", ["[]", "null", "17", '"{}"'])
def test_a_document_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^document: must be an object$"):
        decode_snapshot(text)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"hash_version": 2}, "hash_version"),
        ({"hash_version": 2, "salt": {"new": "shape"}, "variants": None}, "hash_version"),
        ({"status": "warming-up"}, "status"),
        ({"requires": ["a-draw-of-the-future"]}, "requires"),
        ({"prerequisites": [{"experiment": "new", "variants": ["control"]}]}, "prerequisites"),
    ],
)
def test_experiment_that_needs_a_newer_evaluator_errs_alone(changes: dict[str, Any], field: str) -> None:
    snapshot = decode_snapshot(a_snapshot({"new": a_rule(**changes), "rate-display": a_rule()}))
    rule = snapshot.experiments["new"]
    assert isinstance(rule, UnsupportedRule)
    assert rule.error.startswith(f"experiments.new.{field}: ")
    assert evaluate(snapshot, "new", "u-1").reason == Reason.ERROR
    assert evaluate(snapshot, "rate-display", "u-1").reason == Reason.ASSIGNED


DIGEST = "0" * 64


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"forced": [DIGEST]}, "forced"),
        ({"forced": {"units": {DIGEST: "treatment"}}}, "forced.salt"),
        ({"forced": {"salt": "s", "units": []}}, "forced.units"),
        ({"forced": {"salt": "s", "units": {DIGEST: "nothing of it"}}}, f"forced.units.{DIGEST}"),
        ({"forced": {"salt": "s", "units": {DIGEST: 1}}}, f"forced.units.{DIGEST}"),
        ({"forced": {"salt": "s", "units": {"qa-1": "treatment"}}}, "forced.units.qa-1"),
        ({"forced": {"salt": "s", "units": {"A" * 64: "treatment"}}}, f"forced.units.{'A' * 64}"),
        ({"holdouts": "q4"}, "holdouts"),
        ({"holdouts": ["q4", "no such"]}, "holdouts.1"),
        ({"holdouts": [["q4"]]}, "holdouts.0"),
        ({"holdouts": ["devices"]}, "holdouts.0"),
        ({"prerequisites": {"experiment": "other"}}, "prerequisites"),
        ({"prerequisites": ["other"]}, "prerequisites.0"),
        ({"prerequisites": [{"experiment": "other"}]}, "prerequisites.0.variants"),
        ({"prerequisites": [{"experiment": "other", "variants": []}]}, "prerequisites.0.variants"),
        ({"prerequisites": [{"experiment": "other", "variants": [1]}]}, "prerequisites.0.variants"),
        ({"prerequisites": [{"variants": ["control"]}]}, "prerequisites.0.experiment"),
    ],
)
def test_a_malformed_part_of_a_rule_is_named(changes: dict[str, Any], path: str) -> None:
    holdouts = {
        "q4": {"unit_type": "user_id", "salt": "s", "range": [0, 1]},
        "devices": {"unit_type": "device_id", "salt": "s", "range": [0, 1]},
    }
    with pytest.raises(ValueError, match=rf"^experiments\.e\.{re.escape(path)}: "):
        decode_snapshot(a_snapshot({"e": a_rule(**changes)}, holdouts=holdouts))


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        ({"holdouts": [1]}, "holdouts: "),
        ({"holdouts": {"q4": {"salt": "s", "range": [0, 1]}}}, "holdouts.q4.unit_type: "),
        ({"holdouts": {"q4": {"unit_type": "user_id", "range": [0, 1]}}}, "holdouts.q4.salt: "),
        ({"holdouts": {"q4": {"unit_type": "user_id", "salt": "s", "range": [1, 0]}}}, "holdouts.q4.range: "),
        ({"groups": ["staff"]}, "groups: "),
        ({"groups": {"staff": ["u-1"]}}, "groups.staff: "),
        ({"groups": {"staff": {"salt": "s", "sha256": ["u-1"]}}}, "groups.staff.sha256.0: "),
    ],
)
def test_a_malformed_holdout_or_group_is_named(parts: dict[str, Any], path: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(path)}"):
        decode_snapshot(a_snapshot(**parts))


def test_equal_documents_have_equal_bytes() -> None:
    document = a_snapshot()
    backwards = dict(reversed(document.items()))
    assert encode_snapshot(document) == encode_snapshot(backwards)
    assert encode_snapshot({"b": "利率", "a": [1, None]}) == '{"a":[1,null],"b":"利率"}'.encode()


def test_encoded_snapshot_reads_back() -> None:
    document = a_snapshot()
    encoded = encode_snapshot(document)
    assert json.loads(encoded) == document
    assert encode_snapshot(json.loads(encoded)) == encoded
    assert decode_snapshot(encoded).version == 17


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), "\ud800", {1, 2}, {1: "x", "a": "y"}, {1: "x"}], ids=repr
)
def test_what_strict_json_cannot_say_is_not_encoded(value: object) -> None:
    with pytest.raises(ValueError, match=r"^document: "):
        encode_snapshot({"payload": value})
