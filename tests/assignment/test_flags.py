"""Flags: keys, values, reasons and errors as OpenFeature names them, under both names of the evaluator."""

from __future__ import annotations

import importlib
import re
from types import ModuleType
from typing import Any

import pytest

from abplatform.assignment import Reason, decode_snapshot, evaluate
from abplatform.assignment.flags import FlagReason, FlagResolution, resolve_evaluation
from tests.assignment.documents import ROOT, a_rule, a_snapshot, read_vectors

EVALUATIONS = read_vectors("evaluations")
SNAPSHOTS = EVALUATIONS["snapshots"]
PAGE = ROOT / "docs" / "openfeature.md"

# The mapping as the project promises it, written out a second time: (reason, error code).
PROMISED = {
    "ASSIGNED": ("SPLIT", None),
    "FORCED": ("TARGETING_MATCH", None),
    "SHIPPED": ("TARGETING_MATCH", None),
    "NOT_TARGETED": ("DEFAULT", None),
    "NOT_IN_COVERAGE": ("DEFAULT", None),
    "HOLDOUT": ("DEFAULT", None),
    "PREREQUISITE": ("DEFAULT", None),
    "NOT_RUNNING": ("DISABLED", None),
    "NOT_READY": ("ERROR", "PROVIDER_NOT_READY"),
    "UNKNOWN_EXPERIMENT": ("ERROR", "FLAG_NOT_FOUND"),
    "NO_UNIT": ("ERROR", "TARGETING_KEY_MISSING"),
    "ERROR": ("ERROR", "GENERAL"),
}


def a_flag(control: Any, treatment: Any, **changes: Any) -> dict[str, Any]:
    """An experiment with these payloads that gives everybody its second variant."""
    return a_rule(
        variants=[
            {"key": "control", "range": [0, 0], "payload": control},
            {"key": "treatment", "range": [0, 1_000_000], "payload": treatment},
        ],
        **changes,
    )


def resolved(rule: dict[str, Any], key: str = "e", unit_id: str | None = "u-1", **rest: Any) -> FlagResolution:
    """What a unit gets for a flag of the one experiment ``e``."""
    snapshot = decode_snapshot(a_snapshot({"e": rule}))
    experiment = key.partition(".")[0]
    evaluation = evaluate(snapshot, experiment, unit_id, **rest)
    return resolve_evaluation(key, evaluation, snapshot.experiments.get(experiment))


def carries_nothing(rule: dict[str, Any] | None) -> bool:
    return rule is not None and all(variant.get("payload") is None for variant in rule["variants"])


@pytest.mark.parametrize("name", ["abplatform.assignment", "abplatform_sdk._assignment"])
@pytest.mark.parametrize("case", EVALUATIONS["cases"], ids=lambda case: case["name"])
def test_a_flag_says_what_its_evaluation_says_in_the_words_of_openfeature(name: str, case: dict[str, Any]) -> None:
    evaluator: ModuleType = importlib.import_module(name)
    flags: ModuleType = importlib.import_module(f"{name}.flags")
    document = None if case["snapshot"] is None else SNAPSHOTS[case["snapshot"]]
    snapshot = None if document is None else evaluator.decode_snapshot(document)
    key = case["experiment"]
    evaluation = evaluator.evaluate(snapshot, key, case["unit_id"], case.get("attributes"), units=case.get("units"))
    rule = None if snapshot is None else snapshot.experiments.get(key)
    flag = flags.resolve_evaluation(key, evaluation, rule)
    assert flag.evaluation is evaluation
    expected = case["expected"]
    assert (flag.reason, flag.error_code) == PROMISED[expected["reason"]]
    assert flag.variant == expected["variant"]
    assert flag.metadata == {
        "experiment": case["experiment"],
        "reason": expected["reason"],
        "in_experiment": expected["in_experiment"],
        **({} if expected["phase"] is None else {"phase": expected["phase"]}),
    }
    value = expected["payload"]
    if value is None and document is not None and carries_nothing(document["experiments"].get(case["experiment"])):
        value = expected["variant"]
    assert (flag.value, flag.has_value) == (value, value is not None)
    assert (flag.message is None) is (flag.error_code is None)


