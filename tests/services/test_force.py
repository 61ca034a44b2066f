"""Forced variants of test accounts: what is stored, what is published, and what never is."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from abplatform.assignment import decode_snapshot, evaluate, unit_digest
from abplatform.domain.experiment import Experiment, Variant
from abplatform.errors import Conflict, InvalidInput, NotFound, PreconditionFailed
from abplatform.services import define, live, publish
from abplatform.services.force import MOST_FORCED, Force, force_variants
from abplatform.storage.session import UnitOfWork
from tests.builders import an_experiment, an_external_experiment, later
from tests.services.lives import WAYS, lead, published, take


def force(uow: UnitOfWork, units: dict[str, str | None], revision: int | None = None, **changes: Any) -> Experiment:
    asked = [Force(unit_id=unit, variant=variant) for unit, variant in units.items()]
    with uow.begin() as work:
        return force_variants(work, "default", changes.get("key", "rate-display"), asked, revision=revision)


def reason(uow: UnitOfWork, unit: str) -> tuple[str, str | None]:
    with uow.reading() as work:
        answer = evaluate(decode_snapshot(publish.read_snapshot(work, "default").document), "rate-display", unit)
    return answer.reason, answer.variant


def test_a_forced_unit_gets_its_variant_whatever_else_holds(uow: UnitOfWork) -> None:
    lead(uow, an_experiment(targeting={"never": True}), "start")
    force(uow, {"qa-1": "treatment", "qa-2": "control"})
    assert reason(uow, "qa-1") == ("FORCED", "treatment")
    assert reason(uow, "qa-2") == ("FORCED", "control")
    assert reason(uow, "u-1") == ("NOT_TARGETED", "control")
    force(uow, {"qa-1": None})
    assert reason(uow, "qa-1") == ("NOT_TARGETED", "control")
    assert reason(uow, "qa-2") == ("FORCED", "control")


def test_the_document_has_digests_under_the_experiments_own_salt(uow: UnitOfWork) -> None:
    experiment = lead(uow, an_experiment(), "start")
    after = force(uow, {"qa-1": "treatment"})
    digest = unit_digest(experiment.salt, "qa-1")
    assert after.forced == {digest: "treatment"}
    rule = published(uow)["experiments"]["rate-display"]
    assert rule["forced"] == {"salt": experiment.salt, "units": {digest: "treatment"}}


def test_the_list_outlives_a_phase(uow: UnitOfWork) -> None:
    lead(uow, an_experiment(), "start")
    force(uow, {"qa-1": "treatment", "qa-2": "control"})
    with uow.begin() as work:
        variants = (Variant(key="control"), Variant(key="other"))
        request = live.PhaseRequest(changes={"variants": variants}, reason="another idea")
        live.open_phase(work, "default", "rate-display", request, now=later())
    assert reason(uow, "qa-2") == ("FORCED", "control")
    assert reason(uow, "qa-1")[0] == "ASSIGNED", "its variant is no more"


def test_no_raw_id_reaches_the_database(uow: UnitOfWork, database: sa.Engine) -> None:
    lead(uow, an_experiment(), "start")
    force(uow, {"+86-138-0013-8000": "treatment"})
    with database.connect() as connection:
        for name in sa.inspect(database).get_table_names():
            rows = connection.execute(sa.text(f'SELECT * FROM "{name}"')).all()
            assert "138-0013" not in str(rows), name


def test_units_are_forced_in_every_state_but_archived(uow: UnitOfWork) -> None:
    for status in WAYS.keys() - {"archived"}:
        before = lead(uow, an_experiment(status), *WAYS[status])
        version = published(uow)["version"]
        after = force(uow, {"qa-1": "treatment"}, key=status)
        assert (after.status, after.revision, len(after.forced)) == (before.status, before.revision + 1, 1)
        assert published(uow)["version"] == version + (status != "draft"), "drafts are not published"


def test_archived_and_external_experiments_force_nothing(uow: UnitOfWork) -> None:
    lead(uow, an_experiment(), *WAYS["archived"])
    lead(uow, an_external_experiment(), "start")
    with pytest.raises(Conflict, match="is archived"):
        force(uow, {"qa-1": "treatment"})
    with pytest.raises(Conflict, match="has external assignment"):
        force(uow, {"qa-1": "treatment"}, key="imported")
    with pytest.raises(NotFound):
        force(uow, {"qa-1": "treatment"}, key="nowhere")


def test_the_same_request_again_changes_nothing(uow: UnitOfWork) -> None:
    lead(uow, an_experiment(), "start")
    units: dict[str, str | None] = {"qa-1": "treatment", "qa-2": None}
    first = force(uow, units)
    version = published(uow)["version"]
    assert force(uow, units) == first
    assert published(uow)["version"] == version


def test_a_list_from_an_outdated_revision_is_refused(uow: UnitOfWork) -> None:
    lead(uow, an_experiment(), "start")
    with pytest.raises(PreconditionFailed):
        force(uow, {"qa-1": "treatment"}, revision=1)
    assert force(uow, {"qa-1": "treatment"}, revision=2).revision == 3


def test_a_list_that_is_wrong_names_the_place_and_no_id(uow: UnitOfWork) -> None:
    before = lead(uow, an_experiment(), "start")
    wrong: list[tuple[str, list[tuple[str, str | None]]]] = [
        ("units", []),
        ("units", [(f"qa-{number}", "control") for number in range(MOST_FORCED + 1)]),
        ("units.0.unit_id", [("", "control")]),
        ("units.0.unit_id", [("x" * 257, "control")]),
        ("units.0.unit_id", [("qa-nul\0", "control")]),
        ("units.0.unit_id", [("qa-lone \ud800", "control")]),
        ("units.1.unit_id", [("qa-1", "control"), ("qa-1", None)]),
        ("units.0.variant", [("qa-1", "nobody")]),
        ("units.0.variant", [("qa-1", "")]),
    ]
    for field, units in wrong:
        asked = [Force(unit_id=unit, variant=variant) for unit, variant in units]
        with pytest.raises(InvalidInput) as refusal, uow.begin() as work:
            force_variants(work, "default", "rate-display", asked)
        assert list(refusal.value.errors) == [field]
        assert "qa-" not in str(refusal.value.errors)
    with uow.reading() as work:
        assert work.experiments.get("default", "rate-display") == before


def test_at_most_two_hundred_are_kept(uow: UnitOfWork) -> None:
    lead(uow, an_experiment(), "start")
    force(uow, {f"qa-{number}": "control" for number in range(MOST_FORCED)})
    with pytest.raises(InvalidInput, match="units: would make 201 forced units; at most 200"):
        force(uow, {"one-more": "control"})
    swapped = force(uow, {"one-more": "control", "qa-0": None})
    assert len(swapped.forced) == MOST_FORCED


def test_a_draft_whose_variant_goes_lets_its_units_go(uow: UnitOfWork) -> None:
    lead(uow, an_experiment())
    force(uow, {"qa-1": "treatment", "qa-2": "control"})
    changes: dict[str, object] = {"variants": (Variant(key="control"), Variant(key="b"))}
    with uow.begin() as work:
        edited = define.edit_experiment(work, "default", "rate-display", changes, revision=2)
        assert list(edited.forced.values()) == ["control"]
        take(work, "rate-display", "start")
        decode_snapshot(publish.read_snapshot(work, "default").document)
