"""Behaviours are made in versions that never change, under names that nothing else has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from abplatform.domain.behaviour import Behaviour
from abplatform.errors import AlreadyExists, Conflict, InUse, InvalidInput, NotFound, PreconditionFailed
from abplatform.services.choose_dimension import choose_dimension
from abplatform.services.make_behaviour import (
    Draft,
    add_behaviour_version,
    create_behaviour,
    draft_behaviour,
    draft_version,
    make_behaviour,
)
from abplatform.services.make_version import MOST_VERSIONS
from abplatform.services.pin_edges import Past
from abplatform.storage.behaviours import StoredBehaviour
from abplatform.storage.session import UnitOfWork
from tests.builders import NOW, a_behaviour, an_experiment, later
from tests.services.lives import lead


def never(*_: object) -> None:
    """Fixed edges need no events: nothing is sealed and no engine asked."""
    raise AssertionError("nothing had to be read")


@pytest.fixture(name="past")
def _past(uow: UnitOfWork) -> Past:
    return Past(uow, cast("Any", None), cast("Any", None), cast("Callable[[str], object]", never))


def make(past: Past, behaviour: Behaviour | None = None) -> StoredBehaviour:
    with past.uow.begin() as work:
        draft = draft_behaviour(past, "default", behaviour or a_behaviour(), now=NOW)
        return create_behaviour(work, "default", draft)


def add(past: Past, draft: Draft, revision: int) -> StoredBehaviour:
    with past.uow.begin() as work:
        return add_behaviour_version(work, "default", draft, revision=revision)


def drafted(past: Past, changes: Mapping[str, object], days: int = 1) -> Draft:
    return draft_version(past, "default", "rfm", changes, now=later(days=days))


def test_a_version_follows_and_the_earlier_one_stays(past: Past) -> None:
    first = make(past)
    assert first == StoredBehaviour(behaviour=a_behaviour(), as_of=NOW, created_at=NOW)
    second = add(past, drafted(past, {"name": "Second"}), 1)
    assert second == replace(first, behaviour=a_behaviour(name="Second"), as_of=later(days=1), revision=2, version=2)
    with past.uow.reading() as work:
        assert work.behaviours.versions("default", "rfm") == (second, first)
        assert work.behaviours.get("default", "rfm") == second
    with pytest.raises(AlreadyExists):
        make(past)


def test_who_was_overtaken_is_refused(past: Past) -> None:
    make(past)
    early = drafted(past, {"name": "Early"})
    add(past, drafted(past, {"name": "Second"}), 1)
    for revision in (1, 2):
        with pytest.raises(PreconditionFailed):
            add(past, early, revision)
    with pytest.raises(InvalidInput, match="version 2 of rfm says the same already"):
        add(past, drafted(past, {"name": "Second"}), 2)
    for bad in ({"key": "other"}, {"version": 3}):
        with pytest.raises(InvalidInput):
            drafted(past, bad)


def test_there_is_an_end_to_versions(past: Past) -> None:
    make(past)
    for number in range(1, MOST_VERSIONS):
        add(past, drafted(past, {"name": f"name {number}"}), number)
    with pytest.raises(Conflict, match="100 versions"):
        add(past, drafted(past, {"name": "one more"}), MOST_VERSIONS)


def test_the_whole_definition_again_is_the_next_version(past: Past) -> None:
    assert make_behaviour(past, "default", a_behaviour(), now=NOW).version == 1
    assert make_behaviour(past, "default", a_behaviour(name="Second"), now=later(days=1)).version == 2
    with pytest.raises(NotFound):
        make_behaviour(past, "none", a_behaviour(), now=NOW)


@pytest.mark.parametrize("name", ["rfm", "rfm@2"])
def test_a_name_by_which_a_started_experiment_slices_is_taken(past: Past, name: str) -> None:
    lead(past.uow, an_experiment("draft", dimensions=(name,)))
    make(past, a_behaviour("other"))
    lead(past.uow, an_experiment("started", dimensions=(name,)), "start")
    with pytest.raises(InUse, match="started has started and slices by an exposure attribute rfm"):
        make(past)


def test_a_behaviour_comes_before_an_attribute_of_its_name(past: Past) -> None:
    declared = ("rfm", "channel", "exposure_day", "rfm@x")
    with past.uow.reading() as work:
        assert choose_dimension(work, "default", "rfm", declared).behaviour is None
    make(past)
    add(past, drafted(past, {"name": "Second"}), 1)
    with past.uow.reading() as work:
        chosen = {
            name: choose_dimension(work, "default", name, declared)
            for name in ("rfm", "rfm@1", "channel", "exposure_day", "exposure_week", "rfm@x")
        }
        names = {name: each.behaviour and each.behaviour.name for name, each in chosen.items()}
        assert names == {
            "rfm": "Second",
            "rfm@1": "Customers by value",
            "channel": None,
            "exposure_day": None,
            "exposure_week": None,
            "rfm@x": None,
        }
        # A declared attribute of that name is one: results of experiments before there were periods stay.
        assert [chosen[name].period for name in ("exposure_day", "exposure_week")] == [None, "week"]
        for name, rule in (
            ("rfm@3", "versions 1 to 2"),
            ("rmf", "did you mean 'rfm'"),
            ("channel@1", "must be one of"),
        ):
            with pytest.raises(InvalidInput, match=rule) as refused:
                choose_dimension(work, "default", name, declared)
            assert set(refused.value.errors) == {"by"}
