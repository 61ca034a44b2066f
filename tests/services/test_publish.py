"""The life of an experiment, and what of it is published."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import pytest

from abplatform.assignment import decode_snapshot, evaluate, variant_ranges
from abplatform.domain.experiment import TRANSITIONS, ExperimentDefinition, Step, Variant
from abplatform.errors import IllegalTransition, InvalidInput, NotFound, PreconditionFailed, ReviewRequired
from abplatform.services import define, publish
from abplatform.storage.session import UnitOfWork
from tests.builders import NOW, a_draft, a_metric, a_metric_use, an_experiment, an_external_experiment, later

STEPS: tuple[Step, ...] = ("start", "pause", "resume", "stop", "archive")
WAYS: dict[str, tuple[Step, ...]] = {
    "draft": (),
    "running": ("start",),
    "paused": ("start", "pause"),
    "stopped": ("start", "stop"),
    "archived": ("start", "stop", "archive"),
}


def lead(uow: UnitOfWork, definition: ExperimentDefinition, *steps: Step) -> None:
    """Make an experiment and lead it through steps."""
    with uow.begin() as work:
        define.create_experiment(work, "default", definition, now=NOW)
        for step in steps:
            publish.take_step(work, "default", definition.key, step, now=NOW)


def published(uow: UnitOfWork) -> dict[str, Any]:
    with uow.reading() as work:
        return json.loads(publish.read_snapshot(work, "default").document)


def test_steps_follow_the_life_cycle_and_nothing_else(uow: UnitOfWork) -> None:
    expected = {}
    for status, step in product(WAYS, STEPS):
        key = f"{status}-{step}"
        lead(uow, an_experiment(key), *WAYS[status])
        expected[key] = TRANSITIONS.get((status, step), status)
        if (status, step) in TRANSITIONS:
            with uow.begin() as work:
                publish.take_step(work, "default", key, step, now=NOW)
        else:
            with pytest.raises(IllegalTransition, match=f"is {status}"), uow.begin() as work:
                publish.take_step(work, "default", key, step, now=NOW)
    with uow.reading() as work:
        assert {each.key: each.status for each in work.experiments.all("default")} == expected


def test_steps_are_stamped_with_their_times(uow: UnitOfWork) -> None:
    lead(uow, an_experiment())
    with uow.begin() as work:
        for hours, step in enumerate(("start", "pause", "resume", "stop", "archive"), start=1):
            after = publish.take_step(work, "default", "rate-display", step, now=later(hours=hours))
        assert work.experiments.get("default", "rate-display") == after
    assert (after.started_at, after.stopped_at, after.archived_at) == (later(hours=1), later(hours=4), later(hours=5))
    assert (after.revision, after.phase) == (6, 1)


def test_a_step_from_an_outdated_revision_is_refused(uow: UnitOfWork) -> None:
    lead(uow, an_experiment(), "start")
    with pytest.raises(PreconditionFailed), uow.begin() as work:
        publish.take_step(work, "default", "rate-display", "stop", now=NOW, revision=1)
    with uow.begin() as work:
        assert publish.take_step(work, "default", "rate-display", "stop", now=NOW, revision=2).status == "stopped"


def test_the_start_checks_the_definition_again(uow: UnitOfWork) -> None:
    # A version that knew fewer rules may have stored it.
    with uow.begin() as work:
        work.experiments.add("default", a_draft(definition=an_experiment(layer="shared")))
    with pytest.raises(InvalidInput, match="layer"), uow.begin() as work:
        publish.take_step(work, "default", "rate-display", "start", now=NOW)
    assert published(uow)["version"] == 0


def test_a_regulated_experiment_waits_for_review(uow: UnitOfWork) -> None:
    lead(uow, an_experiment(risk_class="regulated"))
    with pytest.raises(ReviewRequired, match="reviewer"), uow.begin() as work:
        publish.take_step(work, "default", "rate-display", "start", now=NOW)
    with uow.reading() as work:
        assert work.experiments.get("default", "rate-display").status == "draft"
    assert published(uow)["version"] == 0


def test_external_experiments_start_stop_and_archive_but_never_pause(uow: UnitOfWork) -> None:
    lead(uow, an_external_experiment(), "start")
    for step in ("pause", "resume"):
        sentence = f"external assignment, so there is nothing here to {step}"
        with pytest.raises(IllegalTransition, match=sentence), uow.begin() as work:
            publish.take_step(work, "default", "imported", step, now=NOW)
    with uow.begin() as work:
        publish.take_step(work, "default", "imported", "stop", now=NOW)
        assert publish.take_step(work, "default", "imported", "archive", now=NOW).status == "archived"


def test_unknown_experiments_and_projects_are_not_found(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        with pytest.raises(NotFound, match="rate-display"):
            publish.take_step(work, "default", "rate-display", "start", now=NOW)
        with pytest.raises(NotFound, match="elsewhere"):
            publish.read_snapshot(work, "elsewhere")


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
    lead(uow, definition, "start")
    with uow.reading() as work:
        experiment = work.experiments.get("default", "rate-display")
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


def test_a_snapshot_shows_nothing_that_it_should_not(uow: UnitOfWork) -> None:
    """W-6: no names, hypotheses, metrics, plans or drafts, and nothing that is archived or external."""
    with uow.begin() as work:
        define.create_metric(work, "default", a_metric("secret-metric", event="secret-event"), now=NOW)
    open_part = {"dimensions": ("channel",), "targeting": {"country": "CN"}}
    hidden = {"name": "Secret name", "hypothesis": "Secret hypothesis", "metrics": (a_metric_use("secret-metric"),)}
    for status, steps in WAYS.items():
        lead(uow, an_experiment(f"is-{status}", **open_part, **hidden), *steps)
        if "pause" not in steps:
            lead(uow, an_external_experiment(f"external-{status}", **open_part, **hidden), *steps)
    snapshot = published(uow)
    assert set(snapshot["experiments"]) == {"is-running", "is-paused", "is-stopped"}
    text = json.dumps(snapshot)
    for word in ("ecret", "external", "draft", "archived", "plan", "alpha", "mde", "created", "risk", "hypothesis"):
        assert word not in text


def test_every_step_publishes_the_next_version(uow: UnitOfWork) -> None:
    lead(uow, an_experiment())
    lead(uow, an_external_experiment())
    seen = []
    with uow.begin() as work:
        for key, steps in (("rate-display", WAYS["archived"]), ("imported", WAYS["archived"])):
            for step in steps:
                publish.take_step(work, "default", key, step, now=NOW)
                current = publish.read_snapshot(work, "default")
                assert current.version == publish.current_version(work, "default")
                assert json.loads(current.document)["version"] == current.version
                seen.append((current.version, current.etag))
    assert [version for version, _ in seen] == [1, 2, 3, 4, 5, 6]
    assert len({etag for _, etag in seen}) == 6
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


def test_a_failed_step_publishes_nothing(uow: UnitOfWork) -> None:
    lead(uow, an_experiment(), "start")

    def stop_and_fail() -> None:
        with uow.begin() as work:
            publish.take_step(work, "default", "rate-display", "stop", now=NOW)
            raise RuntimeError("the power went")

    with pytest.raises(RuntimeError):
        stop_and_fail()
    assert published(uow)["version"] == 1
    assert published(uow)["experiments"]["rate-display"]["status"] == "running"


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
