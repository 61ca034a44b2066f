"""What holds for every evaluation; single cases stand in tests/vectors/evaluations.json."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abplatform.assignment import (
    Evaluation,
    ExperimentRule,
    Reason,
    bucket,
    decode_snapshot,
    draw_variant,
    evaluate,
)
from tests.assignment.documents import a_rule, a_snapshot, read_vectors
from tests.assignment.test_targeting import Hostile

STATUSES = st.sampled_from(["running", "closed", "paused", "stopped"])
SNAPSHOT = decode_snapshot(a_snapshot())


class Bomb:
    """An object that fails whatever it is asked, its class included."""

    def __getattribute__(self, name: str) -> NoReturn:
        raise RuntimeError("no")

    def __hash__(self) -> int:
        raise RuntimeError("no")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    def __bool__(self) -> bool:
        raise RuntimeError("no")


def rule_of(document: dict[str, Any]) -> ExperimentRule:
    rule = decode_snapshot(a_snapshot({"e": document})).experiments["e"]
    assert isinstance(rule, ExperimentRule)
    return rule


def an_evaluation(reason: str) -> Evaluation:
    return Evaluation("rate-display", None, None, in_experiment=False, reason=reason, phase=None)


@given(STATUSES, st.sampled_from([None, "treatment"]), st.booleans(), st.integers(0, 1_000_000), st.text(max_size=8))
@settings(derandomize=True, max_examples=500)
def test_evaluation_follows_the_documented_order(
    status: str, shipped: str | None, targeted: bool, covered: int, unit_id: str
) -> None:
    document = a_rule(
        status=status,
        shipped=shipped,
        targeting={"vip": True},
        layer={"salt": "layer-salt", "slots": [[0, covered]]},
    )
    evaluation = evaluate(decode_snapshot(a_snapshot({"e": document})), "e", unit_id, {"vip": targeted})
    # The table of docs/assignment.md, read from top to bottom.
    table = [
        (not unit_id, Reason.NO_UNIT),
        (status == "paused" or (status == "stopped" and shipped is None), Reason.NOT_RUNNING),
        (not targeted, Reason.NOT_TARGETED),
        (shipped is not None, Reason.SHIPPED),
        (bucket("layer-salt", unit_id) >= covered, Reason.NOT_IN_COVERAGE),
        (True, Reason.ASSIGNED),
    ]
    assert evaluation.reason == next(reason for holds, reason in table if holds)
    assert evaluation.in_experiment is (evaluation.reason == Reason.ASSIGNED)
    if evaluation.in_experiment:
        assert evaluation.variant == draw_variant(rule_of(document), unit_id)


def test_draw_agrees_with_the_ranges_and_ignores_status_targeting_and_coverage() -> None:
    rule = rule_of(a_rule(status="paused", targeting={"vip": True}, layer={"salt": "x", "slots": []}))
    for number in range(200):
        expected = "control" if bucket("variant-salt", f"u-{number}") < 500_000 else "treatment"
        assert draw_variant(rule, f"u-{number}") == expected


def test_a_range_holds_its_lower_end_and_not_its_upper() -> None:
    for number in range(50):
        drawn = bucket("variant-salt", f"u-{number}")
        for end, expected in ((drawn, "treatment"), (drawn + 1, "control")):
            ranges = {"control": [0, end], "nobody": [end, end], "treatment": [end, 1_000_000]}
            variants = [{"key": key, "range": ends, "payload": None} for key, ends in ranges.items()]
            assert draw_variant(rule_of(a_rule(variants=variants)), f"u-{number}") == expected


@pytest.mark.parametrize("unit_id", ["\ud800", None, 5])
def test_draw_refuses_what_is_no_unit(unit_id: Any) -> None:
    with pytest.raises(ValueError, match=r"^unit_id: "):
        draw_variant(rule_of(a_rule()), unit_id)


def test_full_coverage_in_pieces_is_full_coverage() -> None:
    pieces = [[500_000, 1_000_000], [0, 10], [10, 500_000]]
    split = decode_snapshot(a_snapshot({"rate-display": a_rule(layer={"salt": "layer-salt", "slots": pieces})}))
    for number in range(200):
        unit_id = f"u-{number}"
        assert evaluate(split, "rate-display", unit_id) == evaluate(SNAPSHOT, "rate-display", unit_id)


@pytest.mark.parametrize("unit_id", ["", None, 0, 5, True, b"u-1", ["u-1"], "\ud800", "u-\udc00"])
@pytest.mark.parametrize("status", ["running", "paused"])
def test_an_unusable_unit_id_is_no_unit(unit_id: Any, status: str) -> None:
    snapshot = decode_snapshot(a_snapshot({"rate-display": a_rule(status=status)}))
    assert evaluate(snapshot, "rate-display", unit_id) == an_evaluation(Reason.NO_UNIT)


@pytest.mark.parametrize(
    "attributes", ["CN", 5, [("country", "CN")], object()], ids=["string", "number", "pairs", "object"]
)
def test_attributes_that_are_no_mapping_are_an_error(attributes: Any) -> None:
    assert evaluate(SNAPSHOT, "rate-display", "u-1", attributes) == an_evaluation(Reason.ERROR)


@pytest.mark.parametrize("experiment", [None, 5, b"rate-display", ["rate-display"], {}], ids=repr)
def test_a_key_that_is_no_string_is_an_error_without_a_name(experiment: Any) -> None:
    evaluation = evaluate(SNAPSHOT, experiment, "u-1")
    assert (evaluation.reason, evaluation.experiment) == (Reason.ERROR, "")
    assert evaluate(None, experiment, "u-1").reason == Reason.NOT_READY


@pytest.mark.parametrize("units", ["device_id", 5, ["d-1"]], ids=repr)
def test_units_that_cannot_be_asked_are_an_error(units: Any) -> None:
    snapshot = decode_snapshot(a_snapshot({"rate-display": a_rule(unit_type="device_id")}))
    assert evaluate(snapshot, "rate-display", "u-1", units=units) == an_evaluation(Reason.ERROR)


@pytest.mark.parametrize("argument", ["snapshot", "experiment", "unit_id", "attributes", "units"])
def test_no_argument_makes_evaluation_raise(argument: str) -> None:
    defaults: dict[str, Any] = {
        "snapshot": decode_snapshot(a_snapshot({"rate-display": a_rule(unit_type="device_id", targeting={"a": 1})})),
        "experiment": "rate-display",
        "unit_id": "u-1",
        "attributes": {"a": 1},
        "units": {"device_id": "d-1"},
    }
    nasty = [None, 0, "", "\ud800", b"", [], {}, (), object(), Bomb(), Hostile(), float("nan"), evaluate]
    for value in nasty:
        arguments = defaults | {argument: value}
        units = arguments.pop("units")
        evaluation = evaluate(*arguments.values(), units=units)
        assert evaluation.reason in {name for name in vars(Reason) if name.isupper()}


def test_objects_that_fail_are_errors_like_others() -> None:
    by_device = decode_snapshot(a_snapshot({"rate-display": a_rule(unit_type="device_id")}))
    bomb: Any = Bomb()
    hostile: Any = Hostile()
    assert evaluate(SNAPSHOT, "rate-display", "u-1", bomb) == an_evaluation(Reason.ERROR)
    assert evaluate(SNAPSHOT, bomb, "u-1") == an_evaluation(Reason.ERROR)._replace(experiment="")
    assert evaluate(None, bomb, "u-1") == an_evaluation(Reason.NOT_READY)._replace(experiment="")
    assert evaluate(by_device, "rate-display", "u-1", units=bomb) == an_evaluation(Reason.ERROR)
    assert evaluate(by_device, "rate-display", "u-1", units=hostile) == an_evaluation(Reason.ERROR)


def test_hostile_attributes_are_not_targeted() -> None:
    snapshot = decode_snapshot(a_snapshot({"rate-display": a_rule(targeting={"$not": {"a": 1}})}))
    assert evaluate(snapshot, "rate-display", "u-1", Hostile()).reason == Reason.NOT_TARGETED


def test_evaluations_and_snapshots_cannot_be_changed() -> None:
    evaluation = evaluate(SNAPSHOT, "rate-display", "u-1")
    with pytest.raises(AttributeError):
        evaluation.variant = "treatment"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        SNAPSHOT.version = 1  # type: ignore[misc]


def test_reasons_are_their_own_names() -> None:
    reasons = {name: value for name, value in vars(Reason).items() if name.isupper()}
    assert all(name == value for name, value in reasons.items())
    assert set(reasons) == {case["expected"]["reason"] for case in read_vectors("evaluations")["cases"]}