def test_the_page_shows_the_same_words() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (`[A-Z_`, ]+`) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    documented = {ours: theirs for theirs, cell in rows for ours in re.findall(r"`([A-Z_]+)`", cell)}
    assert documented == {ours: error or reason for ours, (reason, error) in PROMISED.items()}


def test_every_reason_has_its_word() -> None:
    ours = {value for name, value in vars(Reason).items() if name.isupper()}
    assert ours == PROMISED.keys()
    theirs = {value for name, value in vars(FlagReason).items() if name.isupper()}
    assert theirs == {reason for reason, _ in PROMISED.values()}


@pytest.mark.parametrize("value", [True, False, 0, 1.5, "", "copy", [], [1, None], {}, {"a": 1}])
def test_the_value_is_the_payload_whatever_json_it_is(value: Any) -> None:
    flag = resolved(a_flag("other", value))
    assert (flag.value, flag.has_value, flag.variant, flag.reason) == (value, True, "treatment", "SPLIT")
    assert type(flag.value) is type(value)


@pytest.mark.parametrize(
    ("key", "value"),
    [("e.copy", "10,000"), ("e.button", {"colour": "red", "px": 3}), ("e.button.colour", "red"), ("e.button.px", 3)],
)
def test_a_path_reads_a_part_of_the_payload(key: str, value: Any) -> None:
    payload = {"copy": "10,000", "button": {"colour": "red", "px": 3}}
    flag = resolved(a_flag(None, payload), key)
    assert (flag.value, flag.has_value, flag.variant) == (value, True, "treatment")
    assert flag.metadata["experiment"] == "e"


@pytest.mark.parametrize("mine", [None, {}, {"copy": None}, {"copy": {"text": None}}, "text", ["copy"]])
def test_what_only_another_variant_carries_leaves_the_callers_default_and_the_variant_stands(mine: Any) -> None:
    flag = resolved(a_flag({"copy": {"text": "3.5%"}}, mine), "e.copy.text")
    assert (flag.has_value, flag.value, flag.error_code) == (False, None, None)
    assert (flag.variant, flag.reason) == ("treatment", "SPLIT")
    assert flag.evaluation.in_experiment, "it has met its variant, so its exposure is due"


def test_a_null_payload_beside_another_leaves_the_callers_default() -> None:
    flag = resolved(a_flag({"copy": "3.5%"}, None))
    assert (flag.has_value, flag.value, flag.variant, flag.reason) == (False, None, "treatment", "SPLIT")


def test_without_any_payload_the_value_is_the_key_of_the_variant() -> None:
    assert resolved(a_flag(None, None)).value == "treatment"
    paused = resolved(a_flag(None, None, status="paused"))
    assert (paused.value, paused.has_value, paused.reason) == ("control", True, "DISABLED")


@pytest.mark.parametrize("key", ["e.nothing", "e.copy.deeper", "e.", "e..copy", "e.copy.", ".copy", "E", "e2", "", "."])
def test_what_no_variant_carries_is_no_flag(key: str) -> None:
    flag = resolved(a_flag({"copy": "3.5%"}, {"copy": "10,000"}), key)
    assert (flag.error_code, flag.reason, flag.variant) == ("FLAG_NOT_FOUND", "ERROR", None)
    assert flag.message


def test_a_field_that_nobody_carries_is_not_found_even_without_a_unit() -> None:
    rule = a_flag({"copy": "3.5%"}, None)
    assert resolved(rule, "e.nothing", None).error_code == "FLAG_NOT_FOUND"
    assert resolved(rule, "e.copy", None).error_code == "TARGETING_KEY_MISSING"


def test_the_message_names_the_unit_type_that_is_missing() -> None:
    flag = resolved(a_flag(1, 2, unit_type="device_id"))
    assert "device_id" in (flag.message or "")
    assert resolved(a_flag(1, 2, unit_type="device_id"), units={"device_id": "d"}).value == 2


def test_an_experiment_for_a_newer_evaluator_is_an_error_that_names_the_field() -> None:
    flag = resolved(a_flag(1, 2, hash_version=2))
    assert (flag.error_code, flag.reason) == ("GENERAL", "ERROR")
    assert "hash_version" in (flag.message or "")
    assert resolved(a_flag(1, 2, hash_version=2), "e.any").error_code == "GENERAL"


def test_without_a_snapshot_nothing_is_ready() -> None:
    for key in ("e", "e.copy"):
        assert resolve_evaluation(key, evaluate(None, "e", "u-1"), None).error_code == "PROVIDER_NOT_READY"
