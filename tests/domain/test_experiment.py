"""The life of an experiment as a value."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abplatform.domain.experiment import STATUSES, TRANSITIONS, Experiment, Status, Step, Variant, changed_fields
from abplatform.errors import IllegalTransition, ReviewRequired
from tests.builders import a_draft, a_metric_use, an_experiment, later

STEPS: tuple[Step, ...] = ("start", "pause", "resume", "stop", "archive")
# The life cycle of the design, written down a second time: source -> step -> target.
LIFE = {
    "draft": {"start": "running"},
    "running": {"pause": "paused", "stop": "stopped"},
    "paused": {"resume": "running", "stop": "stopped"},
    "stopped": {"archive": "archived"},
    "archived": {},
}


@pytest.mark.parametrize(("status", "step"), tuple(product(STATUSES, STEPS)))
def test_a_step_leads_where_the_design_says(status: Status, step: Step) -> None:
    experiment = a_draft(status=status, revision=5)
    target = LIFE[status].get(step)
    if target is None:
        with pytest.raises(IllegalTransition, match=f"rate-display is {status}, so it cannot {step}"):
            experiment.take(step, now=later(hours=1))
    else:
        after = experiment.take(step, now=later(hours=1))
        assert (after.status, after.revision) == (target, 6)
        assert (after.definition, after.salt, after.layer_salt) == (
            experiment.definition,
            experiment.salt,
            experiment.layer_salt,
        )


def test_a_refusal_says_what_is_possible() -> None:
    with pytest.raises(IllegalTransition, match="possible now: pause, stop"):
        a_draft(status="running").take("start", now=later())
    with pytest.raises(IllegalTransition, match=r"cannot start$"):
        a_draft(status="archived").take("start", now=later())


@given(st.lists(st.sampled_from(STEPS), max_size=12))
def test_any_walk_stays_legal_and_stamps_each_time_once(steps: list[Step]) -> None:
    experiment, taken = a_draft(), 0
    for number, step in enumerate(steps):
        if (experiment.status, step) in TRANSITIONS:
            experiment, taken = experiment.take(step, now=later(hours=number)), taken + 1
    assert experiment.revision == 1 + taken
    assert (experiment.started_at is None) == (experiment.status == "draft")
    assert (experiment.stopped_at is not None) == (experiment.status in {"stopped", "archived"})
    assert (experiment.archived_at is not None) == (experiment.status == "archived")
    stamps = [stamp for stamp in (experiment.started_at, experiment.stopped_at, experiment.archived_at) if stamp]
    assert stamps == sorted(stamps)


def test_pauses_leave_the_start_as_it_was() -> None:
    started = a_draft().take("start", now=later(hours=1))
    resumed = started.take("pause", now=later(hours=2)).take("resume", now=later(hours=3))
    assert resumed.started_at == later(hours=1)
    assert resumed.stopped_at is None


def test_regulated_experiments_wait_for_a_reviewer() -> None:
    regulated: Experiment = a_draft(definition=an_experiment(risk_class="regulated"))
    with pytest.raises(ReviewRequired):
        regulated.take("start", now=later())
    with pytest.raises(IllegalTransition):
        regulated.take("stop", now=later())


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
