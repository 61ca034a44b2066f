"""Many units at once get what each gets alone: `evaluate` is the oracle."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from abplatform.assignment import Reason, decode_snapshot, evaluate, unit_digest
from abplatform.services.assign_units import Plan, assign_units, open_table
from abplatform.services.match_rows import conditions_of, text_attributes

HALVES = [[0, 500_000], [500_000, 1_000_000]]
IDS = ["", "0", "007", "u-1", " u-1", "q\"uo'te", "two\nlines", "a,b", "利率", "🏦", "x" * 300, "null", None]


def a_rule(**changes: Any) -> dict[str, Any]:
    """A running experiment, 50/50, everybody in."""
    variants = [{"key": key, "range": half} for key, half in zip(("control", "treatment"), HALVES, strict=True)]
    rule = {
        "status": "running",
        "hash_version": 1,
        "unit_type": "user_id",
        "phase": 1,
        "salt": "salt",
        "layer": {"salt": "layer", "slots": [[0, 1_000_000]]},
        "variants": variants,
        "control": "control",
    }
    return rule | changes


def a_plan(rules: dict[str, dict[str, Any]], **parts: Any) -> Plan:
    """A plan for the experiment ``target`` of a snapshot with these rules."""
    head = {"schema_version": 1, "version": 1, "project": "default", "unit_type": "user_id"}
    document = {**head, "experiments": rules, **parts}
    snapshot = decode_snapshot(document)
    conditions = conditions_of(document, snapshot, "target")
    texts = {key: text_attributes(condition, parts.get("groups", {})) for key, condition in conditions.items()}
    return Plan(experiment="target", snapshot=snapshot, conditions=conditions, texts=texts)


def expected(plan: Plan, row: dict[str, Any], unit_column: str = "unit_id") -> tuple[Any, ...]:
    """What `evaluate` says of a row of a Parquet table."""
    own = plan.rule.unit_type
    attributes = {name: value for name, value in row.items() if name != unit_column}
    ids = {type_: row[type_] for type_ in ("user_id", "device_id") if type_ in row} | {own: row[unit_column]}
    others = {type_: unit for type_, unit in ids.items() if type_ != "user_id"}
    answer = evaluate(plan.snapshot, "target", ids.get("user_id"), attributes, units=others)
    return answer.variant, answer.in_experiment, answer.reason, answer.phase


def assigned(plan: Plan, path: Path, unit_column: str = "unit_id") -> list[dict[str, Any]]:
    table = open_table(plan, path, unit_column)
    return [row for rows in assign_units(plan, table) for row in rows.as_batch().to_pylist()]


def check(plan: Plan, table: pa.Table, folder: Path, unit_column: str = "unit_id") -> set[str]:
    """Compare all rows with `evaluate`, and tell which reasons there were."""
    pq.write_table(table, folder / "units.parquet")
    found = assigned(plan, folder / "units.parquet", unit_column)
    assert [row["unit_id"] or "" for row in found] == [unit or "" for unit in table.column(unit_column).to_pylist()]
    answers = [(row["variant"], row["in_experiment"], row["reason"], row["phase"]) for row in found]
    assert answers == [expected(plan, row, unit_column) for row in table.to_pylist()]
    return {row["reason"] for row in found}


def a_table(rows: int = 3_000, seed: int = 1) -> pa.Table:
    """Hostile ids, repeated ones and none; attributes of all kinds, with nulls."""
    rng = random.Random(seed)
    some = [*IDS, *(f"user-{number}" for number in range(400))]
    return pa.table(
        {
            "unit_id": pa.array([rng.choice(some) for _ in range(rows)], pa.string()),
            "device_id": pa.array([rng.choice(["d-1", "d-2", "d-3", "", None]) for _ in range(rows)], pa.string()),
            "country": pa.array([rng.choice(["CN", "HK", "US", "", None]) for _ in range(rows)]).dictionary_encode(),
            "age": pa.array([rng.choice([17, 18, 60, None]) for _ in range(rows)], pa.int32()),
            "balance": pa.array([rng.choice([0.0, 1.5, float("nan"), None]) for _ in range(rows)]),
            "vip": pa.array([rng.choice([True, False, None]) for _ in range(rows)]),
            "tags": pa.array([rng.choice([["a"], ["a", "b"], [], None]) for _ in range(rows)], pa.list_(pa.string())),
            "home": pa.array([rng.choice([{"city": "SH"}, {"city": None}, None]) for _ in range(rows)]),
        }
    )


STAFF = ["u-1", "利率", "user-7"]
GROUPS = {
    "vip-countries": {"values": ["CN", 18]},
    "staff": {"salt": "s", "sha256": [unit_digest("s", unit) for unit in STAFF]},
}
HOLDOUTS = {
    "q3": {"unit_type": "user_id", "salt": "held", "range": [0, 100_000]},
    "q4": {"unit_type": "user_id", "salt": "held too", "range": [100_000, 300_000]},
}
FORCED = {"salt": "own", "units": {unit_digest("own", unit): "treatment" for unit in ("u-1", "🏦")}}
UNEVEN = [{"key": key, "range": [low, high]} for key, low, high in (("a", 0, 1), ("b", 1, 1), ("c", 1, 1_000_000))]
RULES = {
    "all": a_rule(),
    "paused": a_rule(status="paused", forced=FORCED),
    "stopped": a_rule(status="stopped"),
    "closed": a_rule(status="closed", phase=3),
    "shipped": a_rule(
        status="stopped", shipped="treatment", targeting={"country": "CN"}, layer={"salt": "x", "slots": []}
    ),
    "forced": a_rule(forced=FORCED, holdouts=["q3"]),
    "held out": a_rule(holdouts=["q3", "q4"]),
    "slots": a_rule(layer={"salt": "layer", "slots": [[0, 1], [250_000, 500_000], [600_000, 700_000]]}),
    "no slots": a_rule(layer={"salt": "layer", "slots": []}),
    "uneven": a_rule(variants=UNEVEN, control="b"),
    "targeted": a_rule(targeting={"country": {"$in": ["CN", "HK"]}, "age": {"$gte": 18}}),
    "negated": a_rule(targeting={"$nor": [{"vip": True}, {"balance": {"$gt": 1}}]}),
    "nested": a_rule(targeting={"home.city": "SH", "tags": {"$in": ["b"]}}),
    "groups": a_rule(
        targeting={"$or": [{"country": {"$inGroup": "vip-countries"}}, {"age": {"$inGroup": "vip-countries"}}]}
    ),
    "by id": a_rule(targeting={"user_id": {"$inGroup": "staff"}}),
    "by another id": a_rule(targeting={"device_id": {"$in": ["d-1"]}}),
    "absent": a_rule(targeting={"segment": {"$ne": "x"}, "other": None}),
    "broken": a_rule(targeting={"country": {"$new": 1}}),
    "device": a_rule(unit_type="device_id", targeting={"user_id": {"$exists": True}}),
    "needs": a_rule(prerequisites=[{"experiment": "peer", "variants": ["treatment"]}]),
    "everything": a_rule(
        forced=FORCED,
        holdouts=["q4"],
        targeting={"age": {"$gte": 18}},
        prerequisites=[
            {"experiment": "peer", "variants": ["control"]},
            {"experiment": "device peer", "variants": ["control"]},
        ],
        layer={"salt": "layer", "slots": [[0, 400_000]]},
    ),
    "needs the unknown": a_rule(prerequisites=[{"experiment": "nobody", "variants": ["control"]}]),
}
PEERS = {
    "peer": a_rule(
        salt="peer",
        targeting={"country": {"$ne": "US"}},
        prerequisites=[{"experiment": "deep", "variants": ["control"]}],
    ),
    "deep": a_rule(salt="deep", holdouts=["q3"]),
    "device peer": a_rule(salt="device", unit_type="device_id"),
}


@pytest.mark.parametrize("name", RULES)
def test_rows_get_what_evaluate_gives_each_unit(name: str, tmp_path: Path) -> None:
    plan = a_plan({**PEERS, "target": RULES[name]}, groups=GROUPS, holdouts=HOLDOUTS)
    unit_column = "device_id" if name == "device" else "unit_id"
    assert check(plan, a_table(), tmp_path, unit_column)


def test_these_rules_give_every_reason_that_a_published_experiment_has(tmp_path: Path) -> None:
    reasons = set()
    for name, rule in RULES.items():
        plan = a_plan({**PEERS, "target": rule}, groups=GROUPS, holdouts=HOLDOUTS)
        reasons |= check(plan, a_table(300), tmp_path, "device_id" if name == "device" else "unit_id")
    all_reasons = {value for name, value in vars(Reason).items() if name.isupper()}
    assert reasons == all_reasons - {Reason.NOT_READY, Reason.UNKNOWN_EXPERIMENT, Reason.ERROR}
