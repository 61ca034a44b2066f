"""What is published of a project, and when."""

from __future__ import annotations

import json

from abplatform.assignment import bucket, decode_snapshot, evaluate, variant_ranges
from abplatform.domain.experiment import Prerequisite, Variant
from abplatform.services import arrange, define, force, hold_out, publish, segment
from abplatform.storage.session import UnitOfWork, Work
from tests.builders import (
    NOW,
    a_holdout,
    a_layer,
    a_metric,
    a_metric_use,
    a_segment_request,
    an_experiment,
    an_external_experiment,
)
from tests.services.lives import WAYS, lead, published, take

RAW_IDS = ("vip-customer-1", "qa-account-1")


def name_things(work: Work) -> None:
    """A segment of each kind, and one that nobody names; a holdout, and one that covers nothing."""
    ids = {"kind": "units", "values": None, "unit_ids": RAW_IDS[:1]}
    for request in (a_segment_request(), a_segment_request("staff", **ids), a_segment_request("unnamed")):
        segment.create_segment(work, "default", request, now=NOW)
    for holdout in (a_holdout(), a_holdout("of-devices", unit_type="device_id")):
        hold_out.create_holdout(work, "default", holdout, now=NOW)


def test_the_first_snapshot_is_empty(uow: UnitOfWork) -> None:
    lead(uow, an_experiment())
    expected = {"schema_version": 1, "version": 0, "project": "default", "unit_type": "user_id", "experiments": {}}
    assert published(uow) == expected
    with uow.reading() as work:
        decode_snapshot(publish.read_snapshot(work, "default").document)


def test_a_snapshot_holds_exactly_what_evaluation_needs(uow: UnitOfWork) -> None:
    definition = an_experiment(
        variants=(Variant(key="control", weight=1), Variant(key="b", weight=2, payload={"copy": "年化3.5%"})),
        coverage=0.25,
        targeting={"country": {"$in": ["CN", "HK"]}},
    )
    experiment = lead(uow, definition, "start")
    assert published(uow) == {
        "schema_version": 1,
        "version": 1,
        "project": "default",
        "unit_type": "user_id",
        "experiments": {
            "rate-display": {
                "status": "running",
                "hash_version": 1,
                "unit_type": "user_id",
                "phase": 1,
                "salt": experiment.salt,
                # A quarter of a million slots is a quarter of all.
                "layer": {"salt": experiment.layer_salt, "slots": [[0, 250_000]]},
                "targeting": {"country": {"$in": ["CN", "HK"]}},
                # A third of a million, by largest remainder.
                "variants": [
                    {"key": "control", "range": [0, 333_333], "payload": None},
                    {"key": "b", "range": [333_333, 1_000_000], "payload": {"copy": "年化3.5%"}},
                ],
                "control": "control",
                "shipped": None,
                "dimensions": ["channel"],
            }
        },
    }


