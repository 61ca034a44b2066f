"""Which flags a newer snapshot may answer otherwise."""

from __future__ import annotations

from typing import Any

import pytest
from abplatform_sdk._assignment import Snapshot, decode_snapshot
from abplatform_sdk.snapshot_changes import changed_flags
from abplatform_sdk.testing import experiment, snapshot


def held(*experiments: dict[str, Any], version: int = 1, **parts: Any) -> Snapshot:
    return decode_snapshot(snapshot(*experiments, version=version, **parts))


def plain(key: str = "e", payload: Any = 1, **fields: Any) -> dict[str, Any]:
    return experiment(key, variants={"control": payload, "treatment": 0}, **fields)


def test_the_same_experiments_in_a_newer_version_are_no_change() -> None:
    rules = [plain(), plain("f", {"copy": "a"}, dimensions=["channel"], coverage=0.5)]
    assert changed_flags(held(*rules), held(*rules, version=2)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"status": "paused"},
        {"phase": 2},
        {"unit_type": "device_id"},
        {"shipped": "treatment"},
        {"coverage": 0.5},
        {"weights": {"treatment": 2}},
        {"control": "treatment"},
        {"dimensions": ["channel"]},
        {"forced": {"salt": "s", "units": {"0" * 64: "control"}}},
        {"payload": 2},
        {"payload": 1.0},
        {"payload": True},
        {"targeting": {"vip": True}},
    ],
    ids=str,
)
def test_whatever_is_different_is_a_change_of_that_experiment_alone(change: dict[str, Any]) -> None:
    other = plain("other")
    assert changed_flags(held(plain(), other), held(plain(**change), other)) == ["e"]


def test_an_experiment_with_targeting_always_counts_as_changed_since_its_segments_may_be_others() -> None:
    rule = plain(targeting={"branch": {"$inGroup": "vip"}})
    before = held(rule, groups={"vip": {"values": ["SH-1"]}})
    after = held(rule, groups={"vip": {"values": ["SH-2"]}}, version=2)
    assert changed_flags(before, after) == ["e"]


def test_a_holdout_that_grows_changes_what_it_covers() -> None:
    rules = [plain(holdouts=["q3"]), plain("other")]
    small, large = ({"q3": {"unit_type": "user_id", "salt": "ab", "range": [0, end]}} for end in (1, 2))
    assert changed_flags(held(*rules, holdouts=small), held(*rules, holdouts=large)) == ["e"]


def test_what_depends_on_a_changed_experiment_changes_with_it() -> None:
    chain = [
        plain("b", prerequisites=[{"experiment": "a", "variants": ["control"]}]),
        plain("c", prerequisites=[{"experiment": "b", "variants": ["control"]}]),
        plain("d"),
    ]
    assert changed_flags(held(plain("a"), *chain), held(plain("a", phase=2), *chain)) == ["a", "b", "c"]


def test_new_and_removed_experiments_are_named_with_their_fields_as_they_were_and_are() -> None:
    before, after = held(plain("old", {"copy": 1})), held(plain("new", {"copy": {"deep": 1}}))
    assert changed_flags(before, after) == ["new", "new.copy", "old", "old.copy"]
    assert changed_flags(None, before) == ["old", "old.copy"]
    assert changed_flags(held(plain(payload={"a": 1})), held(plain(payload={"b": 1}))) == ["e", "e.a", "e.b"]


def test_a_rule_that_needs_a_newer_client_changes_when_it_can_be_read() -> None:
    newer = {"e": {**plain()["e"], "hash_version": 99}}
    assert changed_flags(held(newer), held(newer, version=2)) == []
    assert changed_flags(held(newer), held(plain())) == ["e"]
