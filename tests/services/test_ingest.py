"""What becomes of events: whose they are, what is kept of them, and what the platform would have drawn itself."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from abplatform.assignment import Evaluation, decode_snapshot, evaluate
from abplatform.domain.events import HELD_OUT, NOT_DRAWN, OPEN, ConversionFact, ExposureFact
from abplatform.domain.experiment import Variant
from abplatform.domain.pseudonym import pseudonymise
from abplatform.services import define, hold_out, live, publish
from abplatform.services.aggregate import aggregate
from abplatform.services.ingest import IngestReport, Intake
from abplatform.services.seal import seal_project
from abplatform.storage.session import UnitOfWork
from abplatform.warehouse.engines import DuckDBEngine
from abplatform.warehouse.inbox import Inbox
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.tables import inbox_batch, rejected_event
from tests.builders import NOW, a_holdout, a_metric, a_plan, an_experiment, later
from tests.facts import unpack_facts

SECRET = b"a pseudonym key for tests, 32+ characters"
UNITS = [f"unit {number} \u4e2d" for number in range(300)]


class Platform:
    """An intake, and the steps that lead to what it checks events against."""

    def __init__(self, uow: UnitOfWork, database: sa.Engine) -> None:
        self.uow = uow
        self.intake = Intake(uow, Inbox(database), pseudonym_key=SECRET, max_age=timedelta(days=400))
        self._database = database

    def start(self, key: str = "rate-display", **changes: Any) -> None:
        with self.uow.begin() as work:
            define.create_experiment(work, "default", an_experiment(key, **changes), now=NOW)
        self.step("start", key)

    def step(self, step: Any, key: str = "rate-display") -> None:
        with self.uow.begin() as work:
            live.take_step(work, "default", key, step, now=NOW)

    def open_phase(self, **changes: Any) -> None:
        request = live.PhaseRequest(changes=changes, reason="another split")
        with self.uow.begin() as work:
            live.open_phase(work, "default", "rate-display", request, now=later(hours=1))

    def hold_out(self, key: str = "q3", **changes: Any) -> None:
        with self.uow.begin() as work:
            hold_out.create_holdout(work, "default", a_holdout(key, **changes), now=NOW)

    def evaluate(self, unit_id: str = "nobody", **rest: Any) -> Evaluation:
        with self.uow.reading() as work:
            snapshot = decode_snapshot(publish.read_snapshot(work, "default").document)
        return evaluate(snapshot, "rate-display", unit_id, {}, **rest)

    def expose(self, *events: dict[str, Any]) -> IngestReport:
        body = json.dumps({"events": [{"timestamp": NOW.isoformat(), "unit_id": "u-1"} | event for event in events]})
        return self.intake.take_exposures("default", body.encode(), received_at=later(hours=1))

    def convert(self, *events: dict[str, Any]) -> IngestReport:
        shared = {"timestamp": NOW.isoformat(), "unit_id": "u-1", "event": "purchase"}
        body = json.dumps({"events": [shared | event for event in events]})
        return self.intake.take_conversions("default", body.encode(), received_at=later(hours=1))

    def exposures(self) -> list[ExposureFact]:
        return self._kept("exposure")

    def conversions(self) -> list[ConversionFact]:
        return self._kept("conversion")

    def _kept(self, kind: Any) -> list[Any]:
        with self._database.connect() as connection:
            query = sa.select(inbox_batch.c.payload).where(inbox_batch.c.kind == kind).order_by(inbox_batch.c.id)
            return [fact for payload in connection.execute(query).scalars() for fact in unpack_facts(kind, payload)]


@pytest.fixture
def platform(uow: UnitOfWork, database: sa.Engine) -> Platform:
    return Platform(uow, database)


def exposure(event_id: str = "e-1", **changes: Any) -> dict[str, Any]:
    return {"event_id": event_id, "experiment": "rate-display", "variant": "control"} | changes


def holdout_exposure(event_id: str = "e-1", **changes: Any) -> dict[str, Any]:
    return {"event_id": event_id, "holdout": "q3", "group": OPEN} | changes


def exposures_of_all(**changes: Any) -> list[dict[str, Any]]:
    return [exposure(unit, unit_id=unit, **changes) for unit in UNITS]


def given(evaluation: Evaluation) -> str:
    """The variant of a unit that is in; else what is expected of one that is not."""
    return str(evaluation.variant) if evaluation.in_experiment else NOT_DRAWN


def refused(report: IngestReport) -> list[tuple[str, str]]:
    """Code and field of each refusal."""
    return [(each.code, each.detail.partition(":")[0]) for each in report.rejected]


# Draws: the evaluator, as the SDK runs it on the published snapshot, is the source of what is expected.


def test_the_platform_expects_what_the_evaluator_gives(platform: Platform) -> None:
    platform.hold_out(share=0.3)
    platform.start(coverage=0.5)
    gave = [platform.evaluate(unit) for unit in UNITS]

    assert platform.expose(*exposures_of_all()).accepted == len(UNITS)

    facts = platform.exposures()
    assert [fact.expected_variant for fact in facts] == [given(each) for each in gave]
    assert {fact.variant for fact in facts} == {"control"}
    reasons = Counter(each.reason for each in gave)
    assert min(reasons[reason] for reason in ("HOLDOUT", "NOT_IN_COVERAGE", "ASSIGNED")) > 40, reasons


def test_exposures_of_a_past_phase_are_compared_with_its_own_draws(platform: Platform) -> None:
    platform.start(coverage=0.5, variants=(Variant(key="control"), Variant(key="old")))
    first = [given(platform.evaluate(unit)) for unit in UNITS]
    platform.expose(exposure())
    platform.open_phase(coverage=0.8, variants=(Variant(key="control", weight=3), Variant(key="new")))
    second = [given(platform.evaluate(unit)) for unit in UNITS]
    before = len(platform.exposures())

    platform.expose(*exposures_of_all(phase=1))
    platform.expose(*exposures_of_all(phase=2))

    facts = platform.exposures()[before:]
    assert [fact.expected_variant for fact in facts] == first + second
    assert {*first, *second} == {"control", "old", "new", NOT_DRAWN}
    assert [fact.phase for fact in facts] == [1] * len(UNITS) + [2] * len(UNITS)


def test_a_variant_must_be_one_of_the_phase(platform: Platform) -> None:
    platform.start(variants=(Variant(key="control"), Variant(key="old")))
    platform.open_phase(variants=(Variant(key="control"), Variant(key="new")))
    report = platform.expose(
        exposure("1", phase=1, variant="old"),
        exposure("2", phase=2, variant="old"),
        exposure("3", phase=1, variant="new"),
        exposure("4", phase=2, variant="new"),
        exposure("5", phase=3),
    )
    assert [fact.event_id for fact in platform.exposures()] == ["1", "4"]
    assert refused(report) == [("UNKNOWN_VARIANT", "variant")] * 2 + [("BAD_PHASE", "phase")]


def test_a_ramp_shows_at_the_next_request(platform: Platform) -> None:
    platform.start(coverage=0.1)
    platform.expose(*exposures_of_all())
    with platform.uow.begin() as work:
        live.ramp(work, "default", "rate-display", 0.9)
    platform.expose(*exposures_of_all())

    facts = platform.exposures()
    before, after = facts[: len(UNITS)], facts[len(UNITS) :]
    assert [fact.expected_variant for fact in after] == [given(platform.evaluate(unit)) for unit in UNITS]
    assert Counter(fact.expected_variant for fact in before)[NOT_DRAWN] > 230
    assert Counter(fact.expected_variant for fact in after)[NOT_DRAWN] < 70


def test_a_holdout_that_has_ended_holds_nobody_out(platform: Platform) -> None:
    platform.hold_out(share=0.5)
    platform.start()
    platform.expose(*exposures_of_all())
    with platform.uow.begin() as work:
        hold_out.end_holdout(work, "default", "q3", now=NOW)
    platform.expose(*exposures_of_all())

    facts = platform.exposures()
    assert Counter(fact.expected_variant for fact in facts[: len(UNITS)])[NOT_DRAWN] > 100
    assert [fact.expected_variant for fact in facts[len(UNITS) :]] == [given(platform.evaluate(unit)) for unit in UNITS]


def test_late_exposures_of_what_is_closed_or_stopped_are_taken(platform: Platform) -> None:
    platform.start(coverage=0.5)
    drawn = [given(platform.evaluate(unit)) for unit in UNITS]
    platform.step("close")
    platform.expose(*exposures_of_all())
    platform.step("stop")
    platform.expose(*exposures_of_all())
    platform.step("archive")
    assert refused(platform.expose(exposure())) == [("EXPERIMENT_ARCHIVED", "experiment")]

    assert [fact.expected_variant for fact in platform.exposures()] == drawn + drawn


def test_an_external_experiment_expects_nothing(platform: Platform) -> None:
    platform.hold_out()
    platform.start(assignment="external")
    platform.expose(exposure())
    assert platform.exposures()[0].expected_variant is None


# Units: pseudonyms by type, from the ids that the event names.


def test_a_unit_of_another_type_is_named_under_units(platform: Platform) -> None:
    platform.start(unit_type="device_id")
    report = platform.expose(
        exposure("1", units={"device_id": "d-1", "household_id": "h-1"}),
        exposure("2", units={"household_id": "h-1"}),
        exposure("3"),
    )
    assert refused(report) == [("MISSING_FIELD", "units.device_id")] * 2
    (fact,) = platform.exposures()
    assert (fact.unit, fact.cluster) == (pseudonymise(SECRET, "device_id", "d-1"), None)
    assert fact.expected_variant == given(platform.evaluate("somebody else", units={"device_id": "d-1"}))


def test_other_unit_types_of_an_exposure_are_not_stored(platform: Platform) -> None:
    platform.start()
    platform.expose(exposure(units={"device_id": "d-1", "user_id": "another"}))
    (fact,) = platform.exposures()
    assert (fact.unit, fact.cluster) == (pseudonymise(SECRET, "user_id", "u-1"), None)
    assert fact.expected_variant == given(platform.evaluate("u-1"))


@pytest.mark.parametrize("assignment", ["served", "external"])
def test_a_randomised_cluster_is_drawn_by_and_kept_beside_the_unit(platform: Platform, assignment: str) -> None:
    plan = a_plan(method="fixed")
    platform.start(assignment=assignment, unit_type="household_id", analysis_unit="user_id", plan=plan)
    report = platform.expose(
        *(exposure(unit, unit_id=unit, units={"household_id": f"{unit}'s home"}) for unit in UNITS), exposure("no home")
    )
    assert refused(report) == [("MISSING_FIELD", "units.household_id")]
    facts = platform.exposures()
    assert [fact.unit for fact in facts] == [pseudonymise(SECRET, "user_id", unit) for unit in UNITS]
    assert [fact.cluster for fact in facts] == [
        pseudonymise(SECRET, "household_id", f"{unit}'s home") for unit in UNITS
    ]
    drawn = [given(platform.evaluate(unit, units={"household_id": f"{unit}'s home"})) for unit in UNITS]
    assert [fact.expected_variant for fact in facts] == (drawn if assignment == "served" else [None] * len(UNITS))


def test_of_a_conversion_the_unit_types_that_are_analysed_are_kept(platform: Platform) -> None:
    units = {"device_id": "d-1", "household_id": "h-1", "circle": "c-1", "branch": "b-1", "user_id": "u-2"}
    platform.start()
    platform.start("by-device", unit_type="device_id")
    platform.start("by-home", unit_type="household_id", analysis_unit="user_id", plan=a_plan(method="fixed"))
    platform.convert({"event_id": "1", "units": units}, {"event_id": "2"})
    platform.hold_out(unit_type="circle")
    platform.start("by-branch", unit_type="branch")
    platform.convert({"event_id": "3", "units": units})
    for step in ("stop", "archive"):
        platform.step(step, "by-device")
    platform.convert({"event_id": "4", "units": units})

    def pseudonyms(**ids: str) -> dict[str, str]:
        return {unit_type: pseudonymise(SECRET, unit_type, unit_id) for unit_type, unit_id in ids.items()}

    facts = platform.conversions()
    assert [fact.units for fact in facts] == [
        pseudonyms(device_id="d-1"),
        {},
        pseudonyms(device_id="d-1", circle="c-1", branch="b-1"),
        pseudonyms(circle="c-1", branch="b-1"),
    ]
    assert {fact.unit for fact in facts} == {pseudonymise(SECRET, "user_id", "u-1")}


def test_the_default_id_may_be_missing_where_nothing_needs_it(platform: Platform) -> None:
    platform.start()
    platform.start("by-device", unit_type="device_id")
    platform.start("by-home", unit_type="household_id", analysis_unit="user_id", plan=a_plan(method="fixed"))
    units = {"device_id": "d-1", "household_id": "h-1"}
    nobody: dict[str, Any] = {"unit_id": None, "units": units}

    report = platform.expose(
        exposure("1", **nobody),
        exposure("2", experiment="by-device", **nobody),
        exposure("3", experiment="by-home", **nobody),
    )
    assert refused(report) == [("MISSING_FIELD", "unit_id"), ("MISSING_FIELD", "unit_id")]
    assert [fact.unit for fact in platform.exposures()] == [pseudonymise(SECRET, "device_id", "d-1")]

    report = platform.convert({"event_id": "1", **nobody}, {"event_id": "2", "unit_id": None})
    assert refused(report) == [("MISSING_FIELD", "unit_id")]
    assert [fact.unit for fact in platform.conversions()] == [pseudonymise(SECRET, "device_id", "d-1")]


def test_the_phase_may_be_missing_while_there_was_only_one(platform: Platform) -> None:
    platform.start()
    assert platform.expose(exposure("1"), exposure("2", phase=None)).accepted == 2
    platform.open_phase()
    assert refused(platform.expose(exposure("3"), exposure("4", phase=2))) == [("MISSING_FIELD", "phase")]
    assert [fact.phase for fact in platform.exposures()] == [1, 1, 2]


BAD_UNITS: list[tuple[Any, str]] = [
    ({f"type-{number}": "x" for number in range(17)}, "units"),
    ({"": "x"}, "units"),
    ({"t" * 65: "x"}, "units"),
    ({"device_id": ""}, "units.device_id"),
    ({"device_id": "d" * 257}, "units.device_id"),
    ({"device_id": 7}, "units"),
    ({"device_id": None}, "units"),
    ([], "units"),
]


def test_ids_of_other_unit_types_are_checked_whether_they_are_needed_or_not(platform: Platform) -> None:
    platform.start()
    expected = [("BAD_FIELD", field) for _, field in BAD_UNITS]
    assert refused(platform.expose(*(exposure(units=units) for units, _ in BAD_UNITS))) == expected
    assert refused(platform.convert(*({"event_id": "1", "units": units} for units, _ in BAD_UNITS))) == expected
    most = {f"{number:064}": "d" * 256 for number in range(16)}
    assert platform.expose(exposure(units=most)).accepted == platform.convert({"event_id": "1"}).accepted == 1


# Holdouts.


def test_a_check_against_a_holdout_is_an_exposure_to_its_group(platform: Platform) -> None:
    platform.hold_out(share=0.4)
    platform.start()
    checks = [platform.evaluate(unit).holdouts for unit in UNITS]

    events = [holdout_exposure(unit, unit_id=unit) for unit in UNITS]
    assert platform.expose(exposure("another"), *events).accepted == len(UNITS) + 1

    facts = platform.exposures()[1:]
    assert [(("q3", fact.expected_variant),) for fact in facts] == checks
    assert min(Counter(fact.expected_variant for fact in facts).values()) > 80
    shared = {(fact.experiment, fact.phase, fact.variant, fact.cluster, len(fact.attributes)) for fact in facts}
    assert shared == {("holdout:q3", 1, OPEN, None, 0)}
    assert [fact.unit for fact in facts] == [pseudonymise(SECRET, "user_id", unit) for unit in UNITS]


def test_a_holdout_of_another_unit_type_needs_its_id(platform: Platform) -> None:
    platform.hold_out(unit_type="device_id", share=0.5)
    ids = [{"device_id": unit} for unit in UNITS]
    report = platform.expose(
        holdout_exposure("no device"), *(holdout_exposure(each["device_id"], units=each) for each in ids)
    )
    assert refused(report) == [("MISSING_FIELD", "units.device_id")]
    platform.start(unit_type="device_id")
    drawn = [dict(platform.evaluate("u-1", units=each).holdouts)["q3"] for each in ids]
    facts = platform.exposures()
    assert [fact.expected_variant for fact in facts] == drawn
    assert {*drawn} == {HELD_OUT, OPEN}
    assert facts[0].unit == pseudonymise(SECRET, "device_id", UNITS[0])


def end(platform: Platform) -> None:
    with platform.uow.begin() as work:
        hold_out.end_holdout(work, "default", "q3", now=NOW)


def delete(platform: Platform) -> None:
    with platform.uow.begin() as work:
        hold_out.delete_holdout(work, "default", "q3", revision=1)


@pytest.mark.parametrize(
    ("then", "outcome"), [(end, []), (delete, [("UNKNOWN_HOLDOUT", "holdout")])], ids=["ended", "deleted"]
)
def test_a_holdout_takes_exposures_from_its_making_and_after_its_end(
    platform: Platform, then: Callable[[Platform], None], outcome: list[Any]
) -> None:
    platform.start()
    assert refused(platform.expose(holdout_exposure())) == [("UNKNOWN_HOLDOUT", "holdout")]
    platform.hold_out()
    assert platform.expose(holdout_exposure()).accepted == 1
    then(platform)
    assert refused(platform.expose(holdout_exposure())) == outcome


def test_a_process_that_has_taken_events_knows_new_and_deleted_holdouts(platform: Platform) -> None:
    platform.start()
    platform.convert({"event_id": "1", "units": {"device_id": "d-1"}})
    platform.hold_out(unit_type="device_id")
    platform.convert({"event_id": "2", "units": {"device_id": "d-1"}})
    assert [list(fact.units) for fact in platform.conversions()] == [[], ["device_id"]]

    check = holdout_exposure("3", units={"device_id": "d-1"})
    assert platform.expose(check, check | {"event_id": "4"}).accepted == 2
    delete(platform)
    assert refused(platform.expose(check, {"event_id": "5"}))[:1] == [("UNKNOWN_HOLDOUT", "holdout")]


def test_right_after_a_new_phase_an_exposure_without_a_phase_is_refused(platform: Platform) -> None:
    platform.start()
    drawn = {"variant": given(platform.evaluate("u-1"))}
    assert platform.expose(exposure("1", **drawn), exposure("2", **drawn)).accepted == 2
    platform.open_phase()
    assert refused(platform.expose(exposure("3", **drawn), exposure("4", **drawn))) == [("MISSING_FIELD", "phase")] * 2


def test_what_is_kept_of_a_refusal_has_no_id_that_stood_in_the_place_of_a_name(
    platform: Platform, database: sa.Engine
) -> None:
    platform.start()
    report = platform.expose(exposure(units={"13800138000": ""}), exposure(**{"alice@example.com": 1}))
    assert refused(report) == [("BAD_FIELD", "units.13800138000"), ("UNKNOWN_FIELD", "alice@example.com")]
    with database.connect() as connection:
        kept = connection.execute(sa.select(rejected_event.c.detail).order_by(rejected_event.c.id)).scalars().all()
    assert [detail.partition(":")[0] for detail in kept] == ["units.*", "*"]


NEITHER_OR_BOTH: list[tuple[dict[str, Any], str, str]] = [
    (exposure(holdout="q3", group=OPEN), "BAD_FIELD", "holdout"),
    ({"event_id": "1", "variant": "control"}, "MISSING_FIELD", "experiment"),
    ({"event_id": "1", "group": OPEN}, "MISSING_FIELD", "holdout"),
    (holdout_exposure(holdout=None), "MISSING_FIELD", "holdout"),
    ({"event_id": "1", "holdout": "q3"}, "MISSING_FIELD", "group"),
    (holdout_exposure(group="control"), "BAD_FIELD", "group"),
    (holdout_exposure(group=None), "MISSING_FIELD", "group"),
    (holdout_exposure(holdout=7), "BAD_FIELD", "holdout"),
    (holdout_exposure(holdout="nothing"), "UNKNOWN_HOLDOUT", "holdout"),
    (holdout_exposure(holdout="holdout:q3"), "UNKNOWN_HOLDOUT", "holdout"),
    (holdout_exposure(holdout="\U0001f600"), "UNKNOWN_HOLDOUT", "holdout"),
    (holdout_exposure(variant="control"), "UNKNOWN_FIELD", "variant"),
    (holdout_exposure(phase=1), "UNKNOWN_FIELD", "phase"),
    (holdout_exposure(attributes={}), "UNKNOWN_FIELD", "attributes"),
    (exposure(group=OPEN), "UNKNOWN_FIELD", "group"),
    (exposure(experiment="holdout:q3", variant=OPEN), "UNKNOWN_EXPERIMENT", "experiment"),
    (exposure(experiment="holdout:q3"), "UNKNOWN_EXPERIMENT", "experiment"),
]


def test_an_exposure_is_of_an_experiment_or_of_a_holdout(platform: Platform) -> None:
    platform.hold_out()
    platform.start()
    report = platform.expose(holdout_exposure(), *(event for event, _, _ in NEITHER_OR_BOTH), exposure())
    assert refused(report) == [(code, field) for _, code, field in NEITHER_OR_BOTH]
    assert [fact.experiment for fact in platform.exposures()] == ["holdout:q3", "rate-display"]


# All the way to results.


@pytest.mark.parametrize("assignment", ["served", "external"])
def test_units_of_another_type_meet_their_conversions(
    platform: Platform, database: sa.Engine, metadata_url: str, tmp_path: Path, assignment: str
) -> None:
    platform.start(unit_type="device_id", assignment=assignment)
    variant = given(platform.evaluate(units={"device_id": "d-1"})) if assignment == "served" else "control"
    platform.expose(exposure(variant=variant, units={"device_id": "d-1"}, unit_id=None))
    platform.convert(
        {"event_id": "1", "value": "1", "units": {"device_id": "d-1"}, "unit_id": "the same person"},
        {"event_id": "2", "value": "20", "units": {"device_id": "d-1"}, "unit_id": "another person"},
        {"event_id": "3", "value": "300", "units": {"device_id": "d-2"}},
        {"event_id": "4", "value": "4000", "unit_id": "d-1"},
        {"event_id": "5", "value": "50000", "units": {"device_id": "d-1", "session": "s-1"}, "unit_id": None},
    )
    lake = Lake((tmp_path / "lake").as_uri(), metadata_url)
    seal_project(database, lake, "default", now=NOW)
    with platform.uow.reading() as work:
        project, experiment = work.projects.get("default"), work.experiments.get("default", "rate-display")
    revenue = a_metric("revenue", kind="sum", event="purchase", window=None)

    found = aggregate(DuckDBEngine(), lake, project, experiment, metrics=[revenue], as_of=later(days=1))
    result = found.aggregation

    assert sum(cell.total for cell in result.cells) == 50021
    assert (result.analysed[variant], result.mismatched_exposures) == (1, 0)
    lake.close()
