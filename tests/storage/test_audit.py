"""The audit trail keeps what it is told, in order, in both databases."""

from __future__ import annotations

from typing import Any

import pytest

from abplatform.domain.audit import Actor, AuditEntry, check_actor
from abplatform.errors import InvalidInput
from abplatform.services.record import name_actor, record_action
from abplatform.storage.session import UnitOfWork
from tests.builders import NOW, later


def an_entry(**changes: Any) -> AuditEntry:
    defaults: dict[str, Any] = {
        "at": NOW,
        "project": "default",
        "actor": "\u674e\u5a1c",
        "action": "pseudonymise",
        "details": {"rows": 3, "file": "a.csv", "columns": {"unit": ["who"]}},
    }
    return AuditEntry(**defaults | changes)


def test_entries_come_back_in_their_order_as_they_were(uow: UnitOfWork) -> None:
    entries = [an_entry(), an_entry(at=later(days=-1)), an_entry(action="import-events", details={})]
    with uow.begin() as work:
        work.projects.ensure("other", now=NOW)
        numbers = [work.audit.add(entry) for entry in entries]
        work.audit.add(an_entry(project="other"))
    assert numbers == sorted(set(numbers))
    with uow.reading() as work:
        kept = work.audit.all("default")
    assert kept == tuple(
        an_entry(id=number, at=entry.at, action=entry.action, details=entry.details)
        for number, entry in zip(numbers, entries, strict=True)
    )


def test_an_entry_of_a_transaction_that_fails_is_not_there(uow: UnitOfWork) -> None:
    def fail() -> None:
        with uow.begin() as work:
            work.audit.add(an_entry())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with uow.reading() as work:
        assert work.audit.all("default") == ()


def test_an_action_is_on_record_when_it_returns(uow: UnitOfWork) -> None:
    actor = name_actor("Li Na", reason="churn")
    number = record_action(uow, "default", "pseudonymise", {"rows": 3}, actor=actor, now=NOW)
    with uow.reading() as work:
        (entry,) = work.audit.all("default")
    details = {"rows": 3, "os_user": actor.os_user, "reason": "churn"}
    assert entry == an_entry(id=number, actor="Li Na", details=details)


def test_whoever_gives_no_name_has_that_of_the_operating_system() -> None:
    actor = name_actor(None, reason=None)
    assert actor.name == actor.os_user != ""


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"name": ""}, "--actor"),
        ({"name": "x" * 201}, "--actor"),
        ({"name": "a\u202eb"}, "--actor"),
        ({"reason": "\t"}, "--reason"),
    ],
)
def test_what_a_trail_could_not_show_is_refused(changes: dict[str, str], option: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_actor(Actor(**{"os_user": "root", "name": "Li Na", "reason": "churn"} | changes))
    assert list(refused.value.errors) == [option]
