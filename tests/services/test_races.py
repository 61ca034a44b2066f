"""Many at once: of several writers exactly one wins, and the rest hear why."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import TypeVar

from abplatform.assignment import join_slots
from abplatform.domain.experiment import Prerequisite
from abplatform.domain.life import Step
from abplatform.domain.slots import count_slots, wanted_slots
from abplatform.errors import (
    AbplatformError,
    AlreadyExists,
    IllegalTransition,
    InUse,
    InvalidInput,
    LayerFull,
    PreconditionFailed,
)
from abplatform.services import access, arrange, define, force, live, publish
from abplatform.services.make_behaviour import Draft, add_behaviour_version, create_behaviour
from abplatform.services.make_version import make_version
from abplatform.services.pin import pinned_metrics
from abplatform.storage.looks import Look
from abplatform.storage.session import UnitOfWork, Work
from tests.builders import NOW, a_behaviour, a_layer, a_metric, a_metric_use, a_scorecard, an_experiment
from tests.services.lives import lead, published, take

MANY = 12
Answer = TypeVar("Answer")


def at_once(uow: UnitOfWork, *actions: Callable[[Work], Answer]) -> list[Answer | AbplatformError]:
    """What each action gave or refused, all begun at the same moment, each in a transaction of its own."""
    barrier = Barrier(len(actions))

    def run(action: Callable[[Work], Answer]) -> Answer | AbplatformError:
        barrier.wait(timeout=30)
        try:
            with uow.begin() as work:
                return action(work)
        except AbplatformError as refusal:
            return refusal

    with ThreadPoolExecutor(len(actions)) as threads:
        return list(threads.map(run, actions))


def kinds(outcomes: list[object]) -> Counter[type]:
    return Counter(type(outcome) for outcome in outcomes if isinstance(outcome, AbplatformError))


def create(uow: UnitOfWork, key: str = "rate-display") -> None:
    with uow.begin() as work:
        define.create_experiment(work, "default", an_experiment(key), now=NOW)


def step(name: Step, key: str = "rate-display") -> Callable[[Work], object]:
    return lambda work: take(work, key, name)


def test_of_many_edits_of_one_revision_one_wins(uow: UnitOfWork) -> None:
    """C-1."""
    create(uow)

    def edit(number: int) -> Callable[[Work], object]:
        changes = {"name": f"Editor {number}"}
        return lambda work: define.edit_experiment(work, "default", "rate-display", changes, revision=1)

    outcomes = at_once(uow, *(edit(number) for number in range(MANY)))
    assert kinds(outcomes) == {PreconditionFailed: MANY - 1}
    winner = next(outcome for outcome in outcomes if not isinstance(outcome, AbplatformError))
    with uow.reading() as work:
        assert work.experiments.get("default", "rate-display") == winner
    assert winner.revision == 2


def test_of_many_creations_of_one_key_one_wins(uow: UnitOfWork) -> None:
    """C-4."""
    create_one = [lambda work: define.create_experiment(work, "default", an_experiment(), now=NOW)] * MANY
    assert kinds(at_once(uow, *create_one)) == {AlreadyExists: MANY - 1}


def test_of_many_starts_one_is_taken(uow: UnitOfWork) -> None:
    """C-3."""
    create(uow)
    assert kinds(at_once(uow, *[step("start")] * MANY)) == {IllegalTransition: MANY - 1}
    with uow.reading() as work:
        assert work.experiments.get("default", "rate-display").revision == 2
        assert publish.current_version(work, "default") == 1


def test_racing_steps_leave_a_legal_state_and_one_version_each(uow: UnitOfWork) -> None:
    """C-3."""
    create(uow)
    with uow.begin() as work:
        step("start")(work)
    outcomes = at_once(uow, *[step("stop"), step("pause"), step("start"), step("archive"), step("close")] * 3)
    taken = sum(not isinstance(outcome, AbplatformError) for outcome in outcomes)
    assert set(kinds(outcomes)) == {IllegalTransition}
    with uow.reading() as work:
        after = work.experiments.get("default", "rate-display")
        snapshot = json.loads(publish.read_snapshot(work, "default").document)
    assert after.status in {"stopped", "archived"}
    assert after.revision == 2 + taken
    assert snapshot["version"] == 1 + taken
    assert ("rate-display" in snapshot["experiments"]) == (after.status == "stopped")


def test_ramps_at_once_are_taken_or_refused_and_the_largest_stays(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        arrange.create_layer(work, "default", a_layer(), now=NOW)
    lead(uow, an_experiment(layer="home-page", coverage=0.01), "start")
    sizes = [0.05 * number for number in range(1, MANY + 1)]

    def ramp(coverage: float) -> Callable[[Work], object]:
        return lambda work: live.ramp(work, "default", "rate-display", coverage)

    outcomes = at_once(uow, *(ramp(size) for size in random.Random(7).sample(sizes, MANY)))
    assert set(kinds(outcomes)) <= {InvalidInput}, "a smaller one that came late"
    taken = [outcome for outcome in outcomes if not isinstance(outcome, AbplatformError)]
    with uow.reading() as work:
        after = work.experiments.get("default", "rate-display")
        assert publish.current_version(work, "default") == 1 + len(taken)
    assert after.revision == 2 + len(taken), "none is lost"
    assert after.definition.coverage == max(sizes)
    assert after.slots == ((0, wanted_slots(max(sizes))),)


def test_phases_at_once_follow_each_other(uow: UnitOfWork) -> None:
    lead(uow, an_experiment(), "start")
    assert kinds(at_once(uow, *[step("phase")] * 8)) == {}
    with uow.reading() as work:
        after = work.experiments.get("default", "rate-display")
    assert [past.number for past in after.past_phases] == list(range(1, 9))
    assert len({*(past.salt for past in after.past_phases), after.phase_salt}) == 9


def test_starts_at_once_in_one_layer_never_take_the_same_slot(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        arrange.create_layer(work, "default", a_layer(), now=NOW)
    keys = [f"experiment-{number}" for number in range(MANY)]
    for key in keys:
        lead(uow, an_experiment(key, layer="home-page", coverage=0.15))
    outcomes = at_once(uow, *(step("start", key) for key in keys))
    # Six times 15% fit into a layer.
    assert kinds(outcomes) == {LayerFull: MANY - 6}
    with uow.reading() as work:
        slots = [slot for each in work.experiments.all("default") for slot in each.slots]
    assert count_slots(slots) == 900_000
    assert join_slots(slots) == ((0, 900_000),), "without a gap, so without an overlap"


def test_forced_units_of_several_people_are_all_kept(uow: UnitOfWork) -> None:
    lead(uow, an_experiment(), "start")

    def force_one(number: int) -> Callable[[Work], object]:
        units = [force.Force(unit_id=f"qa-{number}", variant="control")]
        return lambda work: force.force_variants(work, "default", "rate-display", units)

    assert kinds(at_once(uow, *map(force_one, range(MANY)))) == {}
    assert len(published(uow)["experiments"]["rate-display"]["forced"]["units"]) == MANY


def test_a_prerequisite_is_not_archived_under_a_start(uow: UnitOfWork) -> None:
    lead(uow, an_experiment("first"), "start", "stop")
    needs = (Prerequisite(experiment="first", variants=("control",)),)
    lead(uow, an_experiment("second", prerequisites=needs))
    started, archived = at_once(uow, step("start", "second"), step("archive", "first"))
    assert isinstance(started, AbplatformError) != isinstance(archived, AbplatformError)


def test_snapshots_of_steps_at_once_hold_all_of_them(uow: UnitOfWork) -> None:
    keys = [f"experiment-{number}" for number in range(MANY)]
    for key in keys:
        create(uow, key)
    assert kinds(at_once(uow, *(step("start", key) for key in keys))) == {}
    with uow.reading() as work:
        snapshot = json.loads(publish.read_snapshot(work, "default").document)
    assert snapshot["version"] == MANY
    assert set(snapshot["experiments"]) == set(keys)


def test_readers_never_see_a_version_go_back(uow: UnitOfWork) -> None:
    create(uow)
    is_over = Event()

    def read_until_it_is_over() -> list[int]:
        versions = []
        while not is_over.is_set():
            with uow.reading() as work:
                snapshot = publish.read_snapshot(work, "default")
            assert json.loads(snapshot.document)["version"] == snapshot.version
            versions.append(snapshot.version)
        return versions

    with ThreadPoolExecutor(2) as threads:
        readers = [threads.submit(read_until_it_is_over) for _ in range(2)]
        try:
            for name in ("start", "pause", "resume", "pause", "resume", "stop"):
                with uow.begin() as work:
                    step(name)(work)
        finally:
            is_over.set()
    for reader in readers:
        versions = reader.result()
        assert versions == sorted(versions)


def test_an_edit_never_slips_under_a_start(uow: UnitOfWork) -> None:
    create(uow)
    edit = [lambda work: define.edit_experiment(work, "default", "rate-display", {"coverage": 0.5}, revision=1)]
    edited, started = at_once(uow, *edit, step("start"))
    with uow.reading() as work:
        after = work.experiments.get("default", "rate-display")
        rule = json.loads(publish.read_snapshot(work, "default").document)["experiments"]["rate-display"]
    assert not isinstance(started, AbplatformError)
    if isinstance(edited, AbplatformError):
        assert isinstance(edited, PreconditionFailed)
        assert (after.definition.coverage, rule["layer"]["slots"]) == (1.0, [[0, 1_000_000]])
    else:
        assert (after.definition.coverage, rule["layer"]["slots"]) == (0.5, [[0, 500_000]])


def test_a_metric_never_changes_under_a_start(uow: UnitOfWork) -> None:
    """Whoever comes first: what was edited before the start is judged by, and what would be later is refused."""
    create(uow)
    edit = [lambda work: define.edit_metric(work, "default", "purchase", {"event": "order"}, revision=1)]
    edited, started = at_once(uow, *edit, step("start"))
    assert not isinstance(started, AbplatformError)
    with uow.reading() as work:
        judged = pinned_metrics(work, "default", work.experiments.get("default", "rate-display").definition)
    if isinstance(edited, AbplatformError):
        assert isinstance(edited, InUse)
        assert judged == [a_metric()]
    else:
        assert judged == [a_metric(event="order")]


def test_a_start_pins_one_of_the_versions_that_are_made_at_once(uow: UnitOfWork) -> None:
    create(uow)

    def version(event: str) -> Callable[[Work], object]:
        return lambda work: make_version(work, "default", "purchase", {"event": event}, revision=1, now=NOW)

    *made, started = at_once(uow, *(version(f"order-{number}") for number in range(4)), step("start"))
    assert not isinstance(started, AbplatformError)
    assert kinds(made) == {PreconditionFailed: 3}
    with uow.reading() as work:
        definition = work.experiments.get("default", "rate-display").definition
        pinned = pinned_metrics(work, "default", definition)
        versions = {stored.version: stored.metric for stored in work.metrics.versions("default", "purchase")}
    assert pinned == [versions[definition.metrics[0].version or 0]]
    assert set(versions) == {1, 2}


def test_of_versions_of_a_behaviour_that_are_made_at_once_one_wins(uow: UnitOfWork) -> None:
    draft = Draft(behaviour=a_behaviour(), as_of=NOW)
    with uow.begin() as work:
        before = create_behaviour(work, "default", draft)

    def version(name: str) -> Callable[[Work], object]:
        following = Draft(behaviour=a_behaviour(name=name), as_of=NOW, before=before)
        return lambda work: add_behaviour_version(work, "default", following, revision=1)

    outcomes = at_once(uow, *(version(f"Name {number}") for number in range(MANY)))
    assert kinds(outcomes) == {PreconditionFailed: MANY - 1}
    with uow.reading() as work:
        assert [stored.version for stored in work.behaviours.versions("default", before.key)] == [2, 1]


def test_a_metric_is_not_deleted_under_a_new_experiment(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        define.create_metric(work, "default", a_metric("spend"), now=NOW)
    definition = an_experiment(metrics=(a_metric_use("spend"),))
    created, deleted = at_once(
        uow,
        lambda work: define.create_experiment(work, "default", definition, now=NOW),
        lambda work: define.delete_metric(work, "default", "spend", revision=1),
    )
    if isinstance(created, AbplatformError):
        assert isinstance(created, InvalidInput)
        assert deleted is None
    else:
        assert isinstance(deleted, InUse)


def test_of_many_processes_one_shows_the_first_admin_key(uow: UnitOfWork) -> None:
    ask = [lambda work: access.ensure_admin_key(work, "default", now=NOW)] * MANY
    secrets = at_once(uow, *ask)
    assert sorted(secret is None for secret in secrets) == [False] + [True] * (MANY - 1)


def test_of_looks_at_once_that_build_on_the_same_one_exactly_one_is_written(uow: UnitOfWork) -> None:
    create(uow)

    def look(number: int) -> Callable[[Work], None]:
        card = a_scorecard(look=number)
        new = Look(card, f"data {number}", None)
        return lambda work: work.looks.append("default", "rate-display", 1, new)

    for number in (1, 2):
        outcomes = at_once(uow, *[look(number)] * MANY)
        assert sum(outcome is None for outcome in outcomes) == 1
        assert sum(isinstance(outcome, AlreadyExists) for outcome in outcomes) == MANY - 1
    with uow.reading() as work:
        assert [card.look for card in work.looks.history("default", "rate-display", 1)] == [1, 2]
