"""An experiment as a value: its definition, and what it was in each phase."""

from __future__ import annotations

from dataclasses import replace

import pytest

from abplatform.domain.experiment import Prerequisite, Variant, changed_fields
from tests.builders import a_draft, a_metric_use, a_past_phase, an_experiment, later


def test_changed_fields_are_named() -> None:
    before = an_experiment()
    assert changed_fields(before, an_experiment()) == ()
    after = an_experiment(name="Other", variants=(*before.variants, Variant(key="third")), dimensions=())
    assert set(changed_fields(before, after)) == {"name", "variants", "dimensions"}


def test_a_definition_knows_its_roles_treatments_and_clusters() -> None:
    metrics = (a_metric_use("a"), a_metric_use("b", role="guardrail"), a_metric_use("c"))
    definition = an_experiment(metrics=metrics, control="treatment")
    assert [use.metric for use in definition.uses("primary")] == ["a", "c"]
    assert definition.treatments == ("control",)
    assert not definition.clustered
    assert not an_experiment(analysis_unit="user_id").clustered
    assert an_experiment(unit_type="village", analysis_unit="household").clustered


def test_a_past_phase_shows_the_experiment_as_it_was() -> None:
    variants = (Variant(key="control"), Variant(key="old"))
    past = a_past_phase(1, variants=variants, targeting={"country": "CN"}, coverage=0.1, slots=((0, 100_000),))
    now = a_draft(
        status="closed",
        phase=2,
        phase_salt="second",
        slots=((0, 500_000),),
        started_at=later(),
        phase_started_at=past.ended_at,
        closed_at=later(days=9),
        past_phases=(past,),
        definition=an_experiment(
            name="Renamed", coverage=0.5, prerequisites=(Prerequisite(experiment="b", variants=("x",)),)
        ),
    )
    then = now.in_phase(1)
    assert then.definition == replace(
        now.definition, variants=variants, targeting={"country": "CN"}, coverage=0.1, prerequisites=()
    )
    assert (then.phase, then.phase_salt, then.slots) == (1, past.salt, ((0, 100_000),))
    assert (then.phase_started_at, then.phase_ended_at, then.closed_at) == (past.started_at, past.ended_at, None)
    assert (then.salt, then.layer_salt, then.started_at) == (now.salt, now.layer_salt, now.started_at)


def test_the_current_phase_is_the_experiment_itself() -> None:
    experiment = a_draft(phase=3, past_phases=(a_past_phase(1), a_past_phase(2)))
    assert experiment.in_phase(3) is experiment
    assert experiment.phase_ended_at is None


@pytest.mark.parametrize("number", [-1, 0, 4, 10**30])
def test_a_phase_that_never_was_is_refused(number: int) -> None:
    experiment = a_draft(phase=3, past_phases=(a_past_phase(1), a_past_phase(2)))
    with pytest.raises(ValueError, match="number: rate-display has had phases 1 to 3 only"):
        experiment.in_phase(number)
