"""The compiled rule is the documented order, with every feature of it, for any combination."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abplatform.assignment import (
    Evaluation,
    Reason,
    bucket,
    check_prerequisites,
    decode_snapshot,
    evaluate,
    unit_digest,
)
from abplatform.assignment.deciders import CallAttributes
from tests.assignment.documents import a_rule, a_snapshot

HOLDOUTS = {
    "first": {"unit_type": "user_id", "salt": "first holdout", "range": [0, 300_000]},
    "second": {"unit_type": "user_id", "salt": "second holdout", "range": [200_000, 600_000]},
}


def snapshot_of(**changes: Any) -> dict[str, Any]:
    parent = a_rule(salt="parent", layer={"salt": "parent layer", "slots": [[0, 1_000_000]]})
    return a_snapshot({"e": a_rule(**changes), "parent": parent}, holdouts=HOLDOUTS)


@given(
    status=st.sampled_from(["running", "closed", "paused", "stopped"]),
    shipped=st.sampled_from([None, "treatment"]),
    forced=st.booleans(),
    holdouts=st.sampled_from([[], ["first"], ["second", "first"]]),
    vip=st.booleans(),
    needs=st.booleans(),
    slots=st.lists(st.tuples(st.integers(0, 1_000_000), st.integers(0, 1_000_000)), max_size=3),
    number=st.integers(0, 10_000),
)
@settings(derandomize=True, max_examples=1_000)
def test_the_first_row_of_the_documented_table_that_holds_gives_the_answer(
    status: str,
    shipped: str | None,
    forced: bool,
    holdouts: list[str],
    vip: bool,
    needs: bool,
    slots: list[tuple[int, int]],
    number: int,
) -> None:
    unit = f"u-{number}"
    ranges = [sorted(slot) for slot in slots]
    document = snapshot_of(
        status=status,
        shipped=shipped,
        forced={"salt": "qa", "units": {unit_digest("qa", unit): "treatment"}} if forced else None,
        holdouts=holdouts,
        targeting={"vip": True},
        prerequisites=[{"experiment": "parent", "variants": ["treatment"]}] if needs else [],
        layer={"salt": "layer-salt", "slots": ranges},
    )
    held = [low <= bucket(HOLDOUTS[key]["salt"], unit) < high for key in holdouts for low, high in [range_of(key)]]
    in_slots = any(low <= bucket("layer-salt", unit) < high for low, high in ranges)
    drawn = "control" if bucket("variant-salt", unit) < 500_000 else "treatment"
    table = [
        (status == "paused" or (status == "stopped" and shipped is None), Reason.NOT_RUNNING, "control"),
        (forced, Reason.FORCED, "treatment"),
        (any(held), Reason.HOLDOUT, "control"),
        (not vip, Reason.NOT_TARGETED, "control"),
        (needs and bucket("parent", unit) < 500_000, Reason.PREREQUISITE, "control"),
        (shipped is not None, Reason.SHIPPED, shipped),
        (not in_slots, Reason.NOT_IN_COVERAGE, "control"),
        (True, Reason.ASSIGNED, drawn),
    ]
    reason, variant = next((reason, variant) for holds, reason, variant in table if holds)
    evaluation = evaluate(decode_snapshot(document), "e", unit, {"vip": vip})
    assert (evaluation.reason, evaluation.variant) == (reason, variant)
    assert evaluation.in_experiment is (reason == Reason.ASSIGNED)
    checked = held[: held.index(True) + 1] if any(held) else held
    groups = [(key, "held_out" if out else "open") for key, out in zip(holdouts, checked, strict=False)]
    assert list(evaluation.holdouts) == ([] if reason in {Reason.NOT_RUNNING, Reason.FORCED} else groups)


def range_of(holdout: str) -> list[int]:
    found: list[int] = HOLDOUTS[holdout]["range"]  # type: ignore[assignment]
    return found


def test_a_subclass_of_text_is_the_text_that_it_holds() -> None:
    class Loud(str):
        __slots__ = ()

        def encode(self, *_: object) -> bytes:  # type: ignore[override]
            raise AssertionError("asked")

    snapshot = decode_snapshot(a_snapshot())
    assert evaluate(snapshot, "rate-display", Loud("u-1")) == evaluate(snapshot, "rate-display", "u-1")


@pytest.mark.parametrize("unit_id", [None, 5, "", "\ud800"])
def test_an_experiment_that_cannot_be_honoured_is_an_error_for_units_only(unit_id: Any) -> None:
    snapshot = decode_snapshot(a_snapshot({"e": a_rule(hash_version=2)}))
    assert evaluate(snapshot, "e", "u-1").reason == Reason.ERROR
    assert evaluate(snapshot, "e", unit_id).reason == Reason.NO_UNIT


def test_a_prerequisite_whose_id_is_no_text_is_not_met() -> None:
    document = a_snapshot(
        {
            "e": a_rule(prerequisites=[{"experiment": "parent", "variants": ["control", "treatment"]}]),
            "parent": a_rule(unit_type="device_id"),
        }
    )
    snapshot = decode_snapshot(document)
    for units in ({"device_id": "\ud800"}, {"device_id": 5}, {}, None):
        assert evaluate(snapshot, "e", "u-1", units=units).reason == Reason.PREREQUISITE  # type: ignore[arg-type]
    assert evaluate(snapshot, "e", "u-1", units={"device_id": "d-1"}).reason == Reason.ASSIGNED


def test_ids_of_a_call_hide_attributes_of_their_names() -> None:
    attributes: Mapping[str, Any] = CallAttributes({"user_id": "theirs", "a": 1}, {"user_id": "mine"})
    assert dict(attributes) == {"user_id": "mine", "a": 1}
    assert (len(attributes), attributes.get("b")) == (2, None)


def test_attributes_that_make_up_what_is_missing_answer_alike_with_ids_and_without() -> None:
    rules = {"e": a_rule(targeting={"country": "CN"}), "by-id": a_rule(targeting={"country": "CN", "user_id": "u-1"})}
    snapshot = decode_snapshot(a_snapshot(rules))
    attributes: dict[str, str] = defaultdict(lambda: "CN")
    calls = [("e", None), ("e", {"device_id": "d-1"}), ("by-id", None)]
    assert {evaluate(snapshot, key, "u-1", attributes, units=units).reason for key, units in calls} == {
        Reason.NOT_TARGETED
    }
    assert attributes == {}


def a_chain(length: int, width: int) -> dict[str, list[str]]:
    """Each experiment needs the next one ``width`` times over."""
    return {str(number): [str(number + 1)] * width for number in range(length)}


def test_prerequisites_that_multiply_are_refused() -> None:
    # 2^7 - 1 evaluations, by the sum of a geometric series; the chain below has 2^6 - 1.
    assert check_prerequisites(a_chain(6, 2)) == {"0": "take more than 100 evaluations"}
    assert check_prerequisites(a_chain(5, 2)) == {}
    assert check_prerequisites(a_chain(99, 1)) == {}
    snapshot = decode_snapshot(
        a_snapshot(
            {
                key: a_rule(prerequisites=[{"experiment": other, "variants": ["control"]} for other in needed])
                for key, needed in a_chain(6, 2).items()
            }
        )
    )
    assert evaluate(snapshot, "0", "u-1").reason == Reason.ERROR
    assert isinstance(evaluate(snapshot, "1", "u-1"), Evaluation)


def test_a_thousand_experiments_in_one_circle_are_found_out() -> None:
    circle = {str(number): [str((number + 1) % 1_000)] for number in range(1_000)}
    assert set(check_prerequisites(circle).values()) == {"form a circle"}


@pytest.mark.parametrize("unusable", [None, "", 5, b"u-1"])
def test_what_is_no_id_hides_no_attribute(unusable: Any) -> None:
    snapshot = decode_snapshot(a_snapshot({"e": a_rule(unit_type="device_id", targeting={"user_id": "u-1"})}))
    evaluation = evaluate(snapshot, "e", unusable, {"user_id": "u-1"}, units={"device_id": "d-1"})
    assert evaluation.reason == Reason.ASSIGNED
    snapshot = decode_snapshot(a_snapshot({"e": a_rule(targeting={"device_id": "d-1"})}))
    evaluation = evaluate(snapshot, "e", "u-1", {"device_id": "d-1"}, units={"device_id": unusable})
    assert evaluation.reason == Reason.ASSIGNED


def test_conditions_that_json_would_confuse_are_compiled_apart() -> None:
    odd: dict[Any, Any] = {1: "x"}
    rules = {"sound": a_rule(targeting={"1": "x"}), "odd": a_rule(targeting=odd)}
    snapshot = decode_snapshot(a_snapshot(rules))
    reasons = [evaluate(snapshot, key, "u-1", {"1": "x"}).reason for key in rules]
    assert reasons == [Reason.ASSIGNED, Reason.NOT_TARGETED]