def test_a_snapshot_holds_the_groups_and_holdouts_that_experiments_name(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        name_things(work)
        holdout = work.holdouts.get("default", "q3")
        staff = work.segments.get("default", "staff")
    lead(uow, an_experiment("open-account"), "start")
    targeting = {"$or": [{"branch": {"$inGroup": "vip-branches"}}, {"user_id": {"$notInGroup": "staff"}}]}
    needs = (Prerequisite(experiment="open-account", variants=("treatment",)),)
    lead(uow, an_experiment(targeting=targeting, prerequisites=needs), "start")
    lead(uow, an_experiment("a-draft", targeting={"branch": {"$inGroup": "unnamed"}}))
    document = published(uow)
    assert document["groups"] == {
        "vip-branches": {"values": ["SH-1", 7]},
        "staff": {"salt": staff.salt, "sha256": list(staff.segment.digests)},
    }
    # 5% of a million buckets.
    assert document["holdouts"] == {"q3": {"unit_type": "user_id", "salt": holdout.salt, "range": [0, 50_000]}}
    rule = document["experiments"]["rate-display"]
    assert rule["holdouts"] == ["q3"]
    assert rule["prerequisites"] == [{"experiment": "open-account", "variants": ["treatment"]}]
    assert not {"forced", "prerequisites"} & document["experiments"]["open-account"].keys()
    with uow.reading() as work:
        snapshot = decode_snapshot(publish.read_snapshot(work, "default").document)
    reasons = {evaluate(snapshot, "rate-display", unit, {"branch": "SH-1"}).reason for unit in map(str, range(200))}
    assert reasons == {"ASSIGNED", "PREREQUISITE", "HOLDOUT"}
    is_held_out = bucket(holdout.salt, RAW_IDS[0]) < 50_000
    reason = "HOLDOUT" if is_held_out else "NOT_TARGETED"
    assert evaluate(snapshot, "rate-display", RAW_IDS[0], {}).reason == reason, "staff, and of no branch"


def test_a_snapshot_shows_nothing_that_it_should_not(uow: UnitOfWork) -> None:
    """W-6: no names, hypotheses, metrics, plans, drafts or raw ids, and nothing that is archived or external."""
    with uow.begin() as work:
        define.create_metric(work, "default", a_metric("secret-metric", event="secret-event"), now=NOW)
        arrange.create_layer(work, "default", a_layer("home", name="Secret layer", description="Secret"), now=NOW)
        name_things(work)
    open_part = {
        "dimensions": ("channel",),
        "targeting": {"$or": [{"branch": {"$inGroup": "vip-branches"}}, {"user_id": {"$inGroup": "staff"}}]},
        "layer": "home",
        "coverage": 0.1,
    }
    hidden = {"name": "Secret name", "hypothesis": "Secret hypothesis", "metrics": (a_metric_use("secret-metric"),)}
    for status, steps in WAYS.items():
        key = f"is-{status}"
        lead(uow, an_experiment(key, **open_part, **hidden), *steps)
        if status != "archived":
            with uow.begin() as work:
                units = [force.Force(unit_id=RAW_IDS[1], variant="treatment")]
                force.force_variants(work, "default", key, units)
        if "pause" not in steps:
            lead(uow, an_external_experiment(f"external-{status}", **hidden), *steps)
    with uow.begin() as work:
        take(work, "is-running", "phase")
        take(work, "is-stopped", "decide")
    snapshot = published(uow)
    assert set(snapshot["experiments"]) == {"is-running", "is-paused", "is-closed", "is-stopped"}
    rules = snapshot["experiments"].values()
    assert all(len(rule["forced"]["units"]) == 1 and len(rule["holdouts"]) == 1 for rule in rules)
    text = json.dumps(snapshot)
    words = ("ecret", "external", "draft", "archived", "plan", "alpha", "mde", "created", "risk", "hypothesis")
    notes = ("a bug", "As planned", "Third quarter", "Branches for VIPs", "unnamed", "past", "decision", "home")
    for word in (*words, *notes, *RAW_IDS):
        assert word not in text, word


def test_every_step_publishes_the_next_version(uow: UnitOfWork) -> None:
    lead(uow, an_experiment(coverage=0.5))
    lead(uow, an_external_experiment())
    seen = []
    with uow.begin() as work:
        for key, steps in (
            ("rate-display", ("start", "pause", "resume", "ramp", "phase", "close", "stop", "decide", "archive")),
            ("imported", WAYS["archived"]),
        ):
            for step in steps:
                take(work, key, step)
                current = publish.read_snapshot(work, "default")
                assert current.version == publish.current_version(work, "default")
                assert json.loads(current.document)["version"] == current.version
                seen.append((current.version, current.etag))
    assert [version for version, _ in seen] == list(range(1, 13))
    assert len({etag for _, etag in seen}) == 12
    assert all('"' not in etag for _, etag in seen)


def test_edits_that_evaluation_does_not_see_publish_nothing(uow: UnitOfWork) -> None:
    lead(uow, an_experiment(), "start")
    lead(uow, an_experiment("draft"))
    with uow.begin() as work:
        before = publish.read_snapshot(work, "default")
        define.edit_experiment(work, "default", "rate-display", {"name": "New"}, revision=2)
        define.edit_experiment(work, "default", "draft", {"coverage": 0.5}, revision=1)
        define.delete_experiment(work, "default", "draft", revision=2)
        assert publish.read_snapshot(work, "default") == before


def test_the_evaluator_reads_what_is_published(uow: UnitOfWork) -> None:
    lead(uow, an_experiment(), "start")
    with uow.reading() as work:
        document = publish.read_snapshot(work, "default").document
    answer = evaluate(decode_snapshot(document), "rate-display", "u-1", {})
    assert (answer.reason, answer.in_experiment, answer.phase) == ("ASSIGNED", True, 1)
    assert answer.variant in {"control", "treatment"}


def test_ranges_are_those_of_the_evaluator(uow: UnitOfWork) -> None:
    weights = (0.1, 0.2, 0.7)
    variants = tuple(Variant(key=str(index), weight=weight) for index, weight in enumerate(weights))
    lead(uow, an_experiment(variants=variants, control="0"), "start")
    rule = published(uow)["experiments"]["rate-display"]
    assert [tuple(variant["range"]) for variant in rule["variants"]] == list(variant_ranges(weights))
